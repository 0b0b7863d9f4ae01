"""The momentum whose geodesic carries one image onto another: LDDMM, metamorphosis and weighted metamorphosis.

    p_0 = argmin  mean w(x) |I_1(x) - T(x)|^2 + lambda H_0(p_0),      I, H: see shooting.py, I_0 = S

Intensities about 0..1; H_0 in intensity^2 (the kernel is scaled by its squared width, so that a velocity of one width a
unit of time along an edge costs the same whatever the units of length). L-BFGS on the exact gradient of the discrete
shooting, from coarse grids to fine ones.

Francois, Maillard, Oster, Pallud, Bloch, Gori, Glaunes: Weighted metamorphosis for registration of images with
different topologies, WBIR 2022, doi:10.1007/978-3-031-11203-4_2. Differs from the paper: L-BFGS instead of Adadelta,
multiresolution, a preconditioner, several kernel widths at once, weights w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.progress import Progress, Tick, no_tick
from ..ops.gradients import spatial_gradient
from ..ops.kernels import GaussianKernel
from .lbfgs import Minimum, minimise
from .shooting import Course, Diverged, Geodesic, follow, shoot
from .shooting_memory import AFFORDABLE, kept_bytes

#: share of the typical squared edge added to the scaling, so that flat regions are not blown up
_FLOOR = 0.1
#: iterations of the way from level to level, and what stands for "small" there
_CARRYING = 12
_DAMPING = 1e-3
#: of the start, tried one after the other where what a coarser grid bears folds a finer one
_SHARES = (0.5, 0.25, 0.1, 0.0)
#: a search often takes about so many iterations
_USUAL = 5
#: mean squared difference of intensities 0..1 that single precision leaves of images which are alike
_ROUNDING = 1e-11
#: iterations of the approximate inverse of the Hessian
_INNER = 10


@dataclass(frozen=True)
class Settings:
    """kernel_widths: standard deviations, mm; regularity: lambda; gain: mu^2 / rho, 0 for LDDMM."""

    kernel_widths: tuple[float, ...]
    regularity: float
    gain: float = 0.0
    steps: int = 10
    iterations: int = 40
    tolerance: float = 2e-2


@dataclass(frozen=True)
class Level:
    """The images at one resolution, ([Z,] Y, X) on `grid`, intensities about 0..1.

    weight  of each voxel in the difference of images, None for 1
    masks   M_t as in `Geodesic`
    """

    grid: Grid
    source: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None = None
    masks: Sequence[torch.Tensor] = ()


@dataclass
class Outcome:
    """Momentum p_0 on the finest level, the objective an iteration by level, and all else to shoot again."""

    momentum: torch.Tensor
    level: Level
    geodesic: Geodesic
    history: dict[str, list[float]] = field(default_factory=dict)

    def course(self, tick: Tick = no_tick) -> Course:
        """Everything on the way."""
        return follow(self.level.source, self.momentum, replace(self.geodesic, tick=tick))


def optimise(levels: Sequence[Level], settings: Settings, progress: Progress) -> Outcome:
    """The best momentum, from the first level (coarse) to the last (fine)."""
    effort = [level.grid.voxels * 2.0**-k for k, level in enumerate(levels)]
    history: dict[str, list[float]] = {}
    before: tuple[MomentumProblem, torch.Tensor] | None = None
    for k, level in enumerate(levels):
        part = progress.part(sum(effort[:k]) / sum(effort), sum(effort[: k + 1]) / sum(effort))
        name = f"{min(level.grid.spacing):.3g} mm"
        reporter = _Reporter(part, settings.iterations, f"Deforming at {name}")
        problem = MomentumProblem(level, settings, reporter.tick)
        start = torch.zeros_like(level.source) if before is None else _carried(*before, problem)
        found = _found(problem, start / problem.scaling, settings, reporter)
        for share in _SHARES:
            if math.isfinite(found.value):
                break
            shorter = share * start if share > 0 else torch.zeros_like(start)
            found = _found(problem, shorter / problem.scaling, settings, reporter)
        history[name] = found.history
        before = problem, problem.scaling * found.numbers
    assert before is not None
    problem, momentum = before
    return Outcome(momentum, problem.level, problem.geodesic, history)


class MomentumProblem:
    """The objective of one level, as a function of q = p_0 / scaling."""

    def __init__(self, level: Level, settings: Settings, tick: Tick = no_tick) -> None:
        self.level, self.settings = level, settings
        device = level.source.device
        amplitudes = [w**2 / len(settings.kernel_widths) for w in settings.kernel_widths]
        kept = kept_bytes(level.grid.voxels, settings.steps, level.grid.dimension)
        self.geodesic = Geodesic(
            level.grid,
            GaussianKernel(level.grid, settings.kernel_widths, amplitudes, device),
            settings.steps,
            settings.gain,
            level.masks,
            tick,
            save_memory=kept > AFFORDABLE,
        )
        self.image_gradient = spatial_gradient(level.source[None], level.grid.spacing)[:, 0]

    @cached_property
    def scaling(self) -> torch.Tensor:
        """One over the root of how strongly the momentum of a voxel acts on its own image, smoothed from below."""
        width = self.settings.kernel_widths[0]
        acts = 0.25 * width**2 * self.image_gradient.square().sum(dim=0)
        if self.settings.gain > 0:
            masks = self.level.masks
            acts = acts + self.settings.gain * (torch.stack(list(masks)).mean(dim=0) if masks else 1.0)
        return (acts + _FLOOR * acts.mean() + 1e-12).rsqrt()

    def acts(self, p: torch.Tensor) -> torch.Tensor:
        """<grad S, K (p grad S)> + gain M_0 p: the change of the image in the direction of its momentum."""
        deformed = (self.image_gradient * self.geodesic.kernel(self.image_gradient * p)).sum(dim=0)
        return deformed + self.settings.gain * self.geodesic.weighted(p, 0)

    def objective(self, q: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Value and gradient; an infinite value where the flow diverges."""
        level = self.level
        with torch.enable_grad():
            q = q.detach().requires_grad_(True)
            try:
                shot = shoot(level.source, self.scaling * q, self.geodesic)
            except Diverged:
                return float("inf"), torch.zeros_like(q)
            squared = (shot.image - level.target).square()
            data = squared.mean() if level.weight is None else (level.weight * squared).mean()
            total = data + self.settings.regularity * shot.energy
            (gradient,) = torch.autograd.grad(total, q)
        return float(total.detach()), gradient

    @torch.no_grad()
    def precondition(self, gradient: torch.Tensor) -> torch.Tensor:
        """(A (A + lambda) + small)^-1 gradient / 2 with A = `acts`: the inverse Hessian as far as deformations are
        small, roughly."""
        scaling = self.scaling

        def hessian(q: torch.Tensor) -> torch.Tensor:
            once = self.acts(scaling * q)
            return (2 / q.numel()) * scaling * (self.acts(once) + self.settings.regularity * once)

        size = float(gradient.square().sum())
        if size == 0:
            return gradient
        damping = _DAMPING * float((gradient * hessian(gradient)).sum()) / size
        return _solved(lambda q: hessian(q) + damping * q, gradient, _INNER)


