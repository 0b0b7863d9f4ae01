"""One file a system. `registry()` finds every file below this folder that declares a `SPEC`; none of them imports
torch at module level, so that listing methods is quick and needs no torch."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..core.registry import Registry


@cache
def registry() -> Registry:
    """Every declared method, folders and files in alphabetical order."""
    found = Registry()
    for info in sorted(pkgutil.walk_packages(__path__, prefix=f"{__name__}."), key=lambda i: i.name):
        module = importlib.import_module(info.name)
        spec = getattr(module, "SPEC", None)
        if spec is not None:
            found.add(spec)
    return found
