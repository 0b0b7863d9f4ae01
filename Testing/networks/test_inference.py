"""A network run whole, padded and in pieces gives one answer; it can be cancelled on the way, and memory decides."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from DeepRegistrationLib.core.errors import Cancelled, DeviceMemoryError
from DeepRegistrationLib.networks.catalogue import Correspondences, Prediction
from DeepRegistrationLib.networks.footprint import Footprint
from DeepRegistrationLib.networks.inference import BLEND, least_tile, predict, tile_that_fits

#: voxels the little network below sees to every side
REACH = 6


class Little(nn.Module):
    """Three convolutions, one of them on half the resolution."""

    def __init__(self, dimension: int, velocity: bool = False) -> None:
        super().__init__()
        convolution = nn.Conv3d if dimension == 3 else nn.Conv2d
        self.pool = nn.AvgPool3d(2) if dimension == 3 else nn.AvgPool2d(2)
        self.first = convolution(2, 4, 3, padding=1)
        self.middle = convolution(4, 4, 3, padding=1)
        self.widen = nn.Upsample(scale_factor=2)
        self.last = convolution(4, dimension, 3, padding=1)
        self.velocity = velocity

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        values = self.first(torch.cat([fixed, moving], dim=1)).relu()
        field = self.last(self.widen(self.middle(self.pool(values))).relu())
        if region is not None:
            field = field * region
        return Prediction(field, 2 * field if self.velocity else None)


def little(dimension: int, velocity: bool = False) -> Little:
    torch.manual_seed(0)
    return Little(dimension, velocity)


def images(*shape: int) -> list[torch.Tensor]:
    return list(torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("shape", [(100, 96), (54, 38, 44)])
def test_pieces_give_what_the_whole_gives(shape: tuple[int, ...]) -> None:
    network = little(len(shape), velocity=True)
    region = (images(*shape)[0] > 0.3).float()
    whole = predict(network, *images(*shape), region, multiple=4)
    tile = (least_tile(REACH, 4),) * len(shape)
    assert tile < shape
    pieces = predict(network, *images(*shape), region, multiple=4, tile=tile, margin=REACH)
    assert whole.displacement.shape == (1, len(shape), *shape)
    assert torch.allclose(pieces.displacement, whole.displacement, atol=1e-5)
    assert whole.velocity is not None and pieces.velocity is not None
    assert torch.allclose(pieces.velocity, 2 * whole.displacement, atol=1e-5)


def test_a_card_gives_the_same_whole_and_in_pieces(card: torch.device) -> None:
    """In half precision on one of NVIDIA's; networks are given to it by who calls."""
    network, shape = little(2, velocity=True), (100, 96)
    here = predict(network, *images(*shape), None, multiple=4)
    there = [image.to(card) for image in images(*shape)]
    network.to(card)
    for tile in (None, (least_tile(REACH, 4),) * 2, (100, least_tile(REACH, 4))):
        found = predict(network, *there, None, multiple=4, tile=tile, margin=REACH)
        for a, b in ((here.displacement, found.displacement), (here.velocity, found.velocity)):
            assert a is not None and b is not None and b.device == card and b.dtype == torch.float32
            assert torch.allclose(a, b.cpu(), atol=2e-3 * float(a.abs().max()))
        exact = torch.equal(here.displacement, found.displacement.cpu())
        assert not (exact and card.type == "cuda"), "half precision would be faster"


def test_without_their_margin_pieces_show() -> None:
    """So the test above can fail."""
    whole = predict(little(2), *images(96, 96), None, multiple=4)
    pieces = predict(little(2), *images(96, 96), None, multiple=4, tile=(least_tile(0, 4),) * 2, margin=0)
    assert float((pieces.displacement - whole.displacement).abs().max()) > 1e-3


def test_where_pieces_differ_one_gives_way_to_the_next_smoothly() -> None:
    class Own(nn.Module):
        """The mean of what it sees: another number in each piece."""

        def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: object = None) -> Prediction:
            return Prediction(fixed.mean() + torch.zeros(1, 2, *fixed.shape[2:]))

    fixed = torch.arange(128.0).expand(128, 128)
    field = predict(Own(), fixed, fixed, None, multiple=8, tile=(48,) * 2, margin=4).displacement[0, 0, 60]
    assert float(field.max() - field.min()) > 50
    assert float(field.diff().abs().max()) < 3.5 * 28 / BLEND


def test_what_is_padded_is_cut_off_again_and_holds_the_edge() -> None:
    seen = []

    class Watching(Little):
        def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
            seen.append((fixed, moving, region))
            return super().forward(fixed, moving, region)

    fixed, moving = images(13, 18)
    found = predict(Watching(2), fixed, moving, torch.ones(13, 18), multiple=8)
    assert found.displacement.shape == (1, 2, 13, 18)
    ((f, m, r),) = seen
    assert f.shape == m.shape == (1, 1, 16, 24)
    assert torch.equal(f[0, 0, 13:, :18], fixed[-1].expand(3, 18))
    assert float(r[0, 0, 13:].abs().max()) == 0 and float(r[0, 0, :13, :18].min()) == 1


