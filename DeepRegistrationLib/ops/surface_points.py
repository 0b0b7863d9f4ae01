"""Points on the surfaces of segments, evenly spread, in LPS mm.

A label map says of every voxel whether it lies inside. The surface is taken where the smoothed share of inside crosses
1/2 on the lines between neighbouring voxel centres of which one lies inside and one outside: each such line gives one
point, so nothing thin is lost and no point is farther than a voxel from the drawn border. A crossing of a line along
axis k stands for

    area = (face of the voxel across axis k) |n_k|,   n: unit normal,   sum over all crossings = area of the surface

because the lines along axis k meet a patch dA |n_k| dA / face times, and n_x^2 + n_y^2 + n_z^2 = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..core.errors import InputError
from ..core.grid import Grid
from .pyramid import block_average

Floats = NDArray[np.float64]

#: voxels of a segment's box that are smoothed; larger boxes are averaged over blocks first
_BOX_LIMIT = 3_000_000
#: voxels of a box that is searched at twice its resolution, so that there are points enough to choose from
_SMALL = 250_000
#: voxels, width of the smoothing that takes the steps out of a label map
_SMOOTHING = 0.8
#: how near to 1/2 the smoothed share may come on its own side: keeps the crossing between its two voxels
_MARGIN = 0.02
#: candidates a wanted point that even spreading looks at
_CANDIDATES = 12
_ROUNDS = 4
#: points of a surface that its contact with another one is judged by
_JUDGED = 1500


@dataclass(frozen=True)
class Surface:
    """A surface as many points, or in 2-D a contour.

    points   (K, d) LPS mm
    normals  (K, d) unit vectors out of the segment
    areas    (K,) mm^2 (in 2-D mm of length) that each point stands for
    """

    points: Floats
    normals: Floats
    areas: Floats

    def __len__(self) -> int:
        return len(self.points)

    def chosen(self, index: Any) -> Surface:
        return Surface(self.points[index], self.normals[index], self.areas[index])


def label_surface(inside: torch.Tensor, grid: Grid, view: Grid | None = None) -> Surface:
    """The surface of a segment, between voxels.

    inside  ([Z,] Y, X) bool on `grid`
    view    field of view: where it cuts through the segment there is no surface. Beyond `grid`, but within `view`,
            counts as outside the segment. `grid` where not given.

    A segment that fills the field of view has a surface of 0 points.
    """
    view = view or grid
    box, corner = _box(inside, 3)
    if box is None:
        return _empty(grid.dimension)
    size = [n for n in box.shape[::-1]]
    local = grid.cropped(corner, size)
    factor = max(1, math.floor((local.voxels / _BOX_LIMIT) ** (1 / grid.dimension)))
    share = box.to(torch.float32)
    if factor > 1:
        padding = [k for n in size for k in (0, -n % factor)]
        share = torch.nn.functional.pad(share, padding)
        local = local.cropped([0] * grid.dimension, list(share.shape[::-1])).downsampled(factor)
        share = block_average(share[None], [factor] * grid.dimension)[0]
    surface = _crossings(share.cpu().numpy(), local)
    index = view.index_from_world(surface.points)
    return surface.chosen(((index >= 0) & (index <= np.array(view.size) - 1)).all(axis=1))


def _empty(dimension: int) -> Surface:
    return Surface(np.zeros((0, dimension)), np.zeros((0, dimension)), np.zeros(0))


def _box(inside: torch.Tensor, margin: int) -> tuple[torch.Tensor | None, list[int]]:
    """The part that holds the segment with `margin` voxels of outside around, and the index x, y[, z] of its first
    voxel, which may lie outside."""
    low, high = [], []
    for axis in range(inside.dim()):
        line = inside.any(dim=tuple(a for a in range(inside.dim()) if a != axis)).nonzero()
        if len(line) == 0:
            return None, []
        low.append(int(line[0]))
        high.append(int(line[-1]) + 1)
    part = inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    padded = torch.nn.functional.pad(part.to(torch.uint8), [margin] * (2 * inside.dim()))
    return padded, [a - margin for a in low[::-1]]


def _crossings(share: NDArray[np.float32], grid: Grid) -> Surface:
    """share ([Z,] Y, X) 0..1 of each voxel that lies inside, 0 at the border."""
    d = grid.dimension
    inside = share >= 0.5
    once = ndimage.gaussian_filter(share, _SMOOTHING, truncate=3.0, mode="constant")
    # smoothed once alone, a ball of radius R shrinks by sigma^2 / R; this kernel has no second moment, and keeps it
    smooth = 2 * once - ndimage.gaussian_filter(once, _SMOOTHING, truncate=3.0, mode="constant")
    level = np.where(inside, np.maximum(smooth, 0.5 + _MARGIN), np.minimum(smooth, 0.5 - _MARGIN))
    if level.size <= _SMALL:
        level, once = _halved(level), _halved(once)
        inside = level >= 0.5
        grid = Grid(level.shape[::-1], [s / 2 for s in grid.spacing], grid.origin, grid.direction)
    gradient = [np.gradient(once, axis=d - 1 - k) / grid.spacing[k] for k in range(d)]
    index, normals, areas = [], [], []
    for k in range(d):
        axis = d - 1 - k
        first = np.argwhere(np.diff(inside, axis=axis))
        second = first.copy()
        second[:, axis] += 1
        a, b = level[tuple(first.T)], level[tuple(second.T)]
        t = ((a - 0.5) / (a - b)).astype(np.float64)
        at = first[:, ::-1].astype(np.float64)
        at[:, k] += t
        n = np.stack([-((1 - t) * g[tuple(first.T)] + t * g[tuple(second.T)]) for g in gradient], axis=1)
        # where smoothing left no slope, the voxel's own face is the best guess
        flat = np.linalg.norm(n, axis=1) < 1e-9
        n[flat, k] = np.where(inside[tuple(first.T)][flat], 1.0, -1.0)
        n /= np.linalg.norm(n, axis=1, keepdims=True)
        index.append(at)
        normals.append(n)
        areas.append(np.abs(n[:, k]) * grid.voxel_volume / grid.spacing[k])
    direction = np.asarray(grid.direction)
    return Surface(
        grid.world_from_index(np.concatenate(index)), np.concatenate(normals) @ direction.T, np.concatenate(areas)
    )


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linearly interpolated half way between the voxel centres too."""
    for axis in range(values.ndim):
        v = np.moveaxis(values, axis, 0)
        out = np.empty((2 * len(v) - 1, *v.shape[1:]), dtype=v.dtype)
        out[::2], out[1::2] = v, 0.5 * (v[:-1] + v[1:])
        values = np.moveaxis(out, 0, axis)
    return values


