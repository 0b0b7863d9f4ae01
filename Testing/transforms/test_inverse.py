"""S(T(x)) = x, how far it fails, and that the failure is reported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.grids import GRIDS, linear_map, rotation, some_points, wavy
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine, Composition, DisplacementField, VelocityField
from DeepRegistrationLib.transforms.compose import as_displacement_field

FINE = {name: grid.with_size([3 * n for n in grid.size]) for name, grid in GRIDS.items()}
every_grid = pytest.mark.parametrize("grid", FINE.values(), ids=FINE.keys())


def gap(transform, inverse, points) -> float:
    return float((inverse.apply(transform.apply(points)) - points).norm(dim=1).max())


@every_grid
def test_inverse_of_a_field(grid):
    field = wavy(grid, 0.7)
    inverse, residual = field.inverse()
    points = some_points(grid, 200, margin=5)
    assert gap(field, inverse, points) < 0.05 * min(grid.spacing)
    assert residual < 0.1 * max(grid.spacing)
    assert float((field.apply(points) - points).norm(dim=1).max()) > 0.3


@every_grid
def test_inverse_of_a_total_map_with_a_large_linear_part(grid):
    """A dense field after an affine stage is far from a contraction, and its inverse lives elsewhere."""
    d = grid.dimension
    turn = Affine.about(grid.centre, rotation(*([100.0] if d == 2 else [70.0, 20.0, -80.0])), [40.0] * d)
    total = as_displacement_field(Composition([wavy(grid, 0.5), turn]), grid)
    inverse, residual = total.inverse()
    points = some_points(grid, 200, margin=5)
    assert gap(total, inverse, points) < 0.05 * min(grid.spacing)
    assert residual < 0.1 * max(grid.spacing)


@every_grid
def test_inverse_of_a_composition(grid):
    total = Composition([linear_map(grid, 1, 0.05), wavy(grid, 0.4), linear_map(grid, 2, 0.05)])
    inverse, residual = total.inverse()
    assert gap(total, inverse, some_points(grid, 100, margin=8)) < 0.1 * min(grid.spacing)
    assert 0 < residual < 0.1 * min(grid.spacing)


@every_grid
def test_velocities_forth_and_back(grid):
    velocity = VelocityField(wavy(grid, 0.7).field, grid)
    inverse, residual = velocity.inverse()
    assert isinstance(inverse, VelocityField) and torch.equal(inverse.velocity, -velocity.velocity)
    assert gap(velocity, inverse, some_points(grid, 200, margin=5)) < 0.05 * min(grid.spacing)
    assert residual < 0.1 * max(grid.spacing)


def test_a_fold_shows_in_the_residual():
    grid = Grid((40, 40))
    x = grid.world_points()
    field = torch.movedim(torch.stack([-6 * torch.sin(x[..., 0] / 3), 0 * x[..., 1]], dim=-1), -1, 0)
    folding = DisplacementField(field, grid)
    assert float(folding.jacobian_determinant(grid).min()) < -0.5
    assert folding.inverse().residual_mm > 0.5


def test_the_residual_is_the_distance_that_is_left():
    grid = FINE["flat oblique"]
    field = wavy(grid, 0.7)
    inverse, residual = field.inverse()
    x = grid.world_points(dtype=torch.float64).reshape(-1, 2)
    index = grid.index_from_world(field.apply(x).numpy())
    kept = ((index >= 0) & (index <= np.array(grid.size) - 1)).all(axis=1)
    left = (inverse.apply(field.apply(x)) - x).norm(dim=1)[torch.from_numpy(kept)]
    assert residual == pytest.approx(float(torch.quantile(left, 0.99)), rel=0.1)


@pytest.mark.parametrize("kind", [DisplacementField, VelocityField])
def test_inverting_can_be_ended(kind: type) -> None:
    grid = Grid((24, 20, 16), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    calls: list[int] = []

    def tick() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        kind(torch.ones(3, *grid.shape), grid).inverse(tick)
    assert len(calls) == 2
