"""An interpreter that knows the recipe of blobs.py: `python with_blobs.py train blobs ...`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]

from blobs import RECIPE  # noqa: E402

from DeepRegistrationLib.cli import main  # noqa: E402
from DeepRegistrationLib.training.recipes import recipes  # noqa: E402

recipes()[RECIPE.id] = RECIPE
sys.exit(main(sys.argv[1:]))
