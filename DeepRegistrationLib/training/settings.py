"""The settings of a recipe from what a user gave: names are checked, texts converted, numbers held to their range."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..core.errors import InputError
from ..core.spec import parameters_of
from .recipe import Recipe


def make_settings(recipe: Recipe, values: Mapping[str, Any]) -> Any:
    """The recipe's settings dataclass: defaults, then `values`.

    Raises InputError for an unknown name, a value of the wrong kind or out of range.
    """
    known = {p.name: p for p in parameters_of(recipe.settings)}
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}."
            raise InputError(f"The recipe {recipe.id} has no setting {name!r}; {hint}")
    return recipe.settings(**{name: known[name].parse(value) for name, value in values.items()})


def settings_dict(settings: Any) -> dict[str, Any]:
    """JSON-ready, by name."""
    return {f.name: getattr(settings, f.name) for f in fields(settings)}