class Marks(nn.Module):
    """Matches every bright voxel of what it sees with the place two rows below, one column before."""

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: object = None) -> Prediction:
        points = (fixed[0, 0] > 0.9).nonzero().flip(1).to(torch.float32) + 0.25
        step = torch.tensor([-1.0, 2.0, 0.0][: fixed.dim() - 2])
        field = step.reshape(1, -1, *(1,) * len(step)).expand(1, -1, *fixed.shape[2:])
        return Prediction(field, correspondences=[Correspondences(points, points + step)])


def rows(points: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(p) for p in points.tolist()}


def test_matched_points_keep_their_places_and_none_lies_in_the_padding() -> None:
    fixed, moving = images(13, 18)
    fixed[-1, 5] = fixed[7, -1] = 1.0  # which the padding repeats
    (found,) = predict(Marks(), fixed, moving, None, multiple=8).correspondences
    assert rows(found.fixed) == {(x + 0.25, y + 0.25) for y, x in (fixed > 0.9).nonzero().tolist()}
    assert torch.equal(found.moving - found.fixed, torch.tensor([-1.0, 2.0]).expand(len(found.fixed), 2))


@pytest.mark.parametrize("shape", [(100, 90), (60, 50, 75)])
def test_matched_points_of_pieces_come_together_each_once(shape: tuple[int, ...]) -> None:
    fixed, moving = images(*shape)
    (whole,) = predict(Marks(), fixed, moving, None, multiple=4).correspondences
    tile = (least_tile(REACH, 4),) * len(shape)
    (pieces,) = predict(Marks(), fixed, moving, None, multiple=4, tile=tile, margin=REACH).correspondences
    assert rows(pieces.fixed) == rows(whole.fixed) and len(pieces.fixed) == len(whole.fixed)
    assert torch.equal(pieces.moving - pieces.fixed, whole.moving - whole.fixed)


def test_a_dense_network_matches_no_points() -> None:
    assert predict(little(2), *images(32, 32), None, multiple=4).correspondences == []
    in_pieces = predict(little(2), *images(64, 96), None, multiple=4, tile=(least_tile(REACH, 4),) * 2, margin=REACH)
    assert list(in_pieces.correspondences) == []


def test_progress_goes_forward_and_a_cancel_is_heard_in_the_middle() -> None:
    told: list[float] = []
    tile = (least_tile(REACH, 4),) * 2
    predict(little(2), *images(64, 96), None, multiple=4, tile=tile, margin=REACH, report=told.append)
    assert told == sorted(told) and told[-1] == pytest.approx(1.0) and len(told) > 10

    def stop(done: float) -> None:
        if done > 0.3:
            raise Cancelled

    network = little(2)
    with pytest.raises(Cancelled):
        predict(network, *images(64, 96), None, multiple=4, report=stop)
    assert not any(m._forward_hooks for m in network.modules()), "nothing may be left hooked"


@pytest.mark.parametrize(("gigabytes", "pieces", "times"), [(6.5, 2, 1.4), (4.0, 6, 2.6)])
def test_pieces_overlap_no_more_than_they_must(gigabytes: float, pieces: int, times: float) -> None:
    """The pieces that a network for 160 x 192 x 160 voxels looks at, in place of the 8.8 GB of the whole."""
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: object = None) -> Prediction:
            seen.append(fixed.numel())
            return Prediction(torch.zeros(1, 3, *fixed.shape[2:]))

    shape, footprint = (160, 192, 160), Footprint(1800, 28)
    tile = tile_that_fits(shape, footprint, int(gigabytes * 1e9), 2)
    predict(Counting(), torch.zeros(shape), torch.zeros(shape), None, multiple=2, tile=tile, margin=28)
    assert max(seen) * 1800 <= gigabytes * 1e9
    assert len(seen) == pieces and sum(seen) < times * 160 * 192 * 160


def test_pieces_are_as_large_as_memory_allows() -> None:
    footprint = Footprint(bytes_per_voxel=100, margin=8)
    assert tile_that_fits((64, 64, 64), footprint, 100 * 64**3, 16) is None
    assert tile_that_fits((64, 64, 60), footprint, 100 * 64**3 - 1, 16) == (48, 64, 64), "the padding counts"
    assert tile_that_fits((64, 64, 20), footprint, 100 * 48 * 48 * 32, 16) == (48, 48, 32), "thin scans stay whole"
    with pytest.raises(DeviceMemoryError, match="64 x 64 x 64"):
        tile_that_fits((64, 64, 64), footprint, 100 * 40**3, 16)
    with pytest.raises(DeviceMemoryError):
        tile_that_fits((64, 64, 64), Footprint(100, None), 100 * 60**3, 16)
