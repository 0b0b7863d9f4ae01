"""Brackets, compositions and lengths of velocities against linear fields, where all of them have closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.grids import GRIDS
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms.velocity import bracket, combined, exponential, squarings, velocity_norm

every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def linear(grid: Grid, matrix: np.ndarray) -> torch.Tensor:
    """v(x) = B (x - centre), float64."""
    x = grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)
    return torch.movedim(x @ torch.from_numpy(matrix).T, -1, 0)


def two_matrices(d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.normal(size=(d, d)), rng.normal(size=(d, d))


@every_grid
def test_bracket_of_linear_fields_is_the_commutator(grid):
    a, b = two_matrices(grid.dimension)
    found = bracket(linear(grid, a), linear(grid, b), grid)
    torch.testing.assert_close(found, linear(grid, a @ b - b @ a), atol=1e-9, rtol=1e-9)


@every_grid
def test_bracket_changes_sign_with_the_order_and_vanishes_for_one_field(grid):
    a, b = two_matrices(grid.dimension)
    v, w = linear(grid, a).square(), linear(grid, b)
    torch.testing.assert_close(bracket(v, w, grid), -bracket(w, v, grid))
    assert float(bracket(v, v, grid).abs().max()) == 0


def test_an_axis_of_one_voxel_has_no_derivative():
    grid = Grid((6, 1, 5))
    v, w = torch.rand(3, *grid.shape), torch.rand(3, *grid.shape)
    w[0] = w[2] = 0
    assert float((bracket(v, w, grid) + _change(w, v, grid)).abs().max()) < 1e-6


def _change(w: torch.Tensor, v: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Dw v by differences along x and z."""
    return torch.gradient(w, dim=3)[0] * v[0] + torch.gradient(w, dim=1)[0] * v[2]


def test_the_combined_velocity_flows_as_one_flow_after_the_other():
    """exp(Z(v, w)) = exp(v) o exp(w) up to third order; exp(v + w) only up to second."""
    grid = Grid((41, 41), (1.0, 1.0), (-20.0, -20.0))
    a = 0.12 * np.array([[0.0, 1.0], [-1.0, 0.2]])
    b = 0.12 * np.array([[1.0, 0.3], [0.0, -1.0]])
    v, w = linear(grid, a), linear(grid, b)
    expected = torch.linalg.matrix_exp(torch.from_numpy(a)) @ torch.linalg.matrix_exp(torch.from_numpy(b))
    middle = (slice(None), slice(15, 26), slice(15, 26))
    wanted = linear(grid, expected.numpy() - np.eye(2))[middle]

    def error(velocity: torch.Tensor) -> float:
        return float((exponential(velocity, grid, 8)[middle] - wanted).norm(dim=0).max())

    assert error(combined(v, w, grid)) < 0.02
    assert error(combined(v, w, grid)) < 0.2 * error(v + w)
    assert error(combined(w, v, grid)) > error(v + w), "the order matters"


@pytest.mark.parametrize("fastest", [0.0, 0.4, 0.6, 3.0, 40.0])
def test_the_first_of_the_squarings_moves_nothing_far(fastest):
    grid = Grid((8, 9, 7), (2.0, 1.5, 3.0))
    velocity = torch.rand(3, *grid.shape) - 0.5
    velocity *= fastest / max(float(velocity.norm(dim=0).max()), 1e-9)
    steps = squarings(velocity, grid, 0.5)
    assert fastest / 2**steps <= 0.5 * 1.5 + 1e-5
    assert steps == 0 or fastest / 2 ** (steps - 1) > 0.5 * 1.5 - 1e-5


def test_the_norm_is_a_length_in_mm_whatever_the_grid():
    steady = torch.zeros(3, 5, 6, 7)
    steady[0], steady[2] = 3.0, -4.0
    assert velocity_norm(steady) == pytest.approx(5.0)
    lengths = []
    for size in ((40, 50), (80, 100), (30, 200)):
        grid = Grid((1, 1), (120.0, 150.0)).with_size(size)
        x = grid.world_points(dtype=torch.float64) - torch.tensor([-60.0, -75.0], dtype=torch.float64)
        wave = 2.0 * torch.sin(2 * math.pi * x[..., 0] / 120) * torch.sin(2 * math.pi * x[..., 1] / 150)
        lengths.append(velocity_norm(torch.stack([wave, -wave])))
    # sqrt(2) times the root mean square of 2 sin sin, which is 1
    assert lengths == pytest.approx([math.sqrt(2)] * 3, rel=1e-6)


def test_the_norm_looks_only_where_the_weight_is():
    velocity = torch.zeros(2, 4, 6)
    velocity[1, :, 3:] = 7.0
    weight = torch.zeros(4, 6)
    weight[:, 4:] = 0.5
    assert velocity_norm(velocity, weight) == pytest.approx(7.0)
    assert velocity_norm(velocity, 1 - 2 * weight) == pytest.approx(3.5)
