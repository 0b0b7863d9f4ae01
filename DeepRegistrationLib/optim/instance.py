"""Instance optimisation: Adam on the knots of a cubic B-spline, for one pair of scans.

    E(c) = sum_t w_t mean_x g_t(x) |F_t(x) - M_t(x + u(x))|^2 + lambda mean |grad u|^2
           + mu mean_i |p_i + u(p_i) - q_i|^2

F_t and M_t are feature images (MIND, locally normalised intensity, one-hot labels), u the spline (or the exponential
of it). Each step looks at one sub-lattice of every feature image, another one each time: the same expectation at a
fraction of the cost.

Siebert, Hansen, Heinrich: Fast 3D registration with accurate optimisation and little learning for Learn2Reg 2021
(ConvexAdam), doi:10.1007/978-3-030-97281-3_14; Heinrich, Hansen: VoxelMorph++, WBIR 2022,
doi:10.1007/978-3-031-11203-4_10. Differs from the papers: cubic B-spline knots instead of a box-filtered dense grid,
sub-lattices instead of all voxels, a step that decays, unknown ground outside the moving field of view.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..core.sampling import sample_index
from .adam import Adam
from .parametric import FlowField, SplineField

Field = SplineField | FlowField


@dataclass(frozen=True)
class FeatureTerm:
    """One squared-difference term on features that are `stride` working voxels apart.

    fixed, moving  (C, [Z,] Y, X); cell i covers working voxels i * stride ... (i + 1) * stride - 1
    trust          ([Z,] Y, X) weight of each fixed cell, 0..1
    known          ([Z,] Y, X) 1 where the moving scan was seen, 0 outside its field of view
    weight         w_t
    every          one of every^d cells is looked at in each iteration
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    trust: torch.Tensor
    known: torch.Tensor
    stride: int
    weight: float
    every: int


@dataclass(frozen=True)
class LandmarkTerm:
    """Fixed points (N, d) and where they should go, working voxels, components x, y[, z]."""

    fixed: torch.Tensor
    moving: torch.Tensor
    weight: float


@dataclass(frozen=True)
class Level:
    """`iterations` Adam steps with knots `knots` working voxels apart; `step` is Adam's first step in voxels.

    settles  steps shrink to nothing, so that the noise of looking at one sub-lattice at a time averages out; else to a
             tenth, which goes farther, for a level that another one follows
    """

    terms: Sequence[FeatureTerm]
    knots: float
    iterations: int
    step: float
    smoothness: float
    landmarks: LandmarkTerm | None = None
    diffeomorphic: bool = False
    settles: bool = False


def optimise(
    start: SplineField, level: Level, seed: int, report: Callable[[float], None]
) -> tuple[SplineField, list[float]]:
    """Adam from `start`, whose knots are the level's; gives the new spline and the objective by iteration.

    report  called with 0..1 every iteration; may raise Cancelled
    """
    coefficients = start.coefficients.clone().requires_grad_(True)
    adam = Adam(coefficients.detach())
    order = torch.Generator().manual_seed(seed)
    offsets = {t.every: _offsets(t.every, len(start.shape), order) for t in level.terms}
    moving = [_with_known(t) for t in level.terms]
    history: list[float] = []
    for i in range(level.iterations):
        report(i / level.iterations)
        loss = level.smoothness * strain_energy(coefficients, level.knots)
        field = displacement_of(SplineField(start.shape, level.knots, coefficients), level.diffeomorphic)
        for term, features in zip(level.terms, moving, strict=True):
            turn = offsets[term.every]
            loss = loss + term.weight * _dissimilarity(term, features, field, turn[i % len(turn)])[0]
        if level.landmarks is not None:
            loss = loss + level.landmarks.weight * _landmark_distance(level.landmarks, field)
        (gradient,) = torch.autograd.grad(loss, coefficients)
        adam.step(gradient, level.step * _shrunk(i / level.iterations, level.settles))
        history.append(float(loss.detach()))
    return SplineField(start.shape, level.knots, coefficients.detach()), history


