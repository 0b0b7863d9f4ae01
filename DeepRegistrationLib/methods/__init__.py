"""One file a system. `registry()` finds every file below this folder that declares a `SPEC`, and the user's own trained
models; none of them imports torch at module level, so that listing methods is quick and needs no torch."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..core.registry import Registry


@cache
def _declared() -> Registry:
    """Every declared method, folders and files in alphabetical order."""
    found = Registry()
    for info in sorted(pkgutil.walk_packages(__path__, prefix=f"{__name__}."), key=lambda i: i.name):
        module = importlib.import_module(info.name)
        spec = getattr(module, "SPEC", None)
        if spec is not None:
            found.add(spec)
    return found


def registry() -> Registry:
    """Every declared method, and after them the user's models that are installed now (methods/user_models.py).

    It is the same object each time: what is added to it stays.
    """
    from .user_models import cards_now, user_methods

    methods = _declared()
    methods.keep_up(cards_now(), lambda: user_methods(methods))
    return methods
