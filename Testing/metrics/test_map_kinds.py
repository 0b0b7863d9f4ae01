"""What is said about each map, and that saying it loads nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from DeepRegistrationLib.metrics.map_kinds import KNOWN_KINDS, MAP_KINDS, map_kind
from house.sources import ROOT

HEAVY = ("torch", "numpy", "scipy", "SimpleITK", "slicer", "vtk", "qt")


def test_describing_maps_loads_nothing_heavy() -> None:
    code = (
        "import sys; from DeepRegistrationLib.metrics.map_kinds import map_kind; import DeepRegistrationLib.metrics; "
        f"print(map_kind('jacobian').title, *sorted(set(sys.modules) & set({HEAVY!r})), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "Jacobian determinant", done.stderr


def test_maps_are_offered_in_order_and_described_in_full() -> None:
    assert list(MAP_KINDS) == ["jacobian", "log-jacobian", "displacement", "inverse-consistency", "uncertainty"]
    for map_id, kind in MAP_KINDS.items():
        assert kind.id == map_id and kind.title and kind.help.endswith(".")
        assert kind.diverging == (kind.centre is not None)
        if kind.diverging:
            assert kind.range is not None and sum(kind.range) / 2 == kind.centre
        else:
            assert kind.unit == "mm" and kind.range is None
    assert [k.id for k in MAP_KINDS.values() if k.folded_below is not None] == ["jacobian"]
    assert "not a probability" in MAP_KINDS["uncertainty"].help


def test_kinds_that_only_methods_give_are_described_too() -> None:
    for map_id in set(KNOWN_KINDS) - set(MAP_KINDS):
        kind = map_kind(map_id)
        assert kind.id == map_id and kind.title and kind.help.endswith(".")
        assert kind.diverging == (kind.centre is not None) and not (kind.diverging and kind.like_moving)
        assert kind.range is None or kind.range[0] < kind.range[1]
    assert map_kind("intensity_change").centre == 0.0


@pytest.mark.parametrize(
    ("map_id", "title"), [("non-correspondence", "Non correspondence"), ("change_of_intensity", "Change of intensity")]
)
def test_other_maps_get_a_sequential_kind_with_a_title(map_id: str, title: str) -> None:
    kind = map_kind(map_id)
    assert (kind.id, kind.title, kind.unit, kind.diverging) == (map_id, title, "", False)
    assert kind.range is None and kind.folded_below is None and kind.centre is None


def test_names_of_the_folder_are_what_computes_whatever_was_loaded_first() -> None:
    code = (
        "import DeepRegistrationLib.metrics.review, DeepRegistrationLib.metrics as m; "
        "print(*[n for n in m.__all__ if not callable(getattr(m, n))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.strip() == "", done.stderr
