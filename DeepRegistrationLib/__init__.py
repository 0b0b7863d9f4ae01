"""Align medical scans: `import DeepRegistrationLib as dr; result = dr.register("fixed.nii.gz",
"moving.nii.gz")`.

Importing this loads neither torch nor SimpleITK; they are loaded by the first call that needs them.
"""

# The folder `methods` is loaded first: Python binds a sub-package to its parent under its own name when it
# loads it, which would otherwise replace the function `methods` below at some later moment.
from . import methods as _methods_folder  # noqa: F401
from .api import apply, describe, evaluate, methods, models, register, report, train

__version__ = "0.1.0"

__all__ = ["apply", "describe", "evaluate", "methods", "models", "register", "report", "train"]
