"""VoxelMorph++: its size is the paper's, its answer is in voxels x, y, z, and it can learn."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.voxelmorph_plus_plus import CELLS, Backbone, HeatMapHead, VoxelMorphPlusPlus

_SMALL = {"encoder": (4, 6, 6, 6, 8), "decoder": ((8, 8), (8, 6), (8, 8)), "heat_map": (4, 6, 6, 6, 6, 4, 1)}


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _network(**changes: object) -> VoxelMorphPlusPlus:
    torch.manual_seed(0)
    settings = {"reach": (6.0, 5.0, 4.0), "keypoints": 60, **_SMALL, **changes}
    network = build("voxelmorph-plus-plus", settings)
    assert isinstance(network, VoxelMorphPlusPlus)
    return network


def _scans(*shape: int) -> torch.Tensor:
    noise = torch.rand((2, 1, *(n // 4 for n in shape)), generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise, size=shape, mode="bilinear" if len(shape) == 2 else "trilinear")


def test_parameters_are_as_many_as_in_the_paper() -> None:
    assert _count(Backbone()) == 901_888
    assert _count(HeatMapHead(64)) == 462_417


def test_features_are_of_half_resolution() -> None:
    assert Backbone()(torch.zeros(1, 2, 32, 16, 48)).shape == (1, 64, 16, 8, 24)


@pytest.mark.parametrize("head", ["heat map", "regression"])
def test_displacement_covers_the_grid(head: str) -> None:
    network = _network(head=head).eval()
    scans = _scans(32, 16, 48)
    with torch.no_grad():
        found = network(scans, scans.flip(0))
    assert found.displacement.shape == (2, 3, 32, 16, 48)
    assert len(found.correspondences) == 2
    for matched in found.correspondences:
        values = matched.moving - matched.fixed
        assert values.shape == (len(values), 3) and len(values) > 10
        assert bool((values.abs() <= network.reach).all()) or head == "regression"


def test_two_dimensions() -> None:
    network = _network(reach=(6.0, 5.0), dimension=2).eval()
    scans = _scans(48, 64)
    with torch.no_grad():
        assert network(scans, scans.flip(0)).displacement.shape == (2, 2, 48, 64)


def test_features_are_sampled_where_the_points_lie() -> None:
    """The features of a ramp along x: at voxel x of the input lies cell (x + 0.5) / 2 - 0.5."""
    network = _network()
    ramp = torch.arange(8.0).expand(1, 1, 4, 6, 8)
    points = torch.tensor([[[0.5, 3.0, 3.0], [4.5, 2.0, 1.0], [7.0, 5.0, 5.0]]])
    assert torch.allclose(network.at(ramp, points)[0, :, 0], torch.tensor([0.0, 2.0, 3.25]))


def test_a_certain_heat_map_moves_along_x_y_z() -> None:
    network = _network()
    heat = torch.zeros(1, 1, CELLS**3)
    x, y, z = 10, 0, 5
    heat[0, 0, (z * CELLS + y) * CELLS + x] = 1
    assert (heat @ network.lattice)[0, 0].tolist() == pytest.approx([6.0, -5.0, 0.0], abs=1e-6)


def test_keypoints_lie_in_the_region() -> None:
    network = _network().eval()
    scans = _scans(32, 32, 32)
    region = torch.zeros(2, 1, 32, 32, 32)
    region[..., :12] = 1
    with torch.no_grad():
        found = network(scans, scans.flip(0), region).correspondences
    assert all(bool((c.fixed[:, 0] < 12).all()) and len(c.fixed) for c in found)


def test_without_anything_to_see_nothing_moves() -> None:
    flat = torch.full((1, 1, 32, 16, 16), 0.3)
    found = _network().eval()(flat, flat)
    assert not found.displacement.any() and len(found.correspondences[0].fixed) == 0


@pytest.mark.parametrize("head", ["heat map", "regression"])
def test_it_learns_a_shift(head: str) -> None:
    network = _network(head=head, keypoints=16)
    scans = _scans(32, 32, 32)
    fixed, moving = scans[:1], torch.roll(scans[:1], (2, -1, 0), dims=(4, 3, 2))
    points = network.chosen_points(fixed[0, 0], None)[None]
    true = torch.tensor([2.0, -1.0, 0.0])
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    first = last = 0.0
    for step in range(15):
        u, _ = network.displacements(network.at(network.features(fixed, moving), points))
        loss = (u - true).square().sum(dim=2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        first, last = (loss.item(), 0.0) if step == 0 else (first, loss.item())
    assert last < 0.3 * first


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError):
        build("voxelmorph-plus-plus", {"reach": (4.0, 4.0, 4.0), "head": "oracle"})


def test_a_network_for_volumes_takes_over_what_one_for_coronal_slices_learned() -> None:
    """Where scans are the same in every coronal slice, it finds what that one finds in a slice, and nothing across."""
    flat, deep = _network(reach=(6.0, 4.0), dimension=2).eval(), _network().eval()
    deep.load_state_dict(flat.state_dict())
    scans = _scans(32, 48)
    volumes = scans[:, :, :, None].expand(-1, -1, -1, 16, -1).contiguous()
    points = torch.tensor([[[10.0, 20.0], [30.5, 9.0], [41.0, 27.0]]])
    deeper = torch.stack([points[..., 0], torch.tensor([[2.0, 8.5, 13.0]]), points[..., 1]], dim=2)
    with torch.no_grad():
        wanted, _ = flat.displacements(flat.at(flat.features(scans[:1], scans[1:]), points))
        found, _ = deep.displacements(deep.at(deep.features(volumes[:1], volumes[1:]), deeper))
    assert torch.allclose(found[..., [0, 2]], wanted, atol=1e-4)
    assert found[..., 1].abs().max() < 1e-4 and wanted.abs().max() > 0.01
    with pytest.raises(RuntimeError):
        flat.load_state_dict(deep.state_dict())
