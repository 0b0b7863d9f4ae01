"""Warping, composing and resizing of displacements in voxels, against closed forms and scipy."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import map_coordinates

from DeepRegistrationLib.core.sampling import sample_index
from DeepRegistrationLib.ops.warp import compose, exponential, index_grid, resized, warp


def _smooth(shape: tuple[int, ...], seed: int, size: float) -> torch.Tensor:
    """A displacement of a few low waves."""
    generator = torch.Generator().manual_seed(seed)
    d = len(shape)
    phase = 6.28 * torch.rand(d, 1, generator=generator)
    points = index_grid(shape, phase)
    waves = [torch.sin(2 * torch.pi * points[..., c] / (shape[-1 - c] + 3.0) + phase[c, 0]) for c in range(d)]
    return size * torch.stack(waves)[None]


@pytest.mark.parametrize("shape", [(9, 11), (7, 8, 10)])
def test_warp_is_scipys_linear_interpolation(shape: tuple[int, ...]) -> None:
    data = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    u = torch.cat([_smooth(shape, 1, 2.5), _smooth(shape, 2, 1.5)])
    got = warp(data, u)
    for b in range(2):
        where = (index_grid(shape, u) + u[b].movedim(0, -1)).movedim(-1, 0).flip(0).numpy()
        for c in range(3):
            wanted = map_coordinates(data[b, c].numpy(), where, order=1, mode="nearest")
            assert abs(got[b, c].numpy() - wanted).max() < 2e-6


def test_a_batch_is_sampled_as_each_of_it() -> None:
    data = torch.rand(2, 1, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    u = torch.cat([_smooth((6, 7, 8), 1, 2.5), _smooth((6, 7, 8), 2, 1.5)])
    alone = sample_index(data[1], index_grid((6, 7, 8), u) + u[1].movedim(0, -1), outside=None)
    assert torch.allclose(warp(data, u)[1], alone, atol=1e-6)


def test_compose_applies_the_inner_map_first() -> None:
    shift, stretch = torch.zeros(1, 2, 20, 20), torch.zeros(1, 2, 20, 20)
    shift[:, 0] = 2.0
    stretch[:, 0] = 0.1 * torch.arange(20.0)  # x -> 1.1 x
    assert torch.allclose(compose(stretch, shift)[0, 0, 5, :10], 1.1 * (torch.arange(10.0) + 2) - torch.arange(10.0))
    assert torch.allclose(compose(shift, stretch)[0, 0, 5, :10], 1.1 * torch.arange(10.0) + 2 - torch.arange(10.0))


def test_exponential_of_a_linear_velocity() -> None:
    velocity = torch.zeros(1, 2, 41, 41)
    velocity[:, 1] = 0.2 * (torch.arange(41.0)[:, None] - 20)  # along y
    inner = slice(8, 33)
    wanted = (torch.e**0.2 - 1) * (torch.arange(41.0)[inner] - 20)
    assert torch.allclose(exponential(velocity)[0, 1, inner, 20], wanted, atol=5e-3)


def test_resizing_keeps_the_map() -> None:
    """A linear map of the field of view is the same map on a finer grid, away from the held edge."""
    u = torch.zeros(1, 3, 8, 8, 8)
    u[:, 2] = 0.25 * (torch.arange(8.0)[:, None, None] + 0.5)  # along z, in voxels from the edge
    fine = resized(u, (16, 24, 32))
    wanted = 0.25 * (torch.arange(16.0) + 0.5)
    assert torch.allclose(fine[0, 2, 1:-1, 5, 5], wanted[1:-1], atol=1e-5)
    assert float(fine[0, :2].abs().max()) == 0.0


def test_warp_has_the_right_gradient() -> None:
    data = torch.rand(1, 1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    u = (_smooth((5, 6), 4, 0.8).double() + 0.013).requires_grad_(True)
    steps = 1e-3
    warp(data, u).square().sum().backward()
    changed = u.detach().clone()
    changed[0, 0, 2, 3] += steps
    back = u.detach().clone()
    back[0, 0, 2, 3] -= steps
    numeric = (warp(data, changed).square().sum() - warp(data, back).square().sum()) / (2 * steps)
    assert u.grad is not None
    assert abs(float(u.grad[0, 0, 2, 3] - numeric)) < 1e-3


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_move_anything(half: torch.dtype) -> None:
    """On a grid of 200 voxels a coordinate in bfloat16 would be off by nearly one."""
    line = torch.arange(200.0).expand(1, 1, 3, 200)
    u = torch.full((1, 2, 3, 200), 0.25)
    u[:, 1] = 0
    assert torch.allclose(warp(line / 200, u.to(half)), warp(line / 200, u), atol=1e-6)
    assert torch.allclose(warp((line / 256).to(half), u).float(), warp(line / 256, u), atol=4e-3)
