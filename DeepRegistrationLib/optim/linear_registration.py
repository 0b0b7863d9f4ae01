"""Rigid, similarity or affine alignment of two scans, from any start: search, choose, refine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from ..core.grid import Grid
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..core.transform import Transform
from ..transforms import Affine, compose
from .linear_engine import OVERLAP_REWARD, Objective, Stage, descend
from .linear_images import Moments, Scan, cropped, first_moments, foreground, prepare, windows_for
from .linear_lbfgs import Minimum
from .linear_model import LinearModel
from .linear_search import Candidate, TranslationSearch

#: a start with less of the fixed anatomy over moving data is not tried
LEAST_OVERLAP = 0.1
#: where stretch multiplies the score by this much, the anatomies differ in size
OTHER_ANATOMY = 1.2

#: (fixed scan, moving scan) -> objective on the fixed scan's grid
MakeObjective = Callable[[Scan, Scan], Objective]


@dataclass(frozen=True)
class LinearSettings:
    """How to align.

    kind        rigid, similarity or affine
    spacing     finest working spacing, mm; None chooses it so that about `voxels` are left of a 3-D scan
    levels      working spacings, each twice as coarse as the next
    iterations  at every level
    search      look for the start everywhere; otherwise go downhill from the start that was given
    stiffness   weight of the squared stretch against the similarity (affine)
    stretch_reward  power of the overlap in the score while stretch is free: shrinking the fixed scan raises
                    its overlap, and a similarity with a small range would be outweighed
    clear_gain  what the score has to gain for a search to leave the start, or to stretch
    """

    kind: str = "affine"
    spacing: float | None = None
    levels: int = 2
    iterations: int = 40
    search: bool = True
    stiffness: float = 0.1
    stretch_reward: float = OVERLAP_REWARD
    clear_gain: float = 0.015
    voxels: int = 130_000


@dataclass(frozen=True)
class LinearOutcome:
    """transform and what became of the objective, by level; `overlap` is the share of the fixed anatomy that
    met moving data; `score` is 1 - objective at the finest level, `score_before` that of the identity."""

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
        finest = settings.spacing or automatic_spacing(problem.fixed.grid, settings.voxels)
        spacings = [finest * 2.0**k for k in range(settings.levels)][::-1]
        if settings.search and len(spacings) < 2:
            spacings = [2 * finest, finest]
        fixed_windows, moving_windows = windows_for(problem.fixed, problem.moving)
        fixed = prepare(problem.fixed, problem.fixed_mask, spacings, fixed_windows)
        progress.update(0.05)
        moving = prepare(problem.moving, problem.moving_mask, spacings, moving_windows)
        progress.update(0.1)
        self.scales = [_scale(f, m, make_objective) for f, m in zip(fixed, moving, strict=True)]
        self.centre, covariance = first_moments(self.scales[0].fixed_region, self.scales[0].whole_fixed.grid)
        self.radius = math.sqrt(max(float(np.trace(covariance)), 1e-6))
        self.axes = determined_axes(self.scales[-1].whole_fixed.grid, self.scales[-1].fixed_region)

    def model(self, kind: str) -> LinearModel:
        return LinearModel(kind, self.centre, self.radius, self.axes)

    def run(self, start: Transform | None = None) -> LinearOutcome:
        """T, refined from `start` (the identity where None) or from wherever the search finds better.

        With the search on, more freedom has to pay: the start itself is the answer, and rigid motion instead
        of stretch, where the score gains less than `clear_gain`.
        """
        eye = torch.eye(self.problem.dimension + 1, dtype=torch.float64)
        history: dict[str, list[float]] = {}
        first: Transform = start or Affine.identity(self.problem.dimension)
        begin = self._chosen_start(first, history) if self.settings.search else first
        linear = self._refined(begin, history)
        finest = self.scales[-1]
        with torch.no_grad():
            score, share = finest.stage(begin).score(linear)
            at_start, start_share = finest.stage(first).score(eye)
            before = finest.stage(Affine.identity(self.problem.dimension)).score(eye)[0]
        self.progress.update(1.0)
        least = self.settings.clear_gain if self.settings.search else 0.0
        if float(start_share) >= LEAST_OVERLAP and float(score - at_start) < least:
            return LinearOutcome(first, history, float(start_share), float(at_start), float(before))
        total = compose(Affine.from_homogeneous(linear.numpy()), begin)
        return LinearOutcome(total, history, float(share), float(score), float(before))

    def _refined(self, begin: Transform, history: dict[str, list[float]]) -> torch.Tensor:
        """Rigid and stretched at the coarsest level, then what was chosen down the levels; (d+1, d+1)
        float64, to be followed by `begin`.

        Of two anatomies that differ in size no rigid motion lays all edges on each other, and the one that
        matches most edges may be far from the one that lays the organs on each other. There the rigid answer
        is the rigid part of the affine one (exp(W) of `LinearModel`).
        """
        rigid = self.model("rigid")
        kind = self.settings.kind
        stretched = self.model("affine" if kind == "rigid" else kind)
        coarse = self.scales[0]
        moved = self._descended(coarse, begin, rigid, rigid.zeros(), history, 0.5)
        freed = stretched.adopt(rigid, moved.parameters)
        freer = self._descended(coarse, begin, stretched, freed, history, 0.6)
        judge = self._stage(coarse, begin, stretched)
        with torch.no_grad():
            unstretched, _ = judge.score(rigid.homogeneous(torch.as_tensor(moved.parameters)))
            score, _ = judge.score(stretched.homogeneous(torch.as_tensor(freer.parameters)))
        if kind == "rigid" and score > OTHER_ANATOMY * unstretched:
            return rigid.homogeneous(torch.as_tensor(freer.parameters[: rigid.size]))
        stiff = kind == "rigid" or (self.settings.search and score - unstretched < self.settings.clear_gain)
        model, found = (rigid, moved) if stiff else (stretched, freer)
        for k, scale in enumerate(self.scales[1:]):
            begun = 0.7 + 0.3 * k / len(self.scales[1:])
            found = self._descended(scale, begin, model, found.parameters, history, begun)
        return model.homogeneous(torch.as_tensor(found.parameters))

    def _stage(self, scale: _Scale, begin: Transform, model: LinearModel) -> Stage:
        stage = scale.stage(begin)
        if model.kind == "rigid":
            return stage
        return replace(stage, reward=self.settings.stretch_reward)

    def _descended(
        self,
        scale: _Scale,
        begin: Transform,
        model: LinearModel,
        parameters: np.ndarray,
        history: dict[str, list[float]],
        begun: float,
    ) -> Minimum:
        """One descent; `begun` is the share of the work already done."""
        stage = self._stage(scale, begin, model)
        result = descend(
            stage,
            model,
            parameters,
            iterations=self.settings.iterations,
            stiffness=self.settings.stiffness,
            least_overlap=0.8 * stage.overlap(model.homogeneous(torch.as_tensor(parameters))),
            each_iteration=self._reporter(begun, 0.1),
        )
        history[f"{model.kind}, {_mean_spacing(scale.fixed.grid):.3g} mm"] = result.history
        return result

    # ------------------------------------------------------------------ the start

    def centres(self) -> Affine:
        """The centre of the fixed anatomy onto that of the moving anatomy."""
        (centre, _), (moving_centre, _) = self._anatomy
        return Affine.from_translation(moving_centre - centre)

    @cached_property
    def _anatomy(self) -> tuple[Moments, Moments]:
        """Where it lies in both scans, inside of their masks. What one mask shows may be all of the other scan or a
        part of it: with a mask for one scan only, the better of that and of the anatomy anywhere."""
        coarse = self.scales[0]
        fixed, moving = coarse.whole_fixed, coarse.moving
        regions = [(coarse.fixed_region, coarse.moving_region)]
        if (self.problem.fixed_mask is None) != (self.problem.moving_mask is None):
            regions.append((foreground(fixed.without_mask()), foreground(moving.without_mask())))
        found = [(first_moments(f, fixed.grid), first_moments(m, moving.grid)) for f, m in regions]
        if len(found) == 1:
            return found[0]
        starts = [Affine.from_translation(m[0] - f[0]) for f, m in found]
        return found[self._best(starts, 0.1, 0.1)]

    def moments(self) -> Affine:
        """Centres and main axes onto each other; of the proper rotations that do it and the centres alone, the one
        nearest to the best match.

        An axis has no sign, so there are four in 3-D and two in 2-D; the turn by less than a quarter is
        among them.
        """
        (centre, fixed), (moving_centre, moving) = self._anatomy
        first, second = np.linalg.eigh(fixed)[1], np.linalg.eigh(moving)[1]
        found = [self.centres()]
        for signs in itertools.product((1.0, -1.0), repeat=len(centre)):
            turn = second @ np.diag(signs) @ first.T
            if np.linalg.det(turn) > 0:
                found.append(Affine.about(centre, turn, moving_centre - centre))
        return found[self._best(found, 0.2, 0.8)]

    def _best(self, starts: Sequence[Transform], begun: float, share: float) -> int:
        """The start nearest to the best match that a few steps from any of them lead to; see `_ranked`."""
        arms = self.radius * np.eye(len(self.centre))
        points = torch.as_tensor(self.centre + np.concatenate([arms, -arms]))
        there = self._ranked(starts, begun, share)[0][1].apply(points)
        return min(range(len(starts)), key=lambda k: float((starts[k].apply(points) - there).norm(dim=1).mean()))

    def _chosen_start(self, given: Transform, history: dict[str, list[float]]) -> Transform:
        """The best of what was given, centres on centres, and the peaks of the search, each refined a
        little."""
        starts: list[Transform] = [given, self.centres(), *(c.transform for c in self._searched())]
        ranked = self._ranked(self._promising(starts), 0.2, 0.3)
        if not ranked:
            return self.centres()
        history["starts"] = [score for score, _ in ranked]
        return ranked[0][1]

    def _ranked(
        self, starts: Sequence[Transform], begun: float, share: float
    ) -> list[tuple[float, Transform]]:
        """(score, where a few rigid steps from a start lead), best first; of equal matches the earlier one.

        begun, share  of the progress
        """
        rigid, coarse = self.model("rigid"), self.scales[0]
        eye = torch.eye(self.problem.dimension + 1, dtype=torch.float64)
        ranked: list[tuple[float, Transform]] = []
        for k, start in enumerate(starts):
            stage = coarse.stage(start)
            result = descend(
                stage,
                rigid,
                rigid.zeros(),
                iterations=15,
                stiffness=0.0,
                least_overlap=0.8 * stage.overlap(eye),
                each_iteration=self._reporter(begun + share * k / len(starts), share / len(starts)),
            )
            linear = rigid.homogeneous(torch.as_tensor(result.parameters))
            total = compose(Affine.from_homogeneous(linear.numpy()), start)
            ranked.append((1 - result.value, total))
        return sorted(ranked, key=lambda r: -round(r[0], 3))

    def _promising(self, starts: list[Transform]) -> list[Transform]:
        """The first (given) start and the four best others, of those with enough overlap."""
        coarse, eye = self.scales[0], torch.eye(self.problem.dimension + 1, dtype=torch.float64)
        scored = []
        with torch.no_grad():
            for k, start in enumerate(starts):
                score, share = coarse.stage(start).score(eye)
                if float(share) >= LEAST_OVERLAP:
                    scored.append((float(score), k))
        others = sorted((entry for entry in scored if entry[1] > 0), key=lambda entry: -entry[0])[:4]
        kept = [entry for entry in scored if entry[1] == 0] + others
        return [starts[k] for _, k in kept]

    def _searched(self) -> list[Candidate]:
        """Peaks of the search over all translations: four upright, three of the best turned ones."""
        coarse = self.scales[0]
        search = TranslationSearch(
            coarse.whole_fixed, coarse.moving, coarse.fixed_region, coarse.moving_region
        )
        upright: list[Candidate] = []
        tilted: list[Candidate] = []
        turns = turned(self.problem.dimension)
        for k, turn in enumerate(turns):
            self.progress.update(0.1 + 0.1 * k / len(turns), "Looking for the start")
            if k == 0:
                upright = search.candidates(turn, coarse.moving.grid.centre, 4)
            else:
                tilted += search.candidates(turn, coarse.moving.grid.centre, 1)
        return upright + sorted(tilted, key=lambda c: -c.score)[:3]

    def _reporter(self, start: float, share: float) -> Callable[[int], None]:
        def report(iteration: int) -> None:
            if iteration % 3 == 0:
                self.progress.update(start + share * min(1.0, iteration / max(1, self.settings.iterations)))

        return report


def _scale(fixed: Scan, moving: Scan, make_objective: MakeObjective) -> _Scale:
    region, moving_region = foreground(fixed), foreground(moving)
    cut, _ = cropped(fixed, region, 3 * _mean_spacing(fixed.grid))
    return _Scale(cut, moving, fixed, region, moving_region, make_objective(cut, moving))


def _mean_spacing(grid: Grid) -> float:
    return float(np.mean(grid.spacing))


def automatic_spacing(fixed: Grid, voxels: int) -> float:
    """Working spacing (mm) that leaves a 3-D scan some `voxels`, and a 2-D image some 60 000."""
    wanted = voxels if fixed.dimension == 3 else 60_000
    return max(min(fixed.spacing), (math.prod(fixed.extent) / wanted) ** (1 / fixed.dimension))


def determined_axes(grid: Grid, region: torch.Tensor) -> np.ndarray:
    """(d, k) world directions along which the anatomy is wide enough to tell its stretch.

    An axis of the grid counts as thin where the anatomy is less than a quarter as long as along the longest.
    """
    occupied = region[0] > 0
    extents = []
    for k, s in enumerate(grid.spacing):
        axis = occupied.dim() - 1 - k
        line = occupied.movedim(axis, 0).reshape(occupied.shape[axis], -1).any(dim=1).nonzero().reshape(-1)
        extents.append((int(line[-1]) - int(line[0]) + 1) * s if len(line) else 0.0)
    wide = [k for k, e in enumerate(extents) if e >= 0.25 * max(extents)] or list(range(grid.dimension))
    return np.asarray(grid.direction)[:, wide]


def turned(dimension: int, degrees: float = 20.0) -> list[np.ndarray]:
    """The identity and rotations by +-`degrees` about every axis: patients do not lie quite alike."""
    out = [np.eye(dimension)]
    for i, j in itertools.combinations(range(dimension), 2):
        for angle in (math.radians(degrees), -math.radians(degrees)):
            m = np.eye(dimension)
            m[i, i] = m[j, j] = math.cos(angle)
            m[i, j], m[j, i] = -math.sin(angle), math.sin(angle)
            out.append(m)
    return out
