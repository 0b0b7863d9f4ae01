"""Interpolation: gradients, edges, ties and the sharing of work among threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.grids import GRIDS, noise, some_points, wavy
from DeepRegistrationLib.core import sampling
from DeepRegistrationLib.core.sampling import crossings, sample_displaced, sample_index


def test_crossings_have_x_last_in_shape_and_first_in_components():
    points = crossings([torch.tensor([0.0, 1.0]), torch.tensor([10.0, 20.0, 30.0]), torch.tensor([5.0])])
    assert points.shape == (2, 3, 1, 3)
    assert points[1, 2, 0].tolist() == [5.0, 30.0, 1.0]
    plane = GRIDS["flat plain"]
    axes = [torch.arange(n, dtype=torch.float32) for n in plane.shape]
    assert torch.equal(crossings(axes), plane.index_points())


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 4, 5)])
def test_gradients(shape):
    d = len(shape) - 1
    generator = torch.Generator().manual_seed(0)
    data = torch.rand(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    # away from voxel centres, where the slope jumps, and from the edges, where it stops
    index = torch.rand((6, d), dtype=torch.float64, generator=generator) * 0.8 + 0.1
    index = (index + torch.arange(6)[:, None] % 2).requires_grad_()
    for outside in (0.0, None):
        assert torch.autograd.gradcheck(lambda a, b, o=outside: sample_index(a, b, outside=o), (data, index))


def brute(data: np.ndarray, at: np.ndarray) -> float:
    """Linear interpolation at index coordinates x, y[, z], from its definition."""
    total = 0.0
    floor = np.floor(at).astype(int)
    for corner in np.ndindex(*(2,) * len(at)):
        k = floor + corner
        weight = np.prod(1 - np.abs(at - k))
        total += weight * data[tuple(np.clip(k, 0, np.array(data.shape[::-1]) - 1)[::-1])]
    return total


@pytest.mark.parametrize("name", ["anisotropic", "flat plain"])
def test_linear_interpolation_by_its_definition(name):
    grid = GRIDS[name]
    data = noise(grid).data.double()
    index = grid.index_from_world(some_points(grid, 50).numpy())
    expected = [brute(data[0].numpy(), row) for row in index]
    got = sample_index(data, torch.from_numpy(index), outside=None)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_edges_are_held_for_half_a_voxel():
    data = torch.tensor([[[1.0, 2.0, 3.0]]])
    x = torch.tensor([-0.51, -0.5, -0.2, 2.49, 2.5, 9.0], dtype=torch.float64)
    index = torch.stack([x, torch.zeros_like(x)], dim=1)
    assert sample_index(data, index, outside=-1.0)[0].tolist() == pytest.approx([-1, 1, 1, 3, -1, -1])
    assert sample_index(data, index, outside=None)[0].tolist() == pytest.approx([1, 1, 1, 3, 3, 3])


def test_nearest_rounds_halves_up():
    data = torch.tensor([[[10, 20, 30, 40]]])
    x = torch.tensor([0.5, 1.49, 1.5, 2.5], dtype=torch.float64)
    index = torch.stack([x, torch.zeros_like(x)], dim=1)
    assert sample_index(data, index, nearest=True)[0].tolist() == [20, 20, 30, 40]


@pytest.mark.parametrize("name", ["oblique", "flat oblique"])
@pytest.mark.parametrize("points", [1, 4095, 4097, 10007])
def test_threads_do_not_change_the_values(name, points, monkeypatch):
    grid = GRIDS[name]
    data = noise(grid, channels=3).data
    index = torch.from_numpy(grid.index_from_world(some_points(grid, points, margin=-1).numpy()))
    alone = sample_index(data, index)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(sample_index(data, index), alone, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["oblique", "left-handed", "flat left-handed"])
def test_sampling_at_displaced_voxels_piece_by_piece_and_at_once(name, monkeypatch):
    grid = GRIDS[name]
    data, u = noise(grid, channels=2).data, wavy(grid, 2.0).field
    x = grid.world_points(dtype=torch.float64)
    index = torch.from_numpy(grid.index_from_world((x + torch.movedim(u, 0, -1)).numpy()))
    expected = sample_index(data, index, outside=None)
    monkeypatch.setattr(sampling, "BLOCK", 50)
    torch.testing.assert_close(sample_displaced(data, u, grid), expected, rtol=1e-4, atol=1e-3)
    at_once = sample_displaced(data.clone().requires_grad_(), u, grid)
    assert at_once.requires_grad
    torch.testing.assert_close(at_once.detach(), expected, rtol=1e-4, atol=1e-3)


def test_refuses_data_of_another_dimension():
    with pytest.raises(ValueError, match="2-D"):
        sample_index(torch.zeros(1, 3, 3, 3), torch.zeros(4, 2))
