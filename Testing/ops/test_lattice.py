"""Derivatives, interpolation and its transpose on a lattice, against polynomials and each other."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.lattice import Lattice

GRIDS = {2: Grid((13, 11), (2.0, 1.5)), 3: Grid((9, 8, 10), (2.0, 1.5, 3.0))}


def displacement(grid: Grid, size: float) -> torch.Tensor:
    """Of up to `size` voxels, every voxel by itself; float64."""
    generator = torch.Generator().manual_seed(grid.dimension)
    spread = torch.rand(grid.dimension, *grid.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return size * spread * torch.tensor(grid.spacing).reshape(-1, *(1,) * grid.dimension)


def polynomial(points: torch.Tensor, degree: int) -> torch.Tensor:
    """At `points` (..., d), mm along index axes."""
    x, y = points[..., 0] / 10, points[..., -1] / 10
    return x**degree - 2 * y**degree + 0.5 * x + 1


def places(grid: Grid, u: torch.Tensor | float = 0.0) -> torch.Tensor:
    there = grid.index_points(dtype=torch.float64) * torch.tensor(grid.spacing, dtype=torch.float64)
    return there + torch.movedim(u, 0, -1) if isinstance(u, torch.Tensor) else there


def inner(data: torch.Tensor, margin: int) -> torch.Tensor:
    """Without the voxels near the border; data (..., [Z,] Y, X) of a whole number of leading axes of any size."""
    d = data.dim() - 1
    return data[(slice(None), *(slice(margin, -margin) for _ in range(d)))]


@pytest.mark.parametrize("d", [2, 3])
def test_gradient_is_exact_for_the_fourth_degree(d: int) -> None:
    grid = GRIDS[d]
    at = places(grid).requires_grad_(True)
    data = polynomial(at, 4)
    (wanted,) = torch.autograd.grad(data.sum(), at)
    got = Lattice.of(grid, data).gradient(data.detach()[None])[:, 0]
    assert torch.allclose(inner(got, 2), inner(torch.movedim(wanted, -1, 0), 2), atol=1e-10)


@pytest.mark.parametrize("d", [2, 3])
def test_sharp_interpolation_is_exact_for_parabolas(d: int) -> None:
    grid = GRIDS[d]
    data = polynomial(places(grid), 2)[None]
    u = displacement(grid, 0.95)
    wanted = polynomial(places(grid, u), 2)[None]
    lattice = Lattice.of(grid, data)
    assert torch.allclose(inner(lattice.sharply(data, u), 3), inner(wanted, 3), atol=1e-10)
    assert not torch.allclose(inner(lattice.sampled(data, u), 3), inner(wanted, 3), atol=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_depositing_is_the_transpose_of_sharp_interpolation(d: int) -> None:
    grid = GRIDS[d]
    u = displacement(grid, 3.0)  # also out of the grid
    generator = torch.Generator().manual_seed(0)
    values, data = torch.rand(2, 3, *grid.shape, generator=generator, dtype=torch.float64)
    lattice = Lattice.of(grid, data)
    there = float((lattice.deposited(values, u) * data).sum())
    assert there == pytest.approx(float((values * lattice.sharply(data, u)).sum()), rel=1e-12)
    assert float(lattice.deposited(values, u).sum()) == pytest.approx(float(values.sum()))


def test_gradients_are_those_of_finite_differences() -> None:
    grid = Grid((6, 5), (2.0, 1.5))
    u = displacement(grid, 1.4).requires_grad_(True)
    values = torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lattice = Lattice.of(grid, values)
    for way in (lattice.sharply, lattice.deposited):
        assert torch.autograd.gradcheck(lambda a, b, way=way: way(a, b), (values.requires_grad_(True), u), atol=1e-6)
