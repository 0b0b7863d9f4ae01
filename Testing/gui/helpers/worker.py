"""The library's worker, which also knows the methods of this folder; its arguments are passed over."""

import importlib
import sys
from pathlib import Path

# `import ... as` would give the console's function of that name
methods = importlib.import_module("DeepRegistrationLib.methods")
methods.__path__.append(str(Path(__file__).parent / "methods"))

from DeepRegistrationLib.jobs.worker import main  # noqa: E402

sys.exit(main())
