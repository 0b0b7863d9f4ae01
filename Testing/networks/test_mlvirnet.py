"""mlVIRNET's levels: what each sees, how their answers are composed, which learn; its norm and its losses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from DeepRegistrationLib.losses.curvature import curvature
from DeepRegistrationLib.losses.mask_distance import mask_distance
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.mlvirnet import LevelNetwork, MlVirnet
from DeepRegistrationLib.networks.pair_norm import PairNorm
from DeepRegistrationLib.ops.warp import index_grid, warp


class Answering(nn.Module):
    """Stands for the U-Net of a level: answers with one shift, and keeps what it saw."""

    def __init__(self, shift: Sequence[float]) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))
        self.seen = torch.zeros(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images.detach()
        d = len(self.shift)
        return self.shift.reshape(1, d, *(1,) * d).expand(len(images), d, *images.shape[2:])


def ramp(shape: Sequence[int]) -> torch.Tensor:
    """(1, 1, ...) x + 10 y [+ 100 z]"""
    points = index_grid(tuple(shape), torch.zeros(1))
    return sum(10.0**k * points[..., k] for k in range(len(shape)))[None, None]


@pytest.mark.parametrize("shape", [(64, 96), (32, 32, 48)])
def test_size_of_the_answer_and_multiple(shape: tuple[int, ...]) -> None:
    d = len(shape)
    network = build("mlvirnet", {"levels": 2, "filters": 4, "stride": 2, "dimension": d}).eval()
    assert network.multiple == 16 and network.strides() == [4, 2]
    found = network(torch.rand(2, 1, *shape), torch.rand(2, 1, *shape))
    assert found.displacement.shape == (2, d, *shape)
    assert [u.shape[2:] for u in found.details["levels"]] == [tuple(n // s for n in shape) for s in (4, 2)]


def test_the_published_sizes() -> None:
    level = LevelNetwork()
    shapes = {name: tuple(p.shape) for name, p in level.named_parameters()}
    assert shapes["down.0.0.weight"] == (16, 2, 3, 3, 3) and shapes["down.2.3.weight"] == (64, 64, 3, 3, 3)
    assert shapes["widen.0.weight"] == (64, 32, 2, 2, 2) and shapes["widen.1.weight"] == (32, 16, 2, 2, 2)
    assert shapes["last.weight"] == (3, 16, 1, 1, 1)
    assert len(MlVirnet().levels) == 3 and MlVirnet().strides() == [8, 4, 2]


def test_levels_see_the_scans_at_their_resolution_warped_by_the_coarser_ones() -> None:
    network = MlVirnet(levels=3, filters=4, stride=1, dimension=2)
    network.levels = nn.ModuleList(Answering(s) for s in ([1.0, 0.0], [0.0, 2.0], [3.0, -1.0]))
    image = ramp((32, 32))
    found = network(image, 2 * image)
    coarse, middle, fine = (level.seen for level in network.levels)
    assert [s.shape[-1] for s in (coarse, middle, fine)] == [8, 16, 32]
    inside = (slice(4, -4), slice(4, -4))
    assert torch.allclose(middle[0, 0], torch.nn.functional.avg_pool2d(image, 2)[0, 0])
    # one voxel of the coarsest level are two of the middle one and four of the finest, each of a ramp of 2 (x + 10 y)
    assert torch.allclose((middle[:, 1] - 2 * middle[:, 0])[0][inside], torch.tensor(2.0 * 4), atol=1e-3)
    assert torch.allclose((fine[:, 1] - 2 * fine[:, 0])[0][inside], torch.tensor(2.0 * (4 + 10 * 4)), atol=1e-3)
    total = torch.tensor([4.0 + 3.0, 4.0 - 1.0]).reshape(2, 1, 1)
    assert torch.allclose(found.displacement[0][(slice(None), *inside)], total.expand(2, 24, 24), atol=1e-4)


def test_the_correction_acts_before_the_deformation_that_warped_the_image() -> None:
    """What the finest level finds between F and M o phi is applied to M o phi: M o phi o (id + r)."""

    class Stretch(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = index_grid(images.shape[2:], images).movedim(-1, 0)[None]
            return 0.1 * x

    network = MlVirnet(levels=2, filters=4, stride=1, dimension=2)
    network.levels = nn.ModuleList([Stretch(), Answering([2.0, -1.0])])
    moving = torch.rand(1, 1, 40, 40)
    found = network(ramp((40, 40)), moving)
    warped = network.levels[1].seen[:, 1:]  # type: ignore[union-attr, index]
    expected = found.displacement - network.levels[1](torch.zeros(1, 2, 40, 40))  # type: ignore[operator]
    x = index_grid((40, 40), moving).movedim(-1, 0)[None]
    shifted = x + torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1)
    # 0.1 x of the level half as fine, in voxels of this one: 0.1 (x + 0.5) - 0.1
    assert torch.allclose(expected[..., 5:20, 5:20], (0.1 * (shifted + 0.5) - 0.1)[..., 5:20, 5:20], atol=1e-4)
    assert warped.shape == moving.shape


def test_one_level_learns_and_the_coarser_ones_stay_as_they_are() -> None:
    torch.manual_seed(0)
    network = MlVirnet(levels=3, filters=4, stride=1, dimension=2)
    network.start_from_coarser(1)
    for a, b in zip(network.levels[0].state_dict().values(), network.levels[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    network.learn(1)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adam = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-2)
    found = network(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32))
    assert len(found.details["levels"]) == 2 and found.displacement.shape == (1, 2, 32, 32)
    found.displacement.square().mean().backward()
    adam.step()
    changed = {n.split(".")[1] for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"1"}, "running averages count too"


def test_norm_of_several_pairs_is_that_of_each() -> None:
    torch.manual_seed(0)
    values = torch.randn(3, 2, 6, 5, 4) * torch.tensor([1.0, 5.0, 0.2]).reshape(3, 1, 1, 1, 1) + 3
    together, alone, torchs = PairNorm(2), PairNorm(2), nn.BatchNorm3d(2)
    for norm in (together, alone, torchs):
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([2.0, 0.5]))
            norm.bias.copy_(torch.tensor([-1.0, 1.0]))
    out = together(values)
    for k in range(3):
        assert torch.allclose(out[k : k + 1], alone(values[k : k + 1]), atol=1e-5)
    first, theirs = PairNorm(2), nn.BatchNorm3d(2)
    assert torch.allclose(first(values[:1]), theirs(values[:1]), atol=1e-5), "a batch of one is torch's batch norm"
    assert torch.allclose(first.running_var, theirs.running_var, atol=1e-6)
    theirs.load_state_dict({**theirs.state_dict(), **first.state_dict()})
    assert torch.allclose(first.eval()(values), theirs.eval()(values), atol=1e-5)
    assert torch.allclose(together.running_mean, 0.1 * values.mean(dim=(0, 2, 3, 4)), atol=1e-5)


# ---------------------------------------------------------------------- losses


@pytest.mark.parametrize("shape", [(9, 8), (7, 8, 6)])
def test_curvature_is_half_the_mean_squared_laplacian(shape: tuple[int, ...]) -> None:
    d = len(shape)
    x = index_grid(shape, torch.zeros(1)).movedim(-1, 0)[None]
    field = torch.zeros(1, d, *shape)
    field[:, 0] = 1.5 * x[:, 0] ** 2 - 0.5 * x[:, -1] ** 2 + 7 * x[:, 1] + 3
    inner = tuple(slice(1, -1) for _ in shape)
    value = curvature(field)
    laplace = torch.zeros(shape)
    for axis in range(d):
        at = field[0, 0].movedim(axis, 0)
        padded = torch.cat([at[:1], at, at[-1:]])
        laplace += (padded[2:] - 2 * padded[1:-1] + padded[:-2]).movedim(0, axis)
    assert torch.allclose(laplace[inner], torch.tensor(2.0), atol=1e-3), "Laplacian of the quadratic: 3 - 1"
    assert float(value) == pytest.approx(float(0.5 * laplace.square().mean()), rel=1e-5)


def test_curvature_lets_affine_maps_be_but_for_the_border_and_has_the_right_gradient() -> None:
    x = index_grid((12, 10, 11), torch.zeros(1)).movedim(-1, 0)[None]
    affine = torch.einsum("wk,bkzyx->bwzyx", torch.tensor([[0.2, -0.1, 0.3], [0.1, 0.4, 0.0], [0.0, 0.2, -0.3]]), x)
    laplace_at_border = 0.5 * (affine - affine.flip(2)).square().mean()
    assert float(curvature(affine)) < 0.2 * float(laplace_at_border)
    field = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curvature, field)
    assert torch.allclose(curvature(field), (curvature(field[:1]) + curvature(field[1:])) / 2)


def test_mask_distance_counts_the_voxels_that_differ() -> None:
    fixed, moved = torch.zeros(2, 1, 3, 4, 4, 4)
    fixed[0, 1, :2], moved[0, 1, 1:3] = 1, 1
    assert float(mask_distance(fixed, moved)) == pytest.approx(0.5 * 32 / 64)
    weight = torch.zeros(1, 1, 4, 4, 4)
    weight[:, :, 0] = 1
    assert float(mask_distance(fixed, moved, weight)) == pytest.approx(0.5)


def test_the_losses_go_down_where_the_scans_come_together() -> None:
    from DeepRegistrationLib.training.mlvirnet import edge_distance

    moving = torch.rand(1, 1, 5, 5, 5).repeat_interleave(6, 2).repeat_interleave(6, 3).repeat_interleave(6, 4)
    moving = nn.functional.avg_pool3d(moving, 5, 1, 2)
    u = torch.zeros(1, 3, 30, 30, 30)
    u[:, 0] = 2.0
    fixed = warp(moving, u)
    apart, half, there = (float(edge_distance(fixed, warp(moving, s * u), moving, None, 0.5)) for s in (0, 0.5, 1))
    assert there < half < apart
    twice = (2, 1, 1, 1, 1)
    both = edge_distance(fixed.repeat(twice), torch.cat([fixed, moving]), moving.repeat(twice), None, 0.5)
    assert float(both) == pytest.approx((there + apart) / 2, abs=1e-3)
