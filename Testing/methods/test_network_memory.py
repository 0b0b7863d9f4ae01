"""How much memory a method with a network is said to need: what its model sees counts, not what the scanner wrote."""

from __future__ import annotations

from dataclasses import replace

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.methods import registry

#: sees scans whole, at 4 mm
SPEC = registry()["voxelmorph-plus-plus"]
ALONE = SPEC.make_parameters(values={"refine": False})
#: at the resolution of a scanner
CHEST = Grid((512, 512, 400), (0.7, 0.7, 0.8))


def test_the_network_is_counted_on_the_grid_of_its_model() -> None:
    seen = CHEST.with_spacing(4.0).voxels
    network = 800 * seen
    assert network + 8 * CHEST.voxels < SPEC.memory(CHEST, ALONE) < network + 12 * CHEST.voxels + 500_000_000


def test_a_smaller_patient_of_as_many_voxels_needs_less() -> None:
    mouse = Grid(CHEST.size, (0.1, 0.1, 0.1))
    assert SPEC.memory(mouse, ALONE) < 0.75 * SPEC.memory(CHEST, ALONE)


def test_the_refinement_is_counted_on_its_working_grid() -> None:
    """Which has twelve million voxels at most, where nobody asks for more."""
    automatic, finest = (SPEC.memory(CHEST, SPEC.make_parameters(values={"spacing": s})) for s in (None, 0.73))
    assert SPEC.memory(CHEST, ALONE) < automatic < 200 * 12_000_000 + 24 * CHEST.voxels
    assert finest > 100 * CHEST.voxels


def test_without_a_model_the_network_is_counted_on_the_scan() -> None:
    assert SPEC.memory(CHEST, replace(ALONE, model="gone")) > 800 * CHEST.voxels
