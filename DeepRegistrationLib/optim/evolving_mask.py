"""A mask that grows from a small ball into a lesion, or shrinks, as the weight of a weighted metamorphosis.

    M_t = B_0 o phi_t^-1 + t (B_1 - B_0 o phi_1^-1),     clamped to 0..1

phi is the LDDMM geodesic from B_0 to B_1; what it does not reach is faded in. Where only the fixed (target) scan has
the lesion B_1 is the lesion and B_0 a small ball in the middle of each of its parts; where only the moving one has it,
B_0 is the lesion and B_1 the balls; where both have it, each is one end.

Francois et al.: Weighted metamorphosis for registration of images with different topologies, WBIR 2022,
doi:10.1007/978-3-031-11203-4_2. Differs from the paper: a ball for every part of the lesion, lesions of the moving
scan, the fade, and how smooth the edges are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..core.grid import Grid
from ..core.image import Image
from ..core.progress import Progress
from ..ops.smoothing import gaussian_smooth
from .metamorphosis import Level, Settings, optimise

#: share of a lesion's volume that its ball has
_BALL = 0.1
#: voxels of the grid on which a mask evolves, at most, by number of axes
_VOXELS = {2: 64**2, 3: 28**3}
#: standard deviation, voxels, of what smooths the edges of masks: sharper ones let the energy of geodesics drift
_SOFT = 1.5
#: parts of a lesion that are smaller than this share of it get no ball of their own
_SMALL_PART = 0.02


@dataclass(frozen=True)
class MaskCourse:
    """M_t at t = 0, 1/steps ... 1, each ([Z,] Y, X) in 0..1 on `grid`; 0 outside it."""

    grid: Grid
    masks: tuple[torch.Tensor, ...]

    def on(self, grid: Grid) -> list[torch.Tensor]:
        """The masks on another grid of the same world."""
        return [Image(m[None], self.grid).resampled(grid, outside=0.0).data[0] for m in self.masks]


def constant_mask(lesions: tuple[torch.Tensor | None, torch.Tensor | None], grid: Grid) -> MaskCourse:
    """One mask for all times: where either scan has the lesion, with soft edges.

    lesions  of the fixed and of the moving scan, shares 0..1 ([Z,] Y, X) on `grid`
    """
    given = [_soft(m) for m in lesions if m is not None]
    return MaskCourse(grid, (torch.stack(given).amax(dim=0),))


def evolving_mask(
    lesions: tuple[torch.Tensor | None, torch.Tensor | None], grid: Grid, steps: int, progress: Progress
) -> MaskCourse:
    """The mask at steps + 1 times; see the module's docstring. Arguments as for `constant_mask`."""
    given = [m for m in lesions if m is not None]
    around = _around(torch.stack(given).amax(dim=0), grid)
    fixed, moving = (None if m is None else _soft(_resampled(m, grid, around)) for m in lesions)
    if fixed is not None and moving is not None:
        start, end = moving, fixed
    elif fixed is not None:
        start, end = balls(fixed, around), fixed
    else:
        assert moving is not None
        start, end = moving, balls(moving, around)
    width = max(0.5 * _radius(float(end.sum() + start.sum()) / 2, around), 1.5 * max(around.spacing))
    settings = Settings((width, width / 2), regularity=1e-5, steps=steps, iterations=40, tolerance=1e-2)
    coarse = around.with_size([max(6, n // 2) for n in around.size])
    levels = [
        Level(g, _resampled(start, around, g), _resampled(end, around, g)) for g in (coarse, around)
    ]
    outcome = optimise(levels, settings, progress)
    flown = outcome.course().deformed
    left = end - flown[-1]
    masks = tuple((m + (k / steps) * left).clamp(0, 1) for k, m in enumerate(flown))
    return MaskCourse(around, masks)


def balls(lesion: torch.Tensor, grid: Grid) -> torch.Tensor:
    """A ball with soft edges in the deepest place of every part of `lesion`, a tenth of its volume, at least about a
    voxel wide; shaped like `lesion` ([Z,] Y, X)."""
    inside = (lesion >= 0.5 * float(lesion.max())).cpu().numpy()
    parts, count = ndimage.label(inside, structure=np.ones((3,) * inside.ndim))
    spacing = grid.spacing[::-1]
    depth = ndimage.distance_transform_edt(inside, sampling=spacing)
    points = grid.index_points(lesion.device) * torch.tensor(grid.spacing, device=lesion.device)
    edge = max(grid.spacing)
    out = torch.zeros_like(lesion)
    for part in range(1, count + 1):
        voxels = int((parts == part).sum())
        if voxels < _SMALL_PART * inside.sum():
            continue
        deepest = np.unravel_index(np.argmax(np.where(parts == part, depth, -1.0)), inside.shape)
        radius = min(float(depth[deepest]), _BALL ** (1 / grid.dimension) * _radius(voxels, grid))
        distance = (points - points[deepest]).norm(dim=-1)
        out = torch.maximum(out, (0.5 - (distance - max(radius, edge)) / edge).clamp(0, 1))
    return _soft(out)


def _radius(voxels: float, grid: Grid) -> float:
    """mm of the ball (disc) of so many voxels."""
    volume = voxels * grid.voxel_volume
    return math.sqrt(volume / math.pi) if grid.dimension == 2 else (0.75 * volume / math.pi) ** (1 / 3)


def _around(lesion: torch.Tensor, grid: Grid) -> Grid:
    """The box of the lesion with half of itself at every side, not finer than `grid` and of a bounded number of
    voxels."""
    found = (lesion > 0.5 * float(lesion.max())).nonzero().flip(-1)
    low, high = found.amin(dim=0).tolist(), found.amax(dim=0).tolist()
    margin = [4 + (b - a + 1) // 2 for a, b in zip(low, high, strict=True)]
    box = grid.cropped(
        [a - m for a, m in zip(low, margin, strict=True)],
        [b - a + 1 + 2 * m for a, b, m in zip(low, high, margin, strict=True)],
    )
    crowd = box.voxels / _VOXELS[grid.dimension]
    return box if crowd <= 1 else box.with_spacing([s * crowd ** (1 / grid.dimension) for s in box.spacing])


def _soft(mask: torch.Tensor) -> torch.Tensor:
    return gaussian_smooth(mask[None], _SOFT)[0].clamp(0, 1)


def _resampled(values: torch.Tensor, grid: Grid, other: Grid) -> torch.Tensor:
    return Image(values[None], grid).resampled(other, outside=0.0).data[0]
