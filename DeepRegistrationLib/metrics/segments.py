"""Scores of every segment by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.image import Image
from ..core.result import RegistrationResult
from .deformation import JacobianStatistics, jacobian_statistics, voxels_by_label
from .overlap import label_array, label_counts, overlap_by_label
from .surface import SurfaceDistances, surface_distances_by_label


@dataclass(frozen=True)
class SegmentScores:
    """One label. `before` compares the moving segment where it lay at first, `after` where T brings it.

    dice_*, surface_*  None where only one of the segmentations holds the label, or it left the fixed image
    volume_*           ml (mm^2 in 2-D); None where the label is not in that segmentation. moved: inside the
                       fixed image only
    jacobian           over the fixed segment: its mean is the volume in moving / in fixed space
    uncertainty_mean   mm over the fixed segment, where the result has an uncertainty map
    """

    label: int
    dice_before: float | None
    dice_after: float | None
    surface_before: SurfaceDistances | None
    surface_after: SurfaceDistances | None
    volume_fixed: float | None
    volume_moving: float | None
    volume_moved: float | None
    jacobian: JacobianStatistics | None
    uncertainty_mean: float | None = None


def segment_scores(
    result: RegistrationResult,
    jacobian: NDArray[np.float32],
    moved_segmentation: Image | None = None,
    uncertainty: NDArray[np.float32] | None = None,
) -> dict[str, SegmentScores]:
    """name -> scores of every label in either segmentation of the problem; empty where neither was given.

    jacobian     ([Z,] Y, X) of the transform on the fixed grid
    uncertainty  ([Z,] Y, X) mm on the fixed grid, where there is one
    """
    problem, grid = result.problem, result.grid
    fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
    if fixed is None and moving is None:
        return {}
    unit = 1e-3 if grid.dimension == 3 else 1.0
    volume_fixed = _volumes(fixed, unit)
    volume_moving = _volumes(moving, unit)
    labels = sorted(volume_fixed.keys() | volume_moving.keys())
    names = segment_names(labels, fixed, moving)
    on_grid = None if fixed is None else fixed.resampled(grid)
    by_label = {} if on_grid is None else _within(on_grid, labels, jacobian, uncertainty)
    moved = None
    if moving is not None:
        moved = moved_segmentation or result.moved_segmentation()
    volume_moved = _volumes(moved, unit)
    shared = sorted(volume_fixed.keys() & volume_moving.keys())
    before = _compared(on_grid, None if moving is None else moving.resampled(grid), shared)
    after = _compared(on_grid, moved, shared)
    return {
        names[v]: SegmentScores(
            v, *_pair(before, after, v),
            volume_fixed.get(v), volume_moving.get(v),
            volume_moved.get(v, 0.0) if v in volume_moving else None,
            *by_label.get(v, (None, None)),
        )
        for v in labels
    }  # fmt: skip


def segment_names(labels: list[int], *segmentations: Image | None) -> dict[int, str]:
    """label -> name: the first segmentation naming it decides; a name used twice gets its label behind it."""
    found: dict[int, str] = {}
    for v in labels:
        given = [s.names[v] for s in segmentations if s is not None and v in s.names]
        found[v] = given[0] if given else f"label {v}"
    several = {n for n in found.values() if list(found.values()).count(n) > 1}
    return {v: f"{n} ({v})" if n in several else n for v, n in found.items()}


Compared = dict[int, tuple[float | None, SurfaceDistances | None]]


def _compared(fixed: Image | None, other: Image | None, labels: list[int]) -> Compared:
    if fixed is None or other is None:
        return {}
    overlap = overlap_by_label(fixed, other, labels)
    surfaces = surface_distances_by_label(fixed, other, labels)
    return {v: (overlap[v].dice, surfaces[v]) for v in labels}


def _pair(
    before: Compared, after: Compared, label: int
) -> tuple[float | None, float | None, SurfaceDistances | None, SurfaceDistances | None]:
    dice_before, surface_before = before.get(label, (None, None))
    dice_after, surface_after = after.get(label, (None, None))
    return dice_before, dice_after, surface_before, surface_after


def _volumes(segmentation: Image | None, unit: float) -> Mapping[int, float]:
    if segmentation is None:
        return {}
    unit *= segmentation.grid.voxel_volume
    return {v: n * unit for v, n in label_counts(label_array(segmentation)).items() if v != 0}


def _within(
    segmentation: Image,
    labels: list[int],
    jacobian: NDArray[np.float32],
    uncertainty: NDArray[np.float32] | None,
) -> dict[int, tuple[JacobianStatistics | None, float | None]]:
    """label -> what the maps hold inside it, off the border of the grid."""
    out: dict[int, tuple[JacobianStatistics | None, float | None]] = {}
    for v, voxels in voxels_by_label(segmentation, labels).items():
        if voxels.size:
            mean = None if uncertainty is None else _mean(uncertainty.ravel()[voxels])
            out[v] = jacobian_statistics(jacobian.ravel()[voxels], percentiles=True), mean
    return out


def _mean(values: NDArray[np.float32]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None
