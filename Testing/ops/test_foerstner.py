"""Foerstner's operator against the inverse of the averaged tensor, and keypoints against known corners."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.foerstner import (
    distance_to_stronger,
    foerstner_keypoints,
    foerstner_response,
    local_maxima,
)
from DeepRegistrationLib.ops.gradients import spatial_gradient
from DeepRegistrationLib.ops.smoothing import gaussian_smooth

SPACING = {2: (1.0, 1.7), 3: (0.9, 1.4, 2.0)}
SHAPE = {2: (24, 20), 3: (12, 16, 18)}


def noise(shape: tuple[int, ...], seed: int = 0, width: float = 1.0) -> torch.Tensor:
    raw = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    return gaussian_smooth(raw, width)[0]


def blobs(centres: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...], width: float) -> torch.Tensor:
    """Gaussian blobs at index coordinates x, y[, z]; width in mm."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    out = torch.zeros(shape)
    for c in centres:
        mm = (points - torch.as_tensor(c, dtype=torch.float32)) * torch.tensor(spacing)
        out += torch.exp(-0.5 * mm.square().sum(dim=-1) / width**2)
    return out


@pytest.mark.parametrize("d", [2, 3])
def test_is_the_inverse_trace_of_the_inverse(d: int) -> None:
    image, spacing = noise(SHAPE[d]), SPACING[d]
    slopes = spatial_gradient(image[None].double(), spacing)[:, 0]
    products = (slopes[:, None] * slopes[None]).reshape(d * d, *SHAPE[d])
    averaged = gaussian_smooth(products, [2.5 / s for s in spacing])
    tensor = averaged.reshape(d, d, -1).permute(2, 0, 1)
    wanted = 1 / torch.linalg.inv(tensor).diagonal(dim1=1, dim2=2).sum(dim=1)
    got = foerstner_response(image, spacing, 2.5).reshape(-1).double()
    assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-7 * float(wanted.max()))


@pytest.mark.parametrize("d", [2, 3])
def test_edges_tubes_and_flat_ground_say_nothing(d: int) -> None:
    x = torch.arange(SHAPE[d][-1], dtype=torch.float32)
    edge = torch.tanh((x - 9) / 2).expand(SHAPE[d]).contiguous()
    assert float(foerstner_response(edge, SPACING[d]).max()) < 1e-9
    assert float(foerstner_response(torch.full(SHAPE[d], 7.0), SPACING[d]).max()) == 0
    if d == 3:
        tube = blobs(np.array([[9.0, 8.0]]), SHAPE[3][1:], SPACING[3][:2], 2.0).expand(SHAPE[3]).contiguous()
        assert float(foerstner_response(tube, SPACING[3]).max()) < 1e-7
    assert foerstner_keypoints(torch.full(SHAPE[d], 7.0), SPACING[d], 10).shape == (0, d)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0)])
def test_finds_blobs_and_nothing_else(spacing: tuple[float, ...]) -> None:
    shape = (round(40 / spacing[2]), 44, 48)
    mm = np.array(list(itertools.product((10, 24, 37), (12, 32), (10, 28))), dtype=float)
    centres = mm / np.array(spacing)
    found = foerstner_keypoints(blobs(centres, shape, spacing, 2.0), spacing, len(centres), sigma=2.0)
    assert len(found) == len(centres)
    apart = torch.cdist(found.double() * torch.tensor(spacing, dtype=torch.float64), torch.from_numpy(mm))
    assert float(apart.min(dim=1).values.max()) < 1.6 * max(spacing) and len(set(apart.argmin(dim=1).tolist())) == 12


