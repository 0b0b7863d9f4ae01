"""An interpreter that knows the method of tiny.py: `python with_tiny.py -m DeepRegistrationLib ...`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1] / "methods")]

from tiny import make_spec  # noqa: E402

from DeepRegistrationLib.cli import main  # noqa: E402
from DeepRegistrationLib.methods import registry  # noqa: E402

registry().add(make_spec())
sys.exit(main(sys.argv[3:]))
