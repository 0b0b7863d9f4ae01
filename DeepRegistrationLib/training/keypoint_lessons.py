"""Pairs (B = 1) with keypoints of the fixed scan and where they are in the moving one: matched, known, or neither; and
the same pairs seen otherwise: their segments alone, shaken, mirrored."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..core.sampling import sample_batch, sample_index
from ..ops.foerstner import foerstner_keypoints
from ..ops.warp import index_grid
from ..optim.correspondences import CorrespondenceSettings, find_correspondences, search_levels
from .batch import Batch
from .recipes.voxelmorph_plus_plus import Settings

#: voxels, window of the keypoints' operator
SIGMA = 1.0
#: fewer keypoints than this are no lesson
FEW = 8
#: of the discrete search; voxels a keypoint may miss itself by, there and back
_STIFFNESS, _DILATION, _TOLERANCE = 1.0, 2, 0.5


def match(pair: Batch, settings: Settings) -> Batch:
    """The pair (B = 1) with keypoints of the fixed scan and where a discrete search found them, instead of its own."""
    fixed, moving = pair.fixed[0, 0], pair.moving[0, 0]
    how = CorrespondenceSettings(
        levels=search_levels(1.0, settings.reach * settings.size / 2), smoothness=_STIFFNESS, tolerance=_TOLERANCE,
        mind_dilation=_DILATION,
    )  # fmt: skip
    found = find_correspondences(fixed, moving, _distinct(pair, settings), 1.0, how)
    return replace(pair, fixed_points=found.fixed[None], moving_points=found.moving[None])


def truth(pair: Batch, settings: Settings) -> Batch:
    """The pair (B = 1) with keypoints of the fixed scan and where its known displacement takes them."""
    assert pair.displacement is not None
    points = _distinct(pair, settings)[None]
    return replace(pair, fixed_points=points, moving_points=points + sample_batch(pair.displacement, points).mT)


def unmatched(pair: Batch, settings: Settings) -> Batch:
    """The pair (B = 1) with keypoints of the fixed scan, the same ones in the moving scan."""
    points = _distinct(pair, settings)[None]
    return replace(pair, fixed_points=points, moving_points=points)


def segments_only(pair: Batch) -> Batch:
    """The pair (B = 1) whose segments, if it has any, are its region, and without points outside of them."""
    if pair.fixed_labels is None:
        return pair
    there = union(pair.fixed_labels)
    region = there if pair.region is None else pair.region * there
    fixed_points, moving_points = pair.fixed_points, pair.moving_points
    if fixed_points is not None and moving_points is not None:
        inside = sample_batch(there, fixed_points)[0, 0] > 0.5
        fixed_points, moving_points = fixed_points[:, inside], moving_points[:, inside]
    return replace(pair, region=region, fixed_points=fixed_points, moving_points=moving_points)


def union(labels: torch.Tensor) -> torch.Tensor:
    """(B, S, ...) -> (B, 1, ...): 1 in any of the segments."""
    return labels.amax(dim=1, keepdim=True)


def _distinct(pair: Batch, settings: Settings) -> torch.Tensor:
    """Keypoints (K, d) of the fixed scan."""
    fixed, region = pair.fixed[0, 0], None if pair.region is None else pair.region[0, 0]
    return foerstner_keypoints(fixed, (1.0,) * fixed.dim(), settings.keypoints, mask=region, sigma=SIGMA)


def shaken(pair: Batch, strength: float, generator: torch.Generator) -> Batch:
    """One scan of the pair (B = 1), either is as likely, its segments and the points in it under a random affine map.

    strength  standard deviation of each entry of the map, and of its shift, where -1 and 1 are the scan's ends
    """
    fixed_points, moving_points = pair.fixed_points, pair.moving_points
    assert fixed_points is not None and moving_points is not None
    d = fixed_points.shape[2]
    size = torch.tensor(pair.fixed.shape[:1:-1], dtype=torch.float32)
    half, centre = size / 2, (size - 1) / 2
    change = strength * torch.randn(d, d + 1, generator=generator)
    which = bool(torch.rand((), generator=generator) < 0.5)
    if strength == 0:
        return pair
    matrix = torch.eye(d) + half[:, None] * change[:, :d] / half
    shift = half * change[:, d]
    side = "fixed" if which else "moving"
    scan, labels = getattr(pair, side), getattr(pair, f"{side}_labels")
    # scan'(y) = scan(c + M (y - c) + t), so that its points lie at the inverse of that
    there = (index_grid(scan.shape[2:], scan) - centre) @ matrix.T + centre + shift
    points = ((fixed_points if which else moving_points) - centre - shift) @ torch.linalg.inv(matrix).T + centre
    changed = {
        side: sample_index(scan[0], there, outside=None)[None],
        f"{side}_points": points,
        f"{side}_labels": None if labels is None else sample_index(labels[0], there, outside=None)[None],
    }
    return _within(replace(pair, **changed))


def _within(pair: Batch) -> Batch:
    """Without the points that lie outside of a scan, where enough are left."""
    assert pair.fixed_points is not None and pair.moving_points is not None
    last = torch.tensor(pair.fixed.shape[:1:-1]) - 1
    inside = torch.ones(pair.fixed_points.shape[1], dtype=torch.bool)
    for points in (pair.fixed_points[0], pair.moving_points[0]):
        inside &= ((points >= 0) & (points <= last)).all(dim=1)
    if inside.sum() < FEW:
        return pair
    return replace(pair, fixed_points=pair.fixed_points[:, inside], moving_points=pair.moving_points[:, inside])


def mirrored(pair: Batch) -> Batch:
    """Scans, segments and points of the pair with the x axis reversed."""
    assert pair.fixed_points is not None and pair.moving_points is not None
    last = pair.fixed.shape[-1] - 1

    def turned(points: torch.Tensor) -> torch.Tensor:
        return torch.cat([last - points[..., :1], points[..., 1:]], dim=-1)

    def flipped(labels: torch.Tensor | None) -> torch.Tensor | None:
        return None if labels is None else labels.flip(-1)

    return Batch(
        pair.fixed.flip(-1), pair.moving.flip(-1), pair.spacing,
        flipped(pair.fixed_labels), flipped(pair.moving_labels),
        fixed_points=turned(pair.fixed_points), moving_points=turned(pair.moving_points),
    )  # fmt: skip