@pytest.mark.parametrize("d", [2, 3])
def test_maxima_against_looking_at_every_box(d: int) -> None:
    response, radius = noise(SHAPE[d], 3).abs(), (2, 3, 1)[:d]
    mask = noise(SHAPE[d], 4, 2.0) > 0
    points, values = local_maxima(response, radius, mask)
    wanted = {}
    for index in np.ndindex(*SHAPE[d]):
        box = tuple(slice(max(0, i - r), i + r + 1) for i, r in zip(index, radius[::-1], strict=True))
        if mask[index] and response[index] == (response[box] * mask[box]).max():
            wanted[index[::-1]] = float(response[index])
    assert {tuple(int(v) for v in p): float(s) for p, s in zip(points, values, strict=True)} == wanted
    assert bool((values[:-1] >= values[1:]).all())


def test_of_equal_maxima_one_remains() -> None:
    response = torch.zeros(20, 20)
    response[5, 5:8] = 2.0
    response[15, 5] = 1.0
    points, _ = local_maxima(response, (3, 3))
    assert points.tolist() == [[5, 5], [5, 15]]


def test_wanted_number_spreads_and_stays_in_the_mask() -> None:
    image = noise((40, 44, 48), 5)
    mask = torch.zeros(40, 44, 48)
    mask[4:36, 6:38, 6:42] = 1
    points = foerstner_keypoints(image, (1.5, 1.5, 3.0), 40, mask=mask, sigma=2.0)
    assert len(points) == 40
    index = points.long()
    assert bool((mask[index[:, 2], index[:, 1], index[:, 0]] == 1).all())
    mm = torch.tensor([1.5, 1.5, 3.0])
    apart = torch.cdist(points * mm, points * mm).fill_diagonal_(999).amin()
    strongest = foerstner_keypoints(image, (1.5, 1.5, 3.0), 40, mask=mask, sigma=2.0, radius=1.0)
    assert float(apart) > 1.5 * float(torch.cdist(strongest * mm, strongest * mm).fill_diagonal_(999).amin())
    # the region is covered: no place of it is far from all of them
    inside = mask.nonzero().flip(1) * mm
    assert float(torch.cdist(inside, points * mm).amin(dim=1).max()) < 25
    # and a radius leaves no point nearer to a stronger one
    few = foerstner_keypoints(image, (1.5, 1.5, 3.0), 999, mask=mask, sigma=2.0, radius=9.0) * mm
    assert float(torch.cdist(few, few).fill_diagonal_(999).amin()) >= 9 and len(few) > 10


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 700, 3000])
def test_distance_to_stronger_against_a_loop(count: int) -> None:
    points = (40 * torch.rand(count, 3, generator=torch.Generator().manual_seed(2))).round()
    # some at one place, and a crowd behind which a strong one is far away
    points[count // 2 :] *= 0.1
    wanted = [(points[:k] - p).norm(dim=1).min() if k else torch.tensor(torch.inf) for k, p in enumerate(points)]
    torch.testing.assert_close(distance_to_stronger(points), torch.stack(wanted) if wanted else torch.zeros(0))


def test_lengths_are_millimetres() -> None:
    """The same world sampled twice as finely along z gives the same points."""
    centres = np.array([[12.0, 10, 8], [30, 14, 20], [20, 34, 12], [36, 36, 30], [10, 28, 30]])
    coarse = blobs(centres / [1, 1, 2], (20, 44, 48), (1, 1, 2), 2.5)
    fine = blobs(centres, (40, 44, 48), (1, 1, 1), 2.5)
    a = foerstner_keypoints(coarse, (1, 1, 2), 5).double() * torch.tensor([1.0, 1, 2])
    b = foerstner_keypoints(fine, (1, 1, 1), 5).double()
    assert float(torch.cdist(a, b).min(dim=1).values.max()) <= 2.0


def test_turned_axes_turn_the_points() -> None:
    image = noise((20, 24, 28), 6)
    points = foerstner_keypoints(image, (1.0, 1.2, 1.5), 40)
    turned = foerstner_keypoints(image.permute(2, 0, 1).contiguous(), (1.2, 1.5, 1.0), 40)
    assert {tuple(p) for p in points.tolist()} == {(p[2], p[0], p[1]) for p in turned.tolist()}


def test_spacings_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        foerstner_response(torch.zeros(5, 5), (1.0, 1.0, 1.0))
