"""Rigid, similarity or affine alignment of two scans, from any start: search, choose, refine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..core.grid import Grid
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..core.transform import Transform
from ..transforms import Affine, compose
from .linear_engine import Objective, Stage, descend
from .linear_images import Scan, cropped, first_moments, foreground, prepare
from .linear_model import LinearModel
from .linear_search import Candidate, TranslationSearch

#: (fixed scan, moving scan) -> objective on the fixed scan's grid
MakeObjective = Callable[[Scan, Scan], Objective]


@dataclass(frozen=True)
class LinearSettings:
    """How to align.

    kind        rigid, similarity or affine
    spacing     finest working spacing, mm; None chooses it from the size of the anatomy
    levels      working spacings, each twice as coarse as the next
    iterations  at every level
    search      look for the start everywhere; otherwise go downhill from the start that was given
    stiffness   weight of the squared stretch against the similarity (affine)
    """

    kind: str = "affine"
    spacing: float | None = None
    levels: int = 2
    iterations: int = 40
    search: bool = True
    stiffness: float = 0.1


@dataclass(frozen=True)
class LinearOutcome:
    """transform and what became of the objective, by level; `overlap` is the share of the fixed anatomy that met
    moving data; `score` is 1 - objective at the finest level, `score_before` that of the identity."""

    transform: Transform
    history: dict[str, list[float]] = field(default_factory=dict)
    overlap: float = 0.0
    score: float = 0.0
    score_before: float = 0.0


@dataclass(frozen=True)
class _Scale:
    """Both scans at one working spacing, and where the anatomy is in each."""

    fixed: Scan
    moving: Scan
    whole_fixed: Scan
    fixed_region: torch.Tensor
    moving_region: torch.Tensor
    objective: Objective

    def stage(self, start: Transform) -> Stage:
        return Stage(self.fixed, self.moving, self.objective, start)


class LinearRegistration:
    """One alignment; `run` does it."""

    def __init__(
        self,
        problem: RegistrationProblem,
        settings: LinearSettings,
        make_objective: MakeObjective,
        progress: Progress,
    ) -> None:
        self.problem, self.settings, self.progress = problem, settings, progress
        finest = settings.spacing or automatic_spacing(problem.fixed.grid, problem.moving.grid)
        spacings = [finest * 2.0**k for k in range(settings.levels)][::-1]
        if settings.search and len(spacings) < 2:
            spacings = [2 * finest, finest]
        fixed = prepare(problem.fixed, problem.fixed_mask, spacings)
        progress.update(0.05)
        moving = prepare(problem.moving, problem.moving_mask, spacings)
        progress.update(0.1)
        self.scales = [_scale(f, m, make_objective) for f, m in zip(fixed, moving, strict=True)]
        self.centre, covariance = first_moments(self.scales[0].fixed_region, self.scales[0].whole_fixed.grid)
        self.moving_centre, _ = first_moments(self.scales[0].moving_region, self.scales[0].moving.grid)
        self.radius = math.sqrt(max(float(np.trace(covariance)), 1e-6))
        self.axes = determined_axes(self.scales[-1].whole_fixed.grid, self.scales[-1].fixed_region)

    def model(self, kind: str) -> LinearModel:
        return LinearModel(kind, self.centre, self.radius, self.axes)

    def run(self, start: Transform | None = None) -> LinearOutcome:
        """T, refined from `start` (the identity where None) or from wherever the search finds better."""
        d = self.problem.dimension
        begin: Transform = start or Affine.identity(d)
        history: dict[str, list[float]] = {}
        if self.settings.search:
            begin = self._chosen_start(begin, history)
        rigid, model = self.model("rigid"), self.model(self.settings.kind)
        parameters = rigid.zeros()
        current = rigid
        levels = self.scales
        share = 0.5 / len(levels)
        for k, scale in enumerate(levels):
            stage = scale.stage(begin)
            kinds = [rigid, model] if k == 0 else [model]
            for m in kinds:
                parameters = m.adopt(current, parameters) if m is not current else parameters
                current = m
                result = descend(
                    stage,
                    m,
                    parameters,
                    iterations=self.settings.iterations,
                    stiffness=self.settings.stiffness,
                    least_overlap=0.5 * self._overlap(stage, m, parameters),
                    each_iteration=self._reporter(0.5 + share * k, share),
                )
                parameters = result.parameters
                history[f"{m.kind} {_mean_spacing(scale.fixed.grid):.3g} mm"] = result.history
        with torch.no_grad():
            final = model.homogeneous(torch.as_tensor(model.adopt(current, parameters) if current is not model else parameters))
            stage = levels[-1].stage(begin)
            score = 1 - float(stage.value(final))
            identity = levels[-1].stage(Affine.identity(d))
            before = 1 - float(identity.value(torch.eye(d + 1, dtype=torch.float64)))
            overlap = stage.overlap(final)
        self.progress.update(1.0)
        return LinearOutcome(compose(Affine.from_homogeneous(final.numpy()), begin), history, overlap, score, before)

    # ------------------------------------------------------------------ the start

    def _chosen_start(self, given: Transform, history: dict[str, list[float]]) -> Transform:
        """The best of: what was given, centres on centres, and the peaks of the search, each refined a little."""
        coarse = self.scales[0]
        d = self.problem.dimension
        search = TranslationSearch(coarse.whole_fixed, coarse.moving, coarse.fixed_region, coarse.moving_region)
        found = search.candidates(np.eye(d), coarse.moving.grid.centre, 4)
        self.progress.update(0.2, "Looking for the start")
        starts: list[Transform] = [given, Affine.from_translation(self.moving_centre - self.centre)]
        starts += [c.transform for c in found]
        rigid = self.model("rigid")
        ranked = []
        for k, start in enumerate(starts):
            stage = coarse.stage(start)
            eye = torch.eye(d + 1, dtype=torch.float64)
            if stage.overlap(eye) < 0.1:
                continue
            result = descend(
                stage, rigid, rigid.zeros(), iterations=20, stiffness=0.0, least_overlap=0.5 * stage.overlap(eye),
                each_iteration=self._reporter(0.2 + 0.3 * k / len(starts), 0.3 / len(starts)),
            )
            linear = rigid.homogeneous(torch.as_tensor(result.parameters))
            score = (1 - result.value) * math.sqrt(stage.overlap(linear))
            ranked.append((score, k, compose(Affine.from_homogeneous(linear.numpy()), start)))
        ranked.sort(key=lambda r: -r[0])
        self.ranked = ranked
        history["starts"] = [r[0] for r in ranked]
        return ranked[0][2] if ranked else given

    def _overlap(self, stage: Stage, model: LinearModel, parameters: np.ndarray) -> float:
        with torch.no_grad():
            return stage.overlap(model.homogeneous(torch.as_tensor(parameters)))

    def _reporter(self, start: float, share: float) -> Callable[[int], None]:
        def report(iteration: int) -> None:
            if iteration % 3 == 0:
                self.progress.update(start + share * min(1.0, iteration / max(1, self.settings.iterations)))

        return report


def _scale(fixed: Scan, moving: Scan, make_objective: MakeObjective) -> _Scale:
    region, moving_region = foreground(fixed), foreground(moving)
    spacing = _mean_spacing(fixed.grid)
    cut, _ = cropped(fixed, region, 3 * spacing)
    return _Scale(cut, moving, fixed, region, moving_region, make_objective(cut, moving))


def _mean_spacing(grid: Grid) -> float:
    return float(np.mean(grid.spacing))


def automatic_spacing(fixed: Grid, moving: Grid) -> float:
    """Working spacing (mm) that leaves a 3-D scan some 130 000 voxels and a 2-D image some 60 000."""
    wanted = 130_000 if fixed.dimension == 3 else 60_000
    volume = math.prod(fixed.extent)
    return max(min(fixed.spacing), (volume / wanted) ** (1 / fixed.dimension))


def determined_axes(grid: Grid, region: torch.Tensor) -> np.ndarray:
    """(d, k) world directions along which the anatomy is wide enough to tell its stretch.

    An axis of the grid counts as thin where the anatomy extends less than a quarter of its largest extent along it.
    """
    occupied = region[0] > 0
    extents = []
    for k, s in enumerate(grid.spacing):
        axis = occupied.dim() - 1 - k
        line = occupied.movedim(axis, 0).reshape(occupied.shape[axis], -1).any(dim=1).nonzero().reshape(-1)
        extents.append((int(line[-1]) - int(line[0]) + 1) * s if len(line) else 0.0)
    wide = [k for k, e in enumerate(extents) if e >= 0.25 * max(extents)] or list(range(grid.dimension))
    return np.asarray(grid.direction)[:, wide]