def _shrunk(t: float, settles: bool) -> float:
    """A step relative to the first one, t = 0..1 of the way."""
    return (1 - t) ** 1.5 if settles else 1 - 0.9 * t


def displacement_of(spline: SplineField, diffeomorphic: bool) -> Field:
    """The spline itself, or its exponential."""
    return FlowField(spline, spline.knots) if diffeomorphic else spline


@torch.no_grad()
def data_energy(spline: SplineField, level: Level) -> tuple[float, float]:
    """E without its smoothness on one sub-lattice of every feature image, and how much of the (trusted) fixed cells of
    the first one u leads to known ground, 0..1."""
    field = displacement_of(spline, level.diffeomorphic)
    total, seen = 0.0, []
    for term in level.terms:
        middle = (term.every // 2,) * (term.fixed.dim() - 1)
        unlike, known = _dissimilarity(term, _with_known(term), field, middle)
        total += term.weight * float(unlike)
        seen.append(float(known))
    if level.landmarks is not None:
        total += level.landmarks.weight * float(_landmark_distance(level.landmarks, field))
    return total, seen[0]


def strain_energy(coefficients: torch.Tensor, knots: float) -> torch.Tensor:
    """mean over knots of |grad u|^2 (dimensionless), by differences of neighbouring coefficients."""
    total = coefficients.new_zeros(())
    for axis in range(1, coefficients.dim()):
        total = total + (coefficients.diff(dim=axis) / knots).square().mean() * coefficients.shape[0]
    return total


def _offsets(every: int, d: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    offsets = list(itertools.product(range(every), repeat=d))
    return [offsets[k] for k in torch.randperm(len(offsets), generator=generator).tolist()]


def _dissimilarity(
    term: FeatureTerm, moving: torch.Tensor, field: Field, offset: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """mean_x g(x) |F(x) - M(x + u(x))|^2 on a sub-lattice, and the share of its trust that is known in moving.

    moving  carries the term's `known` as its last channel, so that both are sampled at once
    """
    shape, device = term.fixed.shape[1:], term.fixed.device
    # an axis shorter than the sub-lattice step still has to be seen each time
    cells = [
        torch.arange(min(o, n - 1), n, term.every, device=device, dtype=torch.float32)
        for o, n in zip(offset, shape, strict=True)
    ]
    u = field.lattice([c * term.stride + (term.stride - 1) / 2 for c in cells])
    mesh = torch.stack(torch.meshgrid(*cells, indexing="ij")[::-1], dim=0)
    where = torch.movedim(mesh + u / term.stride, 0, -1)
    pick = tuple(slice(int(c[0]), None, term.every) for c in cells)
    sampled = sample_index(moving, where, outside=None)
    trust = term.trust[pick]
    weight = trust * sampled[-1].detach()
    difference = term.fixed[(slice(None), *pick)] - sampled[:-1]
    known = weight.sum().clamp(min=1.0)
    return (difference.square().sum(dim=0) * weight).sum() / known, weight.sum() / trust.sum().clamp(min=1.0)


def _with_known(term: FeatureTerm) -> torch.Tensor:
    """(C + 1, [Z,] Y, X): the moving features and, last, where they are known; unknown at the very border, whose
    value is held outside the grid."""
    known = term.known.clone()
    for axis, n in enumerate(known.shape):
        if n > 2:
            known.narrow(axis, 0, 1).zero_()
            known.narrow(axis, n - 1, 1).zero_()
    return torch.cat([term.moving, known[None]])


def _landmark_distance(term: LandmarkTerm, field: Field) -> torch.Tensor:
    """mean_i |p_i + u(p_i) - q_i|^2, voxels^2."""
    return (term.fixed + field.points(term.fixed) - term.moving).square().sum(dim=1).mean()
