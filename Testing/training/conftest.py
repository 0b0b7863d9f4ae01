"""The recipe of blobs.py is listed for the tests of this folder."""

from __future__ import annotations

import pytest


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch):
    """Lists the recipe "blobs" for one test; call the value to list it changed: `blobs(steps=4, needs_cases=True)`."""
    from dataclasses import replace

    from DeepRegistrationLib.training.recipes import recipes
    from training.blobs import RECIPE

    def listed(**changes):
        recipe = replace(RECIPE, **changes)
        monkeypatch.setitem(recipes(), recipe.id, recipe)
        return recipe

    listed()
    return listed
