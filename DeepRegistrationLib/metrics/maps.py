"""Maps on the fixed grid, and a few numbers that stand for a whole map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.grid import Grid
from ..core.image import Image
from ..core.sampling import BLOCK
from .map_kinds import map_kind

#: lowest logarithm shown for folding, where nothing in the map is lower
_LOWEST_LOG = (map_kind("log-jacobian").range or (-1.0, 1.0))[0]


@dataclass(frozen=True)
class MapSummary:
    """Of the values of a map over some voxels, in the unit of the map."""

    mean: float
    p50: float
    p95: float
    p99: float
    minimum: float
    maximum: float


def summarise(values: NDArray[np.float32]) -> MapSummary | None:
    """Mean, percentiles and extremes of any number of values, those that are not finite left out; None where
    none is left."""
    low, high = (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)
    if not np.isfinite(low + high):
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        low, high = float(values.min()), float(values.max())
    p50, p95, p99 = (float(v) for v in np.percentile(values, [50, 95, 99]))
    return MapSummary(float(values.mean(dtype=np.float64)), p50, p95, p99, low, high)


def displacement_length(displacement: torch.Tensor, grid: Grid) -> NDArray[np.float32]:
    """([Z,] Y, X) |T(x) - x| mm of a displacement (d, [Z,] Y, X) mm on `grid`."""
    out = np.empty(grid.shape, dtype=np.float32)
    for part, _ in grid.blocks(BLOCK):
        out[part] = displacement[:, part].square().sum(dim=0).sqrt().numpy()
    return out


def log_jacobian(jacobian: NDArray[np.float32]) -> NDArray[np.float32]:
    """log det, never NaN: where det <= 0 (folding) the lowest logarithm of the map, and at most -1."""
    folded = ~(jacobian > 0)
    out = np.zeros_like(jacobian)
    np.log(jacobian, out=out, where=~folded)
    if folded.any():
        out[folded] = min(_LOWEST_LOG, float(out.min()))
    return out


def as_map(image: Image, grid: Grid) -> NDArray[np.float32]:
    """([Z,] Y, X) a method's own map on the fixed grid; of several channels the Euclidean length."""
    values = image.resampled(grid).data.to(torch.float32)
    flat = values[0] if image.channels == 1 else values.norm(dim=0)
    return np.asarray(flat.cpu().numpy())