def mesh_surface(points: Floats, triangles: NDArray[np.int64] | None, seed: int = 0, count: int = 20_000) -> Surface:
    """Points spread over a triangle mesh by area (`count` of them), or the points themselves where there are none.

    points     (N, d) LPS mm
    triangles  (M, 3) vertex numbers, turning the same way all over; which way is found out. Only in 3-D.

    Without triangles the normals point away from the middle of the points, and all points stand for the same area.
    Raises InputError where a triangle names a point that is not there.
    """
    if triangles is None or len(triangles) == 0 or points.shape[1] != 3:
        out = points - points.mean(axis=0)
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return Surface(np.asarray(points, dtype=np.float64), out, np.ones(len(points)))
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise InputError(
            f"A triangle of a surface names vertex {int(triangles.max())}, but there are {len(points)} vertices "
            "(counted from 0); export the surface again."
        )
    a, b, c = (points[triangles[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    area = 0.5 * np.linalg.norm(across, axis=1)
    middle = points.mean(axis=0)
    if np.einsum("nk,nk->", (a + b + c) / 3 - middle, across) < 0:
        across = -across
    rng = np.random.default_rng(seed)
    total = np.cumsum(area)
    # stratified along the running total, so that no two samples fall on one spot by chance
    at = (np.arange(count) + rng.uniform(size=count)) / count * total[-1]
    chosen = np.minimum(np.searchsorted(total, at, side="right"), len(area) - 1)
    r, s = np.sqrt(rng.uniform(size=count))[:, None], rng.uniform(size=count)[:, None]
    where = (1 - r) * a[chosen] + r * (1 - s) * b[chosen] + r * s * c[chosen]
    normals = across[chosen] / np.maximum(np.linalg.norm(across[chosen], axis=1, keepdims=True), 1e-300)
    return Surface(where, normals, np.full(count, total[-1] / count))


def spread_points(surface: Surface, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Numbers of `count` points of the surface that each stand for about the same area; all where there are fewer.

    Farthest-point sampling, then a few rounds in which every point goes to the candidate nearest to the middle of its
    cell (Lloyd's algorithm, weighted by area).
    """
    if len(surface) <= count:
        return np.arange(len(surface))
    pool = np.arange(len(surface))
    if len(pool) > _CANDIDATES * count:
        rng = np.random.default_rng(seed)
        share = surface.areas / surface.areas.sum()
        pool = np.sort(rng.choice(pool, _CANDIDATES * count, replace=False, p=share))
        areas = np.ones(len(pool))  # the choice has already gone by area
    else:
        areas = surface.areas
    points = surface.points[pool]
    chosen = _farthest(points, count)
    for _ in range(_ROUNDS):
        cell = cKDTree(points[chosen]).query(points)[1]
        cell[chosen] = np.arange(count)  # of two candidates on one spot
        weight = np.bincount(cell, areas, count)
        middle = np.stack([np.bincount(cell, areas * p, count) / weight for p in points.T], axis=1)
        order = np.lexsort((((points - middle[cell]) ** 2).sum(axis=1), cell))
        chosen = order[np.searchsorted(cell[order], np.arange(count))]
    return pool[chosen]


def _farthest(points: Floats, count: int) -> NDArray[np.intp]:
    """Each next point is the one farthest from all before; the first is the one farthest from the middle."""
    chosen = np.empty(count, dtype=np.intp)
    coordinates = np.ascontiguousarray(points.T)
    nearest = np.full(len(points), np.inf)
    last = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax())
    for k in range(count):
        chosen[k] = last
        squared = sum((c - c[last]) ** 2 for c in coordinates)
        np.minimum(nearest, squared, out=nearest)
        nearest[last] = -1.0
        last = int(nearest.argmax())
    return chosen


def signed_distance(surface: Surface, points: Floats, limit: float = math.inf) -> Floats:
    """mm from each point (P, d) to the surface, negative inside; `limit` where it is farther out.

    The side is told by the normals of the three nearest points of the surface together.
    """
    tree = cKDTree(surface.points)
    distance, nearest = tree.query(points, k=[*range(1, min(3, len(surface)) + 1)])
    toward = points[:, None, :] - surface.points[nearest]
    side = np.einsum("pkd,pkd->p", toward, surface.normals[nearest])
    found: Floats = np.where(side < 0, -distance[:, 0], np.minimum(distance[:, 0], limit))
    return found


def mean_distance(first: Floats, second: Floats, count: int = 10_000) -> float:
    """Mean of the distances from about `count` points of each set to the nearest one of all of the other, both ways,
    mm."""
    there, back = (a[:: max(1, len(a) // count)] for a in (first, second))
    return float(0.5 * (cKDTree(second).query(there)[0].mean() + cKDTree(first).query(back)[0].mean()))


def contact_share(first: Surface, second: Surface, reach: float) -> float:
    """Share of the surface, of whichever of the two it is more, that lies within `reach` mm of the other segment or
    inside it."""

    def share(a: Surface, b: Surface) -> float:
        judged = a.chosen(np.arange(0, len(a), max(1, len(a) // _JUDGED)))
        touching = signed_distance(b, judged.points, 2 * reach) <= reach
        return float(judged.areas[touching].sum() / judged.areas.sum())

    return max(share(first, second), share(second, first))
