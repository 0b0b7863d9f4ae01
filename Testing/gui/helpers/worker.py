"""The library's worker, which also knows the methods and the recipe of this folder; its arguments are passed over."""

import importlib
import sys
from pathlib import Path

# `import ... as` would give the console's function of that name
methods = importlib.import_module("DeepRegistrationLib.methods")
methods.__path__.append(str(Path(__file__).parent / "methods"))
recipes = importlib.import_module("DeepRegistrationLib.training.recipes")
recipes.__path__.append(str(Path(__file__).parent / "recipes"))

from DeepRegistrationLib.jobs.worker import main  # noqa: E402

sys.exit(main())
