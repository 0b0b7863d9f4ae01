"""Symmetric log-demons: one stationary velocity v that brings two images together, coarse to fine.

    E(v) = 1/2 mean w |F - M o exp(v)|^2 + 1/2 mean w' |M - F o exp(-v)|^2,   v smooth

Each iteration takes a demons step from both sides and smooths twice,

    u(x) = w d g / (|g|^2 + (|d|^2 + n^2) / s^2),   d = F - M o exp(v),   g = (grad F + grad M o exp(v)) / 2
    v <- K_diffusion * (v + K_fluid * w),   w = 1/2 (Z(v, u) - Z(-v, u')) - v = (u - u') / 2 + [v, u + u'] / 4

with u' the same step from M to F o exp(-v) and Z(v, u) = v + u + [v, u] / 2; |u| is at most s / 2. Several channels
share one step: d g, |g|^2 and |d|^2 are summed over them. n is the size of differences that mean nothing, of channels
that go from about 0 to 1.

Vercauteren, Pennec, Perchant, Ayache: Symmetric log-domain diffeomorphic registration, MICCAI 2008,
doi:10.1007/978-3-540-85988-8_90; the step with mean gradients: Diffeomorphic demons, NeuroImage 45(1), 2009,
doi:10.1016/j.neuroimage.2008.10.040.

Differs from the papers: lengths in mm on any grid; v may lie on a coarser grid than the images; n, which keeps noise in
flat regions from moving anything; voxels whose partner was not seen have no say; each level ends when the energy stands
still and keeps its best v.

Everything here is along the index axes of a grid: positions and velocities are turned to world axes by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..core.grid import Grid
from ..core.progress import Progress
from ..core.sampling import sample_displaced
from ..ops.gradients import axis_derivative
from ..ops.smoothing import gaussian_smooth
from ..transforms.velocity import bracket, exponential, squarings

#: iterations over which the energy must have sunk
_WINDOW = 4

#: a voxel counts where at least this share of it has been seen
_SEEN = 0.95

#: smallest sigma of the step and of the velocity on coarse levels, cells: what is wrong there is never put right again
COARSE_CELLS = (3.0, 2.0)

#: an axis is not made shorter than this by the pyramid
_SHORTEST = 12

#: a Gaussian of this many cells per halving keeps the coarser level free of aliasing
_HALVING_BLUR = 0.75

#: the lowest progress of the work within one iteration is told this often
Report = Callable[[], None]

#: intensities of one level ([Z,] Y, X), and what counts in them -> channels (C, [Z,] Y, X)
Features = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


@dataclass(frozen=True)
class Side:
    """One image of the pair: values ([Z,] Y, X) and, or None for everywhere, how far each voxel counts (0..1)."""

    values: torch.Tensor
    weight: torch.Tensor | None = None


@dataclass(frozen=True)
class Settings:
    """fluid, diffusion  sigma of the Gaussians on the step and on the velocity, mm; at least one velocity cell, on the
                      coarse levels a few
    step              longest step of an iteration, voxels of the level
    noise             n: differences of this size mean nothing
    detail            voxels of a level to one cell of the velocity's grid
    iterations        at most so many on each level, coarsest first; small images have only the last of these levels
    tolerance         a level ends where the energy sank by less than this share in the last few iterations
    """

    fluid: float
    diffusion: float
    step: float
    noise: float
    detail: float
    iterations: Sequence[int]
    tolerance: float


@dataclass(frozen=True)
class Stage:
    """A level of the pyramid: channels and weights of both images on `grid`, the velocity's grid `cells`."""

    grid: Grid
    cells: Grid
    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_weight: torch.Tensor | None
    moving_weight: torch.Tensor | None
    finest: bool


