"""Divergence and curl against closed forms, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.div_curl import along_axes, along_world, curl, divergence, gradient
from DeepRegistrationLib.ops.poisson import FIXED, FREE

GRIDS = {2: Grid((9, 7), (0.5, 2.0), (3.0, -4.0)), 3: Grid((7, 6, 8), (0.5, 2.0, 1.5), (3.0, -4.0, 10.0))}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_field(grid: Grid, matrix: np.ndarray) -> torch.Tensor:
    """u = matrix x, (d, [Z,] Y, X)."""
    x = grid.world_points(dtype=torch.float64)
    return torch.movedim(x @ torch.from_numpy(matrix).T, -1, 0)


@pytest.mark.parametrize("d", [2, 3])
def test_linear_fields_are_met_exactly(d: int) -> None:
    """div (A x) = trace A; curl from the antisymmetric part; up to the border."""
    a = np.arange(1.0, d * d + 1).reshape(d, d) ** 2
    u = linear_field(GRIDS[d], a)
    spacing = GRIDS[d].spacing
    assert torch.allclose(divergence(u, spacing), torch.full_like(u[:1], np.trace(a)))
    wanted = [a[1, 0] - a[0, 1]] if d == 2 else [a[2, 1] - a[1, 2], a[0, 2] - a[2, 0], a[1, 0] - a[0, 1]]
    found = curl(u, spacing)
    assert found.shape[0] == len(wanted)
    for component, value in zip(found, wanted, strict=True):
        assert torch.allclose(component, torch.full_like(component, value))


def test_rotation_has_curl_twice_its_speed_and_no_divergence() -> None:
    turn = np.array([[0.0, -3.0], [3.0, 0.0]])  # counter-clockwise from x to y
    u = linear_field(GRIDS[2], turn)
    assert torch.allclose(curl(u, GRIDS[2].spacing), torch.full_like(u[:1], 6.0))
    assert torch.allclose(divergence(u, GRIDS[2].spacing), torch.zeros_like(u[:1]))


def test_waves_in_three_dimensions() -> None:
    """u = (sin y, sin z, sin x): div 0, curl (-cos z, -cos x, -cos y), to second order in the spacing."""
    grid = Grid((40, 44, 48), (0.1, 0.08, 0.09))
    x, y, z = grid.world_points(dtype=torch.float64).unbind(-1)
    u = torch.stack([torch.sin(y), torch.sin(z), torch.sin(x)])
    inner = (slice(None), *(slice(1, -1),) * 3)
    assert float(divergence(u, grid.spacing)[inner].abs().max()) < 1e-12
    wanted = torch.stack([-torch.cos(z), -torch.cos(x), -torch.cos(y)])
    assert float((curl(u, grid.spacing) - wanted)[inner].abs().max()) < 0.1**2 / 5


@pytest.mark.parametrize("boundary", [FREE, FIXED])
@pytest.mark.parametrize("d", [2, 3])
def test_a_gradient_has_no_curl_and_a_curl_no_divergence(d: int, boundary: str) -> None:
    spacing, shape = GRIDS[d].spacing, GRIDS[d].shape
    f, g = noise(1, *shape), noise(1 if d == 2 else 3, *shape, seed=1)
    assert float(curl(gradient(f, spacing, boundary), spacing, boundary).abs().max()) < 1e-12
    assert float(divergence(curl(g, spacing, boundary), spacing, boundary).abs().max()) < 1e-12


@pytest.mark.parametrize("d", [2, 3])
def test_gradient_and_curl_are_adjoint_with_a_fixed_boundary(d: int) -> None:
    spacing, shape = GRIDS[d].spacing, GRIDS[d].shape
    u, f, g = noise(d, *shape), noise(1, *shape, seed=1), noise(1 if d == 2 else 3, *shape, seed=2)

    def inner(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a * b).sum())

    assert inner(gradient(f, spacing, FIXED), u) == pytest.approx(-inner(f, divergence(u, spacing, FIXED)))
    assert inner(curl(g, spacing, FIXED), u) == pytest.approx(inner(g, curl(u, spacing, FIXED)))


@pytest.mark.parametrize("d", [2, 3])
def test_laplacian_is_made_of_divergence_and_curl(d: int) -> None:
    """grad div u - curl curl u, with differences over two voxels."""
    grid = GRIDS[d]
    u = noise(d, *grid.shape)
    found = gradient(divergence(u, grid.spacing, FIXED), grid.spacing, FIXED)
    found = found - curl(curl(u, grid.spacing, FIXED), grid.spacing, FIXED)
    wanted = torch.zeros_like(u)
    for c in range(d):
        for k, h in enumerate(grid.spacing):
            wide = torch.nn.functional.pad(u[c : c + 1], [2 if a == k else 0 for a in range(d) for _ in range(2)])
            axis = wide.dim() - 1 - k
            n = u.shape[axis]
            wanted[c] += (
                (wide.narrow(axis, 4, n) - 2 * wide.narrow(axis, 2, n) + wide.narrow(axis, 0, n)) / (2 * h) ** 2
            )[0]
    inner = (slice(None), *(slice(2, -2),) * d)
    assert torch.allclose(found[inner], wanted[inner])


def test_axes_of_an_oblique_left_handed_grid() -> None:
    """Divergence does not depend on the axes; a curl turns along and changes its sign with the handedness."""
    angle = np.deg2rad(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    grid = Grid((6, 7, 5), (0.5, 2.0, 1.5), (1.0, 2.0, 3.0), turn @ np.diag([-1.0, 1.0, 1.0]))
    a = np.array([[0.2, 1.0, -3.0], [0.5, -0.7, 2.0], [1.5, 0.4, 0.9]])
    u = along_axes(linear_field(grid, a), grid)
    assert torch.allclose(along_world(u, grid), linear_field(grid, a))
    assert torch.allclose(divergence(u, grid.spacing), torch.full_like(u[:1], np.trace(a)))
    in_world = -along_world(curl(u, grid.spacing), grid)
    wanted = torch.tensor([a[2, 1] - a[1, 2], a[0, 2] - a[2, 0], a[1, 0] - a[0, 1]], dtype=torch.float64)
    assert torch.allclose(in_world, wanted.reshape(3, 1, 1, 1).expand_as(in_world))
