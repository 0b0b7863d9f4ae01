"""One file a model. `recipes()` finds every file of this folder that declares a `RECIPE`; none of them imports torch at
module level (`trainee` does, when it is called), so that listing recipes is quick and needs no torch."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from ...core.errors import InputError
from ..recipe import Recipe


@cache
def recipes() -> dict[str, Recipe]:
    """Every declared recipe by its id, in alphabetical order of the files.

    Raises ValueError where two recipes have one id: two cannot answer to one name.
    """
    found: dict[str, Recipe] = {}
    for info in sorted(pkgutil.iter_modules(__path__, prefix=f"{__name__}."), key=lambda i: i.name):
        recipe = getattr(importlib.import_module(info.name), "RECIPE", None)
        if recipe is None:
            continue
        if recipe.id in found:
            raise ValueError(f"recipe id {recipe.id!r} is declared twice")
        found[recipe.id] = recipe
    return found


def find_recipe(recipe_id: str) -> Recipe:
    """Raises InputError for an unknown id."""
    known = recipes()
    if recipe_id not in known:
        close = difflib.get_close_matches(recipe_id, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known) or 'none yet'}."
        raise InputError(f"There is no recipe {recipe_id!r}; {hint}")
    return known[recipe_id]