def _found(problem: MomentumProblem, start: torch.Tensor, settings: Settings, reporter: _Reporter) -> Minimum:
    return minimise(
        problem.objective,
        start,
        iterations=settings.iterations,
        precondition=problem.precondition,
        tolerance=settings.tolerance,
        least=_ROUNDING,
        each_iteration=reporter.iteration,
    )


class _Reporter:
    """Progress of one level: a fraction an iteration, and a chance to cancel every step."""

    def __init__(self, progress: Progress, iterations: int, stage: str) -> None:
        self._progress, self._iterations, self._stage = progress, max(1, iterations), stage
        self._done = 0.0
        progress.update(0.0, stage)

    def iteration(self, count: int) -> None:
        # most searches end long before the last iteration that is allowed
        self._done = min(1.0, count / (count + _USUAL) * (1 + _USUAL / self._iterations))
        self.tick()

    def tick(self) -> None:
        self._progress.update(self._done, self._stage)


@torch.no_grad()
def _carried(coarse: MomentumProblem, momentum: torch.Tensor, fine: MomentumProblem) -> torch.Tensor:
    """The momentum on a finer grid whose first velocity and change of intensity are those of the coarser one,

        argmin_p  |p grad S - (p grad S)_coarse|_V*^2 + gain <M (p - p_coarse), p - p_coarse> + small |p|^2

    by conjugate gradients. Taken as it is, a momentum would push harder along the sharper edges of the finer image.
    """
    grids = coarse.level.grid, fine.level.grid
    force = _on_grid(coarse.image_gradient * momentum, *grids)
    wanted = (fine.image_gradient * fine.geodesic.kernel(force)).sum(dim=0)
    wanted = wanted + fine.settings.gain * fine.geodesic.weighted(_on_grid(momentum[None], *grids)[0], 0)
    scaling = fine.scaling
    return scaling * _solved(lambda q: scaling * fine.acts(scaling * q) + _DAMPING * q, scaling * wanted, _CARRYING)


def _solved(operator: Callable[[torch.Tensor], torch.Tensor], wanted: torch.Tensor, iterations: int) -> torch.Tensor:
    """x with operator(x) near `wanted`, by conjugate gradients."""
    x = torch.zeros_like(wanted)
    left = direction = wanted
    size = start = float(left.square().sum())
    for _ in range(iterations):
        if not size > 1e-8 * start:
            break
        image = operator(direction)
        step = size / float((direction * image).sum())
        x = x + step * direction
        left = left - step * image
        before, size = size, float(left.square().sum())
        direction = left + (size / before) * direction
    return x


def _on_grid(values: torch.Tensor, grid: Grid, other: Grid) -> torch.Tensor:
    return Image(values, grid).resampled(other, outside=0.0).data
