"""The two stages of ConvexAdam on a working pair: a wide discrete search, then instance optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ..core.errors import InputError
from ..core.grid import Grid, apply_matrix_torch
from ..core.problem import RegistrationProblem
from ..core.progress import Progress, Tick, no_tick
from ..core.transform import Transform
from ..ops.local_contrast import local_contrast
from ..ops.mind import mind_ssc
from ..ops.splines import evaluate, linear_basis
from .convex import coupled_convex, symmetrise
from .instance import FeatureTerm, LandmarkTerm, Level, data_energy, optimise
from .parametric import Positions, SplineField
from .working_pair import WorkingPair, one_hot, pooled

#: the instance optimisation looks at features averaged over blocks of this many working voxels
STRIDE = 2

#: a flow cannot fold, so that its velocity may be half as stiff as a displacement for the same detail
FLOW_SMOOTHNESS = 0.5

#: small images are looked at whole: fewer cells than this give too noisy a gradient
ENOUGH_CELLS = 10_000

#: the same for the one channel of intensity, which is noisier and cheaper
ENOUGH_VOXELS = 40_000

#: widths of the knots before the fine ones, in fine knots; how the history calls them; their share of the progress
WIDTHS = (4, 2)
_NAMES = {4: "stiff", 2: "coarse"}
_COARSE_SHARE = {4: 0.1, 2: 0.19}

#: looked-at cells are at most this many knot spacings apart
APART = 1.5


@dataclass(frozen=True)
class RefinementSettings:
    """The numbers of the instance optimisation; lengths in working voxels. See methods/refinement_parameters.py for
    words."""

    mind_radius: int
    mind_dilation: int
    knots: float
    coarse_iterations: int
    iterations: int
    step: float
    smoothness: float
    mind_weight: float
    intensity_weight: float
    intensity_radius: int
    segmentation_weight: float
    diffeomorphic: bool
    seed: int


@dataclass(frozen=True)
class Settings(RefinementSettings):
    """The numbers of both stages. See methods/deformable/convex_adam.py for words."""

    search_grid: int
    search_cells: int
    search_both_ways: bool


@dataclass(frozen=True)
class Features:
    """Feature images STRIDE working voxels apart, (C, [Z,] Y, X), with trust and known ([Z,] Y, X)."""

    fixed: torch.Tensor
    moving: torch.Tensor
    trust: torch.Tensor
    known: torch.Tensor

    def coarser(self, factor: int) -> Features:
        return Features(
            pooled(self.fixed, factor),
            pooled(self.moving, factor),
            pooled(self.trust[None], factor)[0],
            pooled(self.known[None], factor)[0],
        )

    def contrast(self) -> float:
        """Variance within a scan, summed over the channels: half the squared distance of two cells at random."""
        return float(sum(f.flatten(1).var(dim=1).sum() for f in (self.fixed, self.moving))) / 2

    def term(self, weight: float, knots: float) -> FeatureTerm:
        every = sublattice(self.fixed.shape[1:], STRIDE, knots)
        return FeatureTerm(self.fixed, self.moving, self.trust, self.known, STRIDE, weight, every)


def deform(
    pair: WorkingPair,
    settings: Settings,
    progress: Progress,
    labels: tuple[torch.Tensor, torch.Tensor] | None = None,
    landmarks: LandmarkTerm | None = None,
    fuse: Callable[[Features], Features] | None = None,
) -> tuple[SplineField, dict[str, list[float]]]:
    """Displacement (or velocity, where diffeomorphic) of the working pair, and the objective by stage.

    labels  one-hot label shares of fixed and moving (K, pooled by STRIDE)
    fuse    makes learned features, which know the labels, of the MIND features; the search then looks at these alone
    """
    progress.update(0.0, "Computing features")
    features, balance = mind_features(pair, settings, progress.tick), 1.0
    if fuse is not None:
        progress.update(0.1, "Mixing features of image and segmentations")
        mind, features = features, fuse(features)
        # smoothness is weighed against the contrast of MIND
        balance = mind.contrast() / max(features.contrast(), 1e-12)
        del mind
    progress.update(0.15, "Searching large motion")
    start = search(features, settings, labels if fuse is None else None, progress.tick)
    progress.update(0.3, "Searching large motion")
    return refine(pair, settings, progress.part(0.3, 1.0), start, features, labels, landmarks, balance)


def refine(
    pair: WorkingPair,
    settings: RefinementSettings,
    progress: Progress,
    start: Callable[[Positions], torch.Tensor],
    features: Features,
    labels: tuple[torch.Tensor, torch.Tensor] | None = None,
    landmarks: LandmarkTerm | None = None,
    balance: float = 1.0,
    widths: Sequence[int] = WIDTHS,
) -> tuple[SplineField, dict[str, list[float]]]:
    """Instance optimisation alone, from any start: the displacement (or velocity) and the objective by stage.

    start     displacement (or velocity) (d, crossings) in working voxels at crossings of positions
    features  what the coarse knots compare; weighed by `balance`
    labels    one-hot label shares of fixed and moving (K, pooled by STRIDE)
    widths    of the knots before the fine ones, in fine knots
    """
    knots = settings.knots
    spline = SplineField.fitted(pair.fixed.shape, widths[0] * knots if widths else knots, start, pair.fixed.device)
    history: dict[str, list[float]] = {}

    def level(name: str, spline: SplineField, terms: list[FeatureTerm], count: int, part: Progress) -> SplineField:
        numbers = _level(terms, spline.knots, count, settings, features, labels, landmarks)
        numbers = replace(numbers, settles=name == "fine")
        spline, history[name] = optimise(spline, numbers, settings.seed, lambda f: part.update(f, f"Refining, {name}"))
        return spline

    # knots far apart first: outliers of the search are talked out of by what lies around them
    begin = 0.0
    for width in widths:
        terms, end = [features.term(balance, width * knots)], begin + _COARSE_SHARE[width]
        part = progress.part(begin, end)
        spline = level(_NAMES[width], spline.refined(width * knots), terms, settings.coarse_iterations, part)
        begin = end
    fine = [] if settings.mind_weight == 0 else [features.term(balance * settings.mind_weight, knots)]
    if settings.intensity_weight > 0:
        fine.append(_intensity_term(pair, settings))
    spline = level("fine", spline.refined(knots), fine, settings.iterations, progress.part(begin, 1.0))
    return spline, history


def coarse_data_energy(
    pair: WorkingPair,
    settings: RefinementSettings,
    start: Callable[[Positions], torch.Tensor],
    knots: float,
    features: Features,
    labels: tuple[torch.Tensor, torch.Tensor] | None = None,
    landmarks: LandmarkTerm | None = None,
) -> tuple[float, float]:
    """What `refine` minimises on coarse knots besides smoothness, of a start fitted with knots so many voxels apart,
    and how much of the fixed scan that leads to known ground, 0..1. The others are as in `refine`."""
    spline = SplineField.fitted(pair.fixed.shape, knots, start, pair.fixed.device)
    return data_energy(spline, _level([features.term(1.0, knots)], knots, 0, settings, features, labels, landmarks))


def _level(
    terms: list[FeatureTerm],
    knots: float,
    count: int,
    settings: RefinementSettings,
    features: Features,
    labels: tuple[torch.Tensor, torch.Tensor] | None,
    landmarks: LandmarkTerm | None,
) -> Level:
    """`terms` and those of labels and landmarks, with knots so far apart."""
    if labels is not None:
        weight, every = settings.segmentation_weight, sublattice(labels[0].shape[1:], STRIDE, knots)
        terms = [*terms, FeatureTerm(*labels, features.trust, features.known, STRIDE, weight, every)]
    return Level(terms, knots, count, settings.step, settings.smoothness, landmarks, settings.diffeomorphic)


def mind_features(pair: WorkingPair, settings: RefinementSettings, tick: Tick = no_tick) -> Features:
    """MIND-SSC of both scans, averaged over blocks of STRIDE voxels."""
    fixed = pooled(mind_ssc(pair.fixed, settings.mind_radius, settings.mind_dilation, pair.trust), STRIDE)
    tick()
    moving = pooled(mind_ssc(pair.moving, settings.mind_radius, settings.mind_dilation, pair.known), STRIDE)
    known = pooled(pair.known[None], STRIDE)[0]
    trust = torch.ones_like(known) if pair.trust is None else pooled(pair.trust[None], STRIDE)[0]
    return Features(fixed, moving, trust, known)


def search(
    features: Features, settings: Settings, labels: tuple[torch.Tensor, torch.Tensor] | None, tick: Tick = no_tick
) -> Callable[[Positions], torch.Tensor]:
    """Coupled convex search on a coarse grid; the displacement as a function of positions, working voxels."""
    factor = max(1, round(settings.search_grid / STRIDE))
    coarse = features.coarser(factor)
    fixed, moving = coarse.fixed, coarse.moving
    if labels is not None:
        weight = settings.segmentation_weight**0.5
        fixed = torch.cat([fixed, weight * pooled(labels[0], factor)])
        moving = torch.cat([moving, weight * pooled(labels[1], factor)])
    field = coupled_convex(fixed, moving, settings.search_cells, coarse.known, coarse.trust, tick=tick)
    if settings.search_both_ways:
        # on the way back a fixed mask says what is known; without one the edge is held, as beyond any image
        masked = bool((coarse.trust < 1).any())
        backward = coupled_convex(moving, fixed, settings.search_cells, coarse.trust if masked else None, tick=tick)
        field, _ = symmetrise(field, backward)
    cell = factor * STRIDE

    def displacement(positions: Positions) -> torch.Tensor:
        bases = [
            linear_basis((p - (cell - 1) / 2) / cell, n, 1.0)
            for p, n in zip(positions, field.shape[1:], strict=True)
        ]
        return evaluate(field, bases) * cell

    return displacement


def sublattice(shape: Sequence[int], stride: int, knots: float, enough: int = ENOUGH_CELLS) -> int:
    """Step between looked-at cells: at most APART knot spacings, and so that `enough` are left in any case."""
    spare = math.prod(shape) / enough
    return max(1, min(round(APART * knots / stride), int(spare ** (1 / len(shape)))))


def _intensity_term(pair: WorkingPair, settings: RefinementSettings) -> FeatureTerm:
    fixed = local_contrast(pair.fixed, settings.intensity_radius, counts=pair.trust)[None]
    moving = local_contrast(pair.moving, settings.intensity_radius, counts=pair.known)[None]
    trust = torch.ones_like(pair.known) if pair.trust is None else pair.trust
    every = sublattice(pair.fixed.shape, 1, settings.knots, ENOUGH_VOXELS)
    return FeatureTerm(fixed, moving, trust, pair.known, 1, settings.intensity_weight, every)


def shared_labels(
    problem: RegistrationProblem, grid: Grid, initial: Transform | None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """One-hot shares of the labels both segmentations have, pooled by STRIDE; None where there are none to match."""
    fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
    if fixed is None or moving is None:
        return None
    values = sorted(set(fixed.label_values) & set(moving.label_values))
    if not values:
        raise InputError(
            f"The fixed segmentation has labels {fixed.label_values} and the moving one {moving.label_values}: "
            "none is in both; give matching segments the same value or leave the segmentations out."
        )
    return one_hot(fixed, grid, None, values, STRIDE), one_hot(moving, grid, initial, values, STRIDE)


def landmark_term(
    problem: RegistrationProblem, grid: Grid, initial: Transform | None, weight: float
) -> LandmarkTerm | None:
    """Landmark pairs in working voxels; moving landmarks are taken back through the pre-alignment."""
    fixed, moving = problem.fixed_landmarks, problem.moving_landmarks
    if fixed is None or moving is None or weight <= 0:
        return None
    back = moving.points if initial is None else initial.inverse().transform.apply(moving.points)
    device = problem.fixed.data.device

    def index(points: torch.Tensor) -> torch.Tensor:
        return apply_matrix_torch(grid.world_to_index, points).to(device, torch.float32)

    return LandmarkTerm(index(fixed.points), index(back), weight)