def log_demons(
    fixed: Side, moving: Side, grid: Grid, settings: Settings, features: Features, progress: Progress
) -> tuple[torch.Tensor, Grid, dict[str, list[float]]]:
    """v (d, [Z,] Y, X) mm along the index axes of `grid`, the grid of v, and the energies by level.

    `grid` is that of both images; only its size and spacing matter here. moved(x) = moving(exp(v)(x)).
    """
    plain = Grid(grid.size, grid.spacing)
    levels = pyramid(fixed, moving, plain, len(settings.iterations))
    counts = settings.iterations[-len(levels) :]
    wanted = [(count, at, f, m) for count, (at, f, m) in zip(counts, levels, strict=True) if count > 0]
    work = [count * at.voxels for count, at, _, _ in wanted]
    velocity: torch.Tensor | None = None
    cells = plain
    energies: dict[str, list[float]] = {}
    done = 0.0
    for (count, at, f, m), cost in zip(wanted, work, strict=True):
        cells = at.with_size([max(1, round(n / settings.detail)) for n in at.size])
        velocity = on_cells(velocity, cells, fixed.values)
        first, second = features(f.values, f.weight), features(m.values, m.weight)
        stage = Stage(at, cells, first, second, f.weight, m.weight, at is plain)
        name = f"{at.voxel_volume ** (1 / at.dimension):.3g} mm"
        part = progress.part(done, done + cost / sum(work), f"Deforming, voxels of {name}")
        done += cost / sum(work)
        velocity, energies[name] = improve(velocity, stage, settings, count, part)
    return on_cells(velocity, cells, fixed.values), cells, energies


def improve(
    velocity: torch.Tensor, stage: Stage, settings: Settings, count: int, progress: Progress
) -> tuple[torch.Tensor, list[float]]:
    """At most `count` iterations on one level: the best v that was met and E before each of them."""
    least = (1.0, 1.0) if stage.finest else COARSE_CELLS
    fluid = [max(settings.fluid / s, least[0]) for s in stage.cells.spacing]
    diffusion = [max(settings.diffusion / s, least[1]) for s in stage.cells.spacing]
    best, lowest = velocity, math.inf
    energies: list[float] = []
    for i in range(count + 1):

        def report(i: int = i) -> None:
            progress.update(i / (count + 1))

        report()
        forward, ahead = _step(velocity, stage, settings, True, report)
        backward, behind = _step(-velocity, stage, settings, False, report)
        energies.append(0.5 * (ahead + behind))
        if energies[-1] < lowest:
            best, lowest = velocity, energies[-1]
        before = min(energies[:-_WINDOW], default=math.inf)
        if i == count or (math.isfinite(before) and before - lowest <= settings.tolerance * before):
            break
        update = bracket(velocity, forward + backward, stage.cells).mul_(0.25).add_(forward - backward, alpha=0.5)
        report()
        update = gaussian_smooth(update, fluid)
        report()
        velocity = gaussian_smooth(velocity + update, diffusion)
    return best, energies


def demons_step(
    still: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor | None, spacing: Sequence[float], longest: float,
    noise: float,
) -> tuple[torch.Tensor, float]:
    """u (d, [Z,] Y, X) in mm along the index axes with moved(x + u) like still(x), and mean w |still - moved|^2.

    still, moved  (C, [Z,] Y, X)
    weight        ([Z,] Y, X) or None for 1
    longest       mm; no step is longer
    noise         differences of this size mean nothing
    """
    d = still.dim() - 1
    difference = still - moved
    squared = difference.square().sum(dim=0)
    mean = 0.5 * (still + moved)
    step = torch.empty((d, *still.shape[1:]), dtype=still.dtype, device=still.device)
    steep = torch.zeros_like(squared)
    for k in range(d):
        gradient = axis_derivative(mean, mean.dim() - 1 - k).div_(float(spacing[k]))
        step[k] = (gradient * difference).sum(dim=0)
        steep += gradient.square_().sum(dim=0)
    # s = 2 longest: |u| = |d| |g| / (|g|^2 + |d|^2 / s^2) is at most s / 2
    scale = 1.0 / steep.add_((squared + noise**2) / (2 * longest) ** 2)
    if weight is None:
        return step.mul_(scale), float(squared.mean())
    return step.mul_(scale.mul_(weight)), float((squared * weight).sum() / weight.sum().clamp_min(1e-6))


