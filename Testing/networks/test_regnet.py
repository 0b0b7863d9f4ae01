"""RegNet: evaluated for all voxels at once it is the network of the paper, patch by patch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.networks import regnet
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.regnet import RegNet, RegNetSettings

VARIANTS = [
    {"scales": 2, "late": True},
    {"scales": 2, "late": False},
    {"scales": 1, "late": True},
]


def network(**said: object) -> RegNet:
    """With random weights and statistics, and an output that is not small."""
    torch.manual_seed(3)
    made = RegNet(RegNetSettings(**{"width": 0.25, **said}))  # type: ignore[arg-type]
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.3, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.bias, -0.3, 0.3)
    nn.init.normal_(made.out.weight)
    return made.eval()


def cut(image: torch.Tensor, voxel: tuple[int, ...], before: int, size: int) -> torch.Tensor:
    """A patch of `size` voxels that begins `before` voxels in front of the voxel [z,] y, x; edge values held."""
    padded = F.pad(image, (40, 40) * (image.dim() - 2), mode="replicate")
    return padded[(..., *(slice(v + 40 - before, v + 40 - before + size) for v in voxel))]


def by_patches(made: RegNet, fixed: torch.Tensor, moving: torch.Tensor, voxel: tuple[int, ...]) -> torch.Tensor:
    small = [cut(image, voxel, 14, 29) for image in (fixed, moving)]
    large = [cut(image, voxel, 27, 54) for image in (fixed, moving)]
    return made.patches(*small, *large)[0]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_all_voxels_at_once_are_the_patches(variant: dict[str, object], stride: int) -> None:
    made = network(stride=stride, **variant)
    shape = (6, 4, 8)
    fixed, moving = torch.rand(2, 1, 1, *shape)
    found = made(fixed, moving)
    assert found.displacement.shape == (1, 3, *shape)
    assert found.displacement.std() > 0.01
    lattice, start, step = (found.details[k] for k in ("lattice", "start", "step"))
    for voxel in ((1, 1, 1), (5, 3, 7), (3, 1, 5), *([(0, 0, 0), (4, 3, 2)] * (stride == 1))):
        wanted = by_patches(made, fixed, moving, voxel)
        assert torch.allclose(found.displacement[(0, slice(None), *voxel)], wanted, atol=1e-5)
        place = [(v - start) // step for v in voxel]
        assert torch.allclose(lattice[(0, slice(None), *place)], wanted, atol=1e-5)


@torch.no_grad()
def test_every_voxel_of_a_small_flat_image() -> None:
    made = network(stride=1, dimension=2)
    fixed, moving = torch.rand(2, 1, 1, 8, 6)
    found = made(fixed, moving).displacement
    for y in range(8):
        for x in range(6):
            assert torch.allclose(found[0, :, y, x], by_patches(made, fixed, moving, (y, x)), atol=1e-5)


@torch.no_grad()
def test_between_the_lattice_it_is_interpolated() -> None:
    made = network()
    fixed, moving = torch.rand(2, 1, 1, 8, 8, 8)
    u = made(fixed, moving).displacement[0]
    assert torch.allclose(u[:, 5, 5, 6], (u[:, 5, 5, 5] + u[:, 5, 5, 7]) / 2, atol=1e-5)
    assert torch.allclose(u[:, 5, 5, 0], u[:, 5, 5, 1], atol=1e-5)


@torch.no_grad()
def test_a_block_is_cut_out_of_the_whole() -> None:
    made = network()
    fixed, moving = torch.rand(2, 1, 1, 6 + 53, 8 + 53, 4 + 53)
    inner = made.block(fixed, moving)
    assert inner.shape == (1, 3, 3, 4, 2)
    wanted = by_patches(made, fixed, moving, (27 + 3, 27 + 5, 27 + 1))
    assert torch.allclose(inner[0, :, 1, 2, 0], wanted, atol=1e-5)


@pytest.mark.parametrize(("scales", "before", "behind"), [(1, 14, 13), (2, 27, 26)])
@torch.no_grad()
def test_it_sees_as_far_as_its_patches(scales: int, before: int, behind: int) -> None:
    """Of the 19 voxels that are pooled in pairs the last one is left out, so the small patch ends a voxel earlier."""
    made = network(scales=scales, stride=1, dimension=2).double()
    for module in made.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            for weights in module.parameters():
                nn.init.uniform_(weights, 0.1, 0.2)  # nothing is cut off, nothing cancels
    fixed, moving = torch.rand(2, 1, 1, 70, 4, dtype=torch.float64)
    here = made(fixed, moving).displacement[0, :, 35, 2]

    def seen(rows: slice) -> bool:
        other = moving.clone()
        other[..., rows, :] += 1e6
        return not torch.allclose(made(fixed, other).displacement[0, :, 35, 2], here, rtol=1e-9)

    assert seen(slice(0, 35 - before + 1)) and not seen(slice(0, 35 - before))
    assert seen(slice(35 + behind, None)) and not seen(slice(35 + behind + 1, None))


def test_layers_of_the_paper() -> None:
    made = RegNet()
    convolutions = [m for m in made.modules() if isinstance(m, nn.Conv3d)]
    # for each resolution three that both scans pass, then two and six; four together, two fully connected
    assert len(convolutions) == 2 * 3 + 2 + 6 + 4 + 2
    assert [m.kernel_size for m in convolutions].count((3, 3, 3)) == 18
    assert sum(isinstance(m, nn.BatchNorm3d) for m in made.modules()) == 19
    late, early = (_work(RegNet(RegNetSettings(late=v))) for v in (True, False))
    assert early == pytest.approx(late, rel=0.05)


def _work(made: RegNet) -> int:
    """Multiplications of the patch by patch evaluation."""
    total = 0

    def count(module: nn.Module, given: Any, found: torch.Tensor) -> None:
        nonlocal total
        total += found[:, :1].numel() * sum(p.numel() for p in module.parameters())

    for module in made.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(count)
    with torch.no_grad():
        made.eval().patches(*torch.zeros(2, 1, 1, 29, 29, 29), *torch.zeros(2, 1, 1, 54, 54, 54))
    return total


def test_it_learns() -> None:
    made = network(width=0.2).train()
    fixed, moving = torch.rand(2, 1, 1, 8, 8, 8)
    made(fixed, moving).displacement.abs().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_odd_sizes_and_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        network()(torch.rand(1, 1, 8, 8, 9), torch.rand(1, 1, 8, 8, 9))
    with pytest.raises(InputError):
        build("regnet", {"depth": 3})
    assert isinstance(build("regnet", {"width": 0.25}), RegNet)


def test_a_network_for_volumes_takes_over_what_one_for_slices_learned() -> None:
    """Where scans are the same in every slice, it finds what that one finds in a slice, and nothing across."""
    flat, deep = network(dimension=2), network(dimension=3)
    fixed, moving = torch.rand(2, 1, 1, 12, 16)
    deep.load_state_dict(flat.state_dict())
    with torch.no_grad():
        wanted = flat(fixed, moving).displacement
        volumes = (scan[:, :, None].expand(-1, -1, 4, -1, -1).contiguous() for scan in (fixed, moving))
        found = deep(*volumes).displacement
    assert torch.allclose(found[:, :2], wanted[:, :, None].expand(-1, -1, 4, -1, -1), atol=1e-5)
    assert torch.equal(found[:, 2], torch.zeros_like(found[:, 2])) and wanted.abs().max() > 0.1
    with pytest.raises(RuntimeError):
        flat.load_state_dict(deep.state_dict())


def test_slab_by_slab_nothing_changes_and_a_cancel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, (fixed, moving) = network(dimension=3), torch.rand(2, 1, 1, 12, 10, 14)
    with torch.no_grad():
        whole = made(fixed, moving).displacement
        monkeypatch.setattr(regnet, "_AT_ONCE", 1)
        monkeypatch.setattr(regnet, "_THICK", 2)
        ticks: list[int] = []
        made.tick = lambda: ticks.append(1)
        assert torch.allclose(made(fixed, moving).displacement, whole, atol=1e-5)
    assert len(ticks) > 50
