"""Importing the library and asking what it offers costs nothing: Slicer does both in its own process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from house.sources import ROOT

HEAVY = ("torch", "slicer", "qt", "ctk", "vtk", "SimpleITK", "scipy")
# Twice: loading the subpackage of the same name must not put itself in the place of the function.
ASK = "assert [method.id for method in dr.methods()]"
LISTING = f"import DeepRegistrationLib as dr; {ASK}; {ASK}"
MODELS = "from DeepRegistrationLib.io.model_cards import find_models; assert find_models()"
RECIPES = "from DeepRegistrationLib.training.recipes import recipes; [r.settings() for r in recipes().values()]"


@pytest.mark.parametrize(
    "code",
    ["import DeepRegistrationLib", LISTING, MODELS, RECIPES],
    ids=["import", "list methods", "list models", "list recipes"],
)
def test_loads_nothing_heavy(code: str) -> None:
    report = f"import sys; {code}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", report],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