def _step(
    velocity: torch.Tensor, stage: Stage, settings: Settings, forward: bool, report: Report
) -> tuple[torch.Tensor, float]:
    """The demons step of one direction on the velocity's grid, and its half of the energy."""
    still, other = (stage.fixed, stage.moving) if forward else (stage.moving, stage.fixed)
    counts, seen = stage.fixed_weight, stage.moving_weight
    if not forward:
        counts, seen = seen, counts
    u = exponential(velocity, stage.cells, squarings(velocity, stage.cells), report)
    report()
    moved, weight = warp(other, seen, upsampled(u, stage.grid), stage.grid)
    report()
    if counts is not None:
        weight = weight * counts
    longest = settings.step * min(stage.grid.spacing)
    step, energy = demons_step(still, moved, weight, stage.grid.spacing, longest, settings.noise)
    report()
    if stage.cells.size != stage.grid.size:
        step = F.interpolate(step[None], stage.cells.shape, mode="area")[0]
    return step, energy


def warp(
    channels: torch.Tensor, seen: torch.Tensor | None, displacement: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, torch.Tensor]:
    """channels(x + u(x)), and 1 where that place is inside the grid and `seen` there, else 0."""
    inside = torch.ones(grid.shape, dtype=torch.bool, device=channels.device)
    for k, n in enumerate(grid.size):
        index = torch.arange(n, device=channels.device, dtype=torch.float32)
        at = displacement[k] / grid.spacing[k] + index.reshape([-1] + [1] * k)
        inside &= (at >= -0.5) & (at <= n - 0.5)
    if seen is None:
        return sample_displaced(channels, displacement, grid), inside.to(torch.float32)
    sampled = sample_displaced(torch.cat([channels, seen[None]]), displacement, grid)
    return sampled[:-1], (inside & (sampled[-1] >= _SEEN)).to(torch.float32)


def pyramid(fixed: Side, moving: Side, grid: Grid, levels: int) -> list[tuple[Grid, Side, Side]]:
    """(grid, fixed, moving) of at most so many levels, coarsest first; the last is what came.

    Each level has half the voxels of the next along every axis that stays long enough, but axes of wide spacing wait
    for the others; the field of view is kept exactly.
    """
    out = [(grid, fixed, moving)]
    for _ in range(levels - 1):
        finer, f, m = out[0]
        long = [n >= 2 * _SHORTEST for n in finer.size]
        if not any(long):
            break
        finest = min(s for s, able in zip(finer.spacing, long, strict=True) if able)
        size = [
            (n + 1) // 2 if able and s < 1.5 * finest else n
            for n, s, able in zip(finer.size, finer.spacing, long, strict=True)
        ]
        coarser = finer.with_size(size)
        out.insert(0, (coarser, _halved(f, coarser), _halved(m, coarser)))
    return out


def _halved(side: Side, grid: Grid) -> Side:
    if side.values.shape == grid.shape:
        return side
    blur = [_HALVING_BLUR if n != m else 0.0 for n, m in zip(side.values.shape[::-1], grid.size, strict=True)]
    values = resized(gaussian_smooth(side.values[None], blur), grid.shape)[0]
    weight = None if side.weight is None else F.interpolate(side.weight[None, None], grid.shape, mode="area")[0, 0]
    return Side(values, weight)


def on_cells(velocity: torch.Tensor | None, cells: Grid, like: torch.Tensor) -> torch.Tensor:
    """The velocity on another grid of the same field of view; 0 where there is none yet."""
    if velocity is None:
        return torch.zeros((cells.dimension, *cells.shape), dtype=torch.float32, device=like.device)
    return resized(velocity, cells.shape)


def upsampled(displacement: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The field on a finer grid of the same field of view."""
    return resized(displacement, grid.shape)


def resized(channels: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(C, [Z,] Y, X) linearly interpolated to another number of voxels between the same edges."""
    if tuple(channels.shape[1:]) == tuple(shape):
        return channels
    mode = "trilinear" if channels.dim() == 4 else "bilinear"
    return F.interpolate(channels[None], tuple(shape), mode=mode, align_corners=False)[0]
