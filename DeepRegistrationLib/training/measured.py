"""What a validation says of a displacement: overlap of segments, error at keypoints, folding; and pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.sampling import sample_batch
from ..ops.warp import warp
from ..transforms.jacobian import determinant
from .batch import Batch


def measured(batch: Batch, displacement: torch.Tensor) -> dict[str, float]:
    """Of one pair (B = 1), by name and unit; what is not known of it is left out.

    displacement  (1, d, [Z,] Y, X) voxels of the batch's grid
    """
    numbers: dict[str, float] = {}
    if batch.fixed_labels is not None and batch.moving_labels is not None:
        numbers["Dice"] = dice(batch.fixed_labels, warp(batch.moving_labels, displacement))
        numbers["Dice before"] = dice(batch.fixed_labels, batch.moving_labels)
    if batch.fixed_points is not None and batch.moving_points is not None and batch.fixed_points.shape[1] > 0:
        at = sample_batch(displacement, batch.fixed_points).movedim(1, -1)
        apart = batch.moving_points - batch.fixed_points
        numbers["TRE (mm)"] = float(((at - apart) * batch.spacing).norm(dim=-1).mean())
        numbers["TRE before (mm)"] = float((apart * batch.spacing).norm(dim=-1).mean())
    numbers["Folding (%)"] = folding(displacement)
    return numbers


def dice(fixed: torch.Tensor, moved: torch.Tensor) -> float:
    """Mean over the segments of the fixed scan's part, of voxels that are theirs by more than half; (1, S, ...)."""
    a, b = (fixed > 0.5).flatten(2), (moved > 0.5).flatten(2)
    there = a.any(dim=2)
    overlap = 2 * (a & b).sum(dim=2) / (a.sum(dim=2) + b.sum(dim=2)).clamp(min=1)
    return float(overlap[there].mean()) if bool(there.any()) else 1.0


def folding(displacement: torch.Tensor) -> float:
    """Percentage of the voxels besides those at the border where the map folds, of (1, d, [Z,] Y, X) voxels."""
    grid = Grid(displacement.shape[:1:-1])
    inside = (slice(1, -1),) * grid.dimension
    return 100 * float((determinant(displacement[0].cpu(), grid)[inside] <= 0).float().mean())


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number over the rows that have it; the names in the order in which they first come."""
    names = dict.fromkeys(name for row in rows for name in row)
    several = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in several.items()}


def pictures(batch: Batch, displacement: torch.Tensor) -> dict[str, Image]:
    """Of the first pair, names as a user reads them, on one grid."""
    grid = Grid(batch.fixed.shape[:1:-1], batch.spacing.tolist())
    shown = {"Fixed": batch.fixed, "Moving": batch.moving, "Moved": warp(batch.moving, displacement)}
    return {name: Image(values[0].cpu(), grid) for name, values in shown.items()}
