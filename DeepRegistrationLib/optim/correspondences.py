"""Corresponding points of two scans: a discrete search at keypoints, regularised on a graph, checked both ways.

    u = argmin  sum_n D_n(u_n) + lambda sum_(m, n) |u_m - u_n|^2 / |x_m - x_n|^2,      moving(x_n + u_n) like fixed(x_n)

D compares patches of MIND-SSC features. From coarse to fine: every level looks at a window of displacements around
what the coarser one found, propagates beliefs along trees of the keypoints' graph (correspondence_graph.py), and takes
the displacement of least cost, between the samples by a parabola. The search is made again from where the keypoints
went, and those that do not come back to within a tolerance are dropped.

Heinrich, Handels, Simpson: Estimating large lung motion in COPD patients by symmetric regularised correspondence
fields, MICCAI 2015, doi:10.1007/978-3-319-24571-3_41. Differs from the paper: several trees whose min-marginals are
averaged; windows go along with each keypoint instead of the moving scan being warped between levels; symmetry is asked
of the result, not made in every level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ..core.progress import Progress
from ..ops.graph_laplacian import nearest_neighbours
from ..ops.mind import mind_ssc
from .correspondence_costs import patch_costs, window_steps
from .correspondence_graph import min_marginals, neighbour_edges, spanning_forests
from .working_pair import pooled


@dataclass(frozen=True)
class SearchLevel:
    """Displacements of up to half_width cells to every side; a cell is a block of `factor` voxels, over which features
    are averaged, and a patch has (2 patch + 1)^d cells."""

    half_width: int
    factor: int
    patch: int = 1


@dataclass(frozen=True)
class CorrespondenceSettings:
    """levels      from coarse to fine
    smoothness     lambda: what a squared strain costs beside the mean squared distance of MIND vectors
    neighbours     of each keypoint in the graph
    trees          over which the min-marginals are averaged
    tolerance      mm that a keypoint may miss itself by, there and back; None: every one is kept
    mind_radius, mind_dilation  voxels, see ops/mind.py
    """

    levels: Sequence[SearchLevel] = (SearchLevel(4, 4, 1), SearchLevel(3, 2, 1), SearchLevel(3, 1, 2))
    smoothness: float = 5.0
    neighbours: int = 10
    trees: int = 3
    tolerance: float | None = 3.0
    mind_radius: int = 1
    mind_dilation: int = 2


@dataclass(frozen=True)
class Correspondences:
    """fixed, moving  (N, d) index coordinates x, y[, z] on the working grid; row i matches row i
    inconsistency  (N,) mm by which each missed itself, there and back; nan where that was not looked at
    kept           (n,) the rows of the given keypoints that are left
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    inconsistency: torch.Tensor
    kept: torch.Tensor


def search_levels(spacing: float, reach: float) -> tuple[SearchLevel, ...]:
    """Levels that find displacements of up to about `reach` mm on a grid of `spacing` mm, and end at every voxel."""
    factor = 1
    while 5 * factor * spacing < reach and factor < 16:
        factor *= 2
    levels = [SearchLevel(max(2, math.ceil(reach / (factor * spacing))), factor, 2 if factor == 1 else 1)]
    while factor > 1:
        factor //= 2
        levels.append(SearchLevel(3, factor, 2 if factor == 1 else 1))
    return tuple(levels)


def find_correspondences(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    keypoints: torch.Tensor,
    spacing: float,
    settings: CorrespondenceSettings = CorrespondenceSettings(),
    trust: torch.Tensor | None = None,
    known: torch.Tensor | None = None,
    progress: Progress | None = None,
) -> Correspondences:
    """Where the keypoints of the fixed scan lie in the moving one.

    fixed, moving  ([Z,] Y, X) on one isotropic grid of `spacing` mm
    keypoints      (N, d) voxels x, y[, z] of the fixed scan, rounded to whole ones
    trust, known   ([Z,] Y, X) 0..1, where the fixed and the moving scan have something; None: everywhere
    """
    progress = progress or Progress()
    progress.update(0.0, "Looking at keypoints")
    here = _pyramid(fixed, trust, settings)
    there = _pyramid(moving, known, settings)
    start = keypoints.round().to(torch.int64)
    end = start + _search(here, there, start, settings, progress.part(0.2, 0.6, "Matching keypoints"))
    away = torch.full((len(start),), float("nan"))
    kept = torch.arange(len(start))
    if settings.tolerance is not None and len(start):
        # from the voxel a keypoint came nearest to; what is lost by rounding is given back
        whole = end.round().to(torch.int64)
        back = _search(there, here, whole, settings, progress.part(0.6, 1.0, "Matching them back"))
        away = spacing * (end + back - start).norm(dim=1).cpu()
        kept = torch.nonzero(away <= settings.tolerance)[:, 0]
    progress.update(1.0)
    on = kept.to(start.device)
    return Correspondences(start[on].to(torch.float32), end[on], away[kept], kept)


