"""What the transform does to space: folding, local volume change, length of the displacements.

Numbers are taken over the voxels that have both neighbours along every axis (differences at the border of the
grid are one-sided and say little), and inside a mask where one is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.image import Image
from ..core.transform import Transform
from ..transforms.jacobian import determinant
from .maps import MapSummary, summarise
from .overlap import label_array

#: voxels differentiated at once, in double precision
_BLOCK = 1_000_000
#: of a segment's determinants: what a box plot draws
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class JacobianStatistics:
    """Of det dT/dx over some voxels; a det of 1.2 means 20 % larger in the moving image.

    folding_percent  share of voxels with det <= 0
    sd_log           standard deviation of log det over det > 0; None where there is none
    percentiles      the PERCENTILES of det; empty where they were not asked for
    """

    voxels: int
    folding_percent: float
    sd_log: float | None
    minimum: float
    maximum: float
    mean: float
    percentiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class DeformationStatistics:
    """jacobian, and |T(x) - x| in mm over the same voxels."""

    jacobian: JacobianStatistics
    displacement_mean: float
    displacement_p95: float
    displacement_max: float


def jacobian_of(
    transform: Transform, grid: Grid, displacement: torch.Tensor | None = None
) -> NDArray[np.float32]:
    """([Z,] Y, X) det dT/dx on `grid`; `displacement` (d, [Z,] Y, X) of T there, where known already."""
    if transform.is_linear:
        return transform.jacobian_determinant(grid).cpu().numpy()
    u = transform.displacement(grid).cpu() if displacement is None else displacement
    out = np.empty(grid.shape, dtype=np.float32)
    slices = grid.shape[0]
    step = max(1, _BLOCK * slices // grid.voxels)
    for start in range(0, slices, step):
        stop = min(slices, start + step)
        low, high = max(0, start - 1), min(slices, stop + 1)  # neighbours on both sides
        block = grid.cropped([0] * (grid.dimension - 1) + [low], (*grid.size[:-1], high - low))
        det = determinant(u[:, low:high].to(torch.float64), block)
        out[start:stop] = det[start - low : stop - low].numpy()
    return out


def measured_region(grid: Grid, mask: Image | None) -> NDArray[np.bool_]:
    """Voxels that count: inside the mask (on any grid) and off the border.

    Raises InputError where none is left.
    """
    region = np.zeros(grid.shape, dtype=bool)
    region[tuple(slice(1, -1) if n > 2 else slice(None) for n in grid.shape)] = True
    if mask is not None:
        region &= label_array(mask.resampled(grid)) != 0
    if not region.any():
        raise InputError(
            "The fixed mask covers no voxel inside the fixed image, so nothing can be measured; give another."
        )
    return region


def jacobian_statistics(determinants: NDArray[np.float32], percentiles: bool = False) -> JacobianStatistics:
    """Statistics of any number (at least one) of determinants; the PERCENTILES take a while."""
    values = determinants.ravel()
    positive = values[values > 0]
    return JacobianStatistics(
        voxels=int(values.size),
        folding_percent=100.0 * float(values.size - positive.size) / values.size,
        sd_log=_spread(np.log(positive)) if positive.size else None,
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean(dtype=np.float64)),
        percentiles=tuple(float(v) for v in np.percentile(values, PERCENTILES)) if percentiles else (),
    )


def _spread(values: NDArray[np.float32]) -> float:
    """Standard deviation in double precision, piece by piece."""
    mean, total = values.mean(dtype=np.float64), 0.0
    for start in range(0, values.size, _BLOCK):
        away = values[start : start + _BLOCK] - mean
        total += float(away @ away)
    return math.sqrt(total / values.size)


def deformation_statistics(
    jacobian: NDArray[np.float32], displacement: torch.Tensor, region: NDArray[np.bool_]
) -> DeformationStatistics:
    """Of a Jacobian ([Z,] Y, X) and displacement (d, [Z,] Y, X) mm over the voxels of `region`."""
    length = summarise(displacement.norm(dim=0).numpy()[region])
    assert length is not None  # a region holds a voxel, and no transform gives NaN
    return statistics_of(jacobian, length, region)


def statistics_of(
    jacobian: NDArray[np.float32], length: MapSummary, region: NDArray[np.bool_]
) -> DeformationStatistics:
    """The same, of the Jacobian and a summary of |T(x) - x| over the region."""
    return DeformationStatistics(
        jacobian=jacobian_statistics(jacobian[region]),
        displacement_mean=length.mean,
        displacement_p95=length.p95,
        displacement_max=length.maximum,
    )


def jacobian_by_label(
    jacobian: NDArray[np.float32], segmentation: Image, labels: Iterable[int]
) -> dict[int, JacobianStatistics | None]:
    """label (not 0) -> statistics over its voxels off the border; `segmentation` on the grid of the Jacobian.

    None where the label has no such voxel.
    """
    values, out = jacobian.ravel(), {}
    for v, voxels in voxels_by_label(segmentation, labels).items():
        out[v] = jacobian_statistics(values[voxels], percentiles=True) if voxels.size else None
    return out


def voxels_by_label(segmentation: Image, labels: Iterable[int]) -> dict[int, NDArray[np.int64]]:
    """label (not 0) -> numbers, in `ravel` order, of its voxels off the border of the grid."""
    values = label_array(segmentation)
    inner = np.flatnonzero(measured_region(segmentation.grid, None) & (values != 0))
    found = values.ravel()[inner]
    order = np.argsort(found, kind="stable")
    inner, found = inner[order], found[order]
    ends = {v: np.searchsorted(found, [v, v + 1]) for v in labels}
    return {v: inner[low:high] for v, (low, high) in ends.items()}
