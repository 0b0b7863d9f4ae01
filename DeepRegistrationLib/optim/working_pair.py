"""The two scans as the deformable engine sees them: on one isotropic grid, the moving one already pre-aligned."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.progress import Tick, no_tick
from ..core.transform import Transform
from ..ops.pyramid import block_average

#: more working voxels than this are not asked for by the automatic choice of the spacing
_AUTOMATIC_LIMIT = 12_000_000


@dataclass(frozen=True)
class WorkingPair:
    """fixed, moving ([Z,] Y, X) float32 on `grid`; moving(x) is the pre-aligned moving scan.

    trust  weight of each fixed voxel 0..1 (the fixed mask), or None for everywhere
    known  1 where the pre-aligned moving scan (and its mask) has something, else 0
    """

    grid: Grid
    fixed: torch.Tensor
    moving: torch.Tensor
    trust: torch.Tensor | None
    known: torch.Tensor


def working_grid(fixed: Grid, spacing: float | None) -> Grid:
    """The fixed field of view at an isotropic `spacing` mm.

    Not given, the spacing is the geometric mean of the fixed grid's, made coarser where that would be very many
    voxels. The fixed grid itself where it is as good as that.
    """
    if spacing is None:
        d = fixed.dimension
        spacing = fixed.voxel_volume ** (1 / d)
        crowd = fixed.voxels / _AUTOMATIC_LIMIT
        if crowd > 1:
            spacing *= crowd ** (1 / d)
    if all(abs(s / spacing - 1) < 0.05 for s in fixed.spacing):
        return fixed
    return fixed.with_spacing(spacing)


def prepare(
    problem: RegistrationProblem,
    grid: Grid,
    initial: Transform | None,
    window: tuple[float, float] | None,
    tick: Tick = no_tick,
) -> WorkingPair:
    """Resample everything onto `grid`; intensities are clamped to `window` where there is one."""
    fixed = first_channel(blurred_for(problem.fixed, grid)).resampled(grid).data[0].to(torch.float32)
    tick()
    moving_image = first_channel(blurred_for(problem.moving, grid))
    moving = moving_image.resampled(grid, initial).data[0].to(torch.float32)
    tick()
    known = _seen(problem.moving, grid, initial)
    if problem.moving_mask is not None:
        tick()
        known = known * (problem.moving_mask.resampled(grid, initial, outside=0.0).data[0] > 0)
    trust = None
    if problem.fixed_mask is not None:
        tick()
        trust = (problem.fixed_mask.resampled(grid, outside=0.0).data[0] > 0).to(torch.float32)
    if window is not None:
        fixed, moving = fixed.clamp(*window), moving.clamp(*window)
    return WorkingPair(grid, fixed, moving, trust, known)


def pooled(values: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean over blocks of factor^d cells, (C, [Z,] Y, X); an axis shorter than a block becomes one cell."""
    if factor == 1:
        return values
    return block_average(values, (factor,) * (values.dim() - 1))


def one_hot(labels: Image, grid: Grid, transform: Transform | None, values: list[int], factor: int) -> torch.Tensor:
    """(len(values), pooled [Z,] Y, X) share of each label in each block of `grid`; 0 outside the label map."""
    on_grid = labels.resampled(grid, transform, outside=0.0).data[:1]
    return torch.cat([pooled((on_grid == v).to(torch.float32), factor) for v in values])


def first_channel(image: Image) -> Image:
    """Colour becomes its mean: the features look at one intensity."""
    if image.channels == 1:
        return image
    return image.with_data(image.data.to(torch.float32).mean(dim=0, keepdim=True))


def blurred_for(image: Image, grid: Grid) -> Image:
    """Averaged down along axes that are much finer than `grid`, so that sampling does not alias."""
    target = min(grid.spacing)
    factors = [max(1, min(int(target / s + 0.3), n)) for s, n in zip(image.grid.spacing, image.grid.size, strict=True)]
    if max(factors) == 1:
        return image
    data = block_average(image.data, factors)
    return Image(data, image.grid.downsampled(factors), image.kind, image.names, image.unit)


def _seen(image: Image, grid: Grid, transform: Transform | None) -> torch.Tensor:
    ones = image.with_data(torch.ones_like(image.data[:1], dtype=torch.float32))
    return ones.resampled(grid, transform, outside=0.0).data[0]