@dataclass(frozen=True)
class _Cells:
    """features ([z,] y, x, C) and known ([z,] y, x) of a scan in blocks of voxels."""

    features: torch.Tensor
    known: torch.Tensor | None


def _pyramid(scan: torch.Tensor, known: torch.Tensor | None, settings: CorrespondenceSettings) -> list[_Cells]:
    mind = mind_ssc(scan, settings.mind_radius, settings.mind_dilation, known)
    return [
        _Cells(
            pooled(mind, level.factor).movedim(0, -1).contiguous(),
            None if known is None else pooled(known[None].to(torch.float32), level.factor)[0],
        )
        for level in settings.levels
    ]


def _search(
    fixed: Sequence[_Cells],
    moving: Sequence[_Cells],
    keypoints: torch.Tensor,
    settings: CorrespondenceSettings,
    progress: Progress,
) -> torch.Tensor:
    """Displacement (N, d) voxels of the keypoints (N, d) int64."""
    u = keypoints.new_zeros(keypoints.shape, dtype=torch.float32)
    if len(keypoints) == 0:
        return u
    at, count = keypoints.to(torch.float32), len(settings.levels)
    edges, lengths = neighbour_edges(at, settings.neighbours)
    forests = [f.to(u.device) for f in spanning_forests(edges, lengths, len(at), settings.trees)]
    for k, (level, here, there) in enumerate(zip(settings.levels, fixed, moving, strict=True)):
        part = progress.part(k / count, (k + 1) / count)
        part.update(0.0)
        middle = _settled(at, u, settings.neighbours) if k else u
        cell = level.factor
        centres = (middle / cell).round().to(torch.int64)
        within = keypoints.div(cell, rounding_mode="floor")
        costs = patch_costs(
            here.features, there.features, within, centres, level.half_width, level.patch, there.known,
            partial(part.update, 0.1),
        )  # fmt: skip
        total = torch.zeros_like(costs)
        for n, forest in enumerate(forests):
            total += min_marginals(
                costs, forest, at, cell * centres, cell, partial(_coupling, settings.smoothness),
                partial(part.update, (n + 1) / (len(forests) + 1)),
            )  # fmt: skip
        u = cell * (centres + minimum_between(total, level.half_width, len(keypoints[0])))
    return u


def _coupling(smoothness: float, squared_length: torch.Tensor) -> torch.Tensor:
    return smoothness / squared_length.clamp(min=1.0)


def minimum_between(costs: torch.Tensor, half_width: int, d: int) -> torch.Tensor:
    """(N, d) steps where `costs` (N, K) is least: the sample, and the parabola through it and its two neighbours along
    each axis."""
    n = 2 * half_width + 1
    best = costs.argmin(dim=1)
    where = window_steps(half_width, d, costs.device)[best]
    out = where.to(costs.dtype)
    for axis in range(d):
        stride, inner = n**axis, where[:, axis].abs() < half_width
        here, low, high = (
            costs.gather(1, (best + s * inner)[:, None])[:, 0] for s in (0, -stride, stride)
        )
        bend = low - 2 * here + high
        shift = 0.5 * (low - high) / bend.clamp(min=1e-12)
        out[:, axis] += torch.where(inner & (bend > 0), shift.clamp(-0.5, 0.5), torch.zeros_like(shift))
    return out


def _settled(points: torch.Tensor, u: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Middle of each keypoint's next window, voxels: the median displacement of its surroundings, itself included, so
    that one that went astray finds back."""
    k = min(neighbours, len(points) - 1)
    if k < 1:
        return u
    near, _ = nearest_neighbours(points, k)
    return torch.cat([u[near], u[:, None]], dim=1).median(dim=1).values
