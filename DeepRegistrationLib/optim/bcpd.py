"""Multi-organ Bayesian coherent point drift: source points that belong to segments pushed onto target points.

    T(y_m) = s R (y_m + v_m) + t,   v ~ N(0, G),   x_n ~ sum_m a_m u(l_n, l_m) N(T(y_m), sigma^2 I)  or an outlier

G is the covariance of ops/segment_kernel.py. Coordinate ascent on the evidence lower bound repeats three updates until
the points stop:

    1. p_mn and its sums nu_m = sum_n p_mn, nu'_n = sum_m p_mn, x^_m = sum_n p_mn x_n / nu_m      (soft_assignment.py)
    2. v = (s^2 / sigma^2) Sigma diag(nu) (R^T (x^ - t) / s - y),  Sigma = (G^-1 + (s^2 / sigma^2) diag(nu))^-1
       a_m = exp(psi(kappa + nu_m) - psi(kappa M + sum nu))
    3. s, R, t: the weighted Procrustes fit of y + v onto x^, the uncertainty of v counted in its spread;
       sigma^2 = (sum_mn p_mn |x_n - T(y_m)|^2) / (d sum nu) + s^2 (sum nu_m Sigma_mm) / sum nu
       then s, R, t again: the least squares fit of y onto T(y), which v is counted from in the next round

Joutard et al., WBIR 2022, doi:10.1007/978-3-031-11203-4_9, after Hirose, IEEE TPAMI 43(7), 2021,
doi:10.1109/TPAMI.2020.2971687.

Differs from the papers: the first sigma^2 is the mean squared distance of pairs whose labels can belong together, not
of all pairs. The second fit of step 3 is new: a similarity transform and a smooth v can make much the same motion, and
the ascent passes what one has wrongly taken over to the other only very slowly (from a wide first sigma the scale came
out at 0.92 for identical points, with a v that stretched them back, and the whole volume around them shrank). It leaves
T at the points as it is. sigma has a floor, and what ends the iterations is how far the points move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from scipy.spatial import cKDTree

from ..core.progress import Progress
from ..ops.segment_kernel import SegmentKernel
from .displacement_prior import Posterior, Prior, segment_prior
from .soft_assignment import Assignment, SoftAssignment

#: gamma where the distance of the segments is added to the first sigma^2
_CLOSE = 0.03
#: with so many points on both sides, every _SHARE-th is matched first
_MANY, _SHARE = 1200, 4
#: how the similarity transform may look: may it turn, may it scale
_MOTIONS = {"none": (False, False), "translation": (False, False), "rigid": (True, False), "similarity": (True, True)}


@dataclass(frozen=True)
class Settings:
    """motion      of all segments together: none, translation, rigid, similarity
    outliers    omega, the share of target points that belong to nothing
    mixing      kappa: the larger, the more alike the a_m; None makes them all 1 / M
    start       gamma: scale of the first sigma^2. None: as wide as the segment that lies farthest off is
    iterations  at most
    tolerance   mm: mean movement of a point in one iteration that ends them
    left_out    share of the variance of G that its low-rank form may leave out; None keeps all of G
    rank        limit of the low-rank form for each group of segments that move together
    floor       mm: sigma is not allowed below
    coarse_first  where there are many points, match every fourth until sigma reaches the distance between them
    """

    motion: str = "similarity"
    outliers: float = 0.0
    mixing: float | None = None
    start: float | None = 1.0
    iterations: int = 100
    tolerance: float = 0.05
    left_out: float | None = 1e-4
    rank: int | None = 500
    floor: float = 0.1
    coarse_first: bool = True


@dataclass(frozen=True)
class Similarity:
    """p -> scale * rotation @ p + translation, mm."""

    scale: float
    rotation: torch.Tensor
    translation: torch.Tensor

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        return self.scale * points @ self.rotation.T + self.translation

    def back(self, points: torch.Tensor) -> torch.Tensor:
        return (points - self.translation) @ self.rotation / self.scale


@dataclass(frozen=True)
class Drift:
    """What was found. All mm, float64.

    source, labels the points (M, d) that were moved, and their segments (M,)
    similarity     acts after the displacement: T(p) = similarity(p + v(p))
    moved          (M, d) T at the source points
    prior          of v at the source points
    sigma          mm, of the last iteration
    converged      False where the iterations ran out
    history        sigma of every iteration, mm
    """

    source: torch.Tensor
    labels: torch.Tensor
    similarity: Similarity
    moved: torch.Tensor
    prior: Prior
    sigma: float
    converged: bool
    history: list[float] = field(default_factory=list)

    @property
    def displacement(self) -> torch.Tensor:
        """(M, d) v at the source points."""
        return self.similarity.back(self.moved) - self.source


def drift(
    source: torch.Tensor,
    source_labels: torch.Tensor,
    target: torch.Tensor,
    target_labels: torch.Tensor,
    kernel: SegmentKernel,
    transition: torch.Tensor,
    settings: Settings,
    progress: Progress | None = None,
) -> Drift:
    """Push source (M, d) onto target (N, d), mm, float64; labels are numbers 0..L-1 of the kernel's segments.

    transition  (L, L) u[l, k]: probability that a source point labelled k makes a target point labelled l

    On the device of `source`. Raises Cancelled through `progress`.
    """
    progress = progress or Progress()
    # about the middle of the target, so that no digits are lost on far-off coordinates
    middle = target.mean(dim=0)
    y, x = source - middle, target - middle
    variance = first_variance(y, source_labels, x, target_labels, transition)
    if settings.start is None:
        variance = _CLOSE * variance + farthest(y, source_labels, x, target_labels)
    else:
        variance *= settings.start
    similarity = Similarity(1.0, torch.eye(y.shape[1], dtype=y.dtype, device=y.device), torch.zeros_like(middle))
    moved = y
    history: list[float] = []
    progress.update(0.0, "Preparing the segments")
    for step in (_SHARE, 1) if settings.coarse_first and min(len(y), len(x)) >= _MANY else (1,):
        labels = source_labels[::step]
        assign = SoftAssignment(x[::step], target_labels[::step], labels, transition)
        prior = segment_prior(y[::step], labels, kernel, settings.left_out, settings.rank)
        state = _State(y[::step], x[::step], moved[::step], similarity, variance, settings)
        part = progress.part(0.0, 0.5) if step > 1 else progress.part(0.5 if history else 0.0, 1.0)
        # a sparse sample tells nothing that is finer than the distance between its points
        least = _spacing(state.x, target_labels[::step]) ** 2 if step > 1 else 0.0
        converged = _ascend(state, assign, prior, least, history, part)
        similarity, variance, moved = state.similarity, state.variance, state.moved
        if step > 1:
            v = prior.continued(similarity.back(moved) - state.y)
            at = prior.support
            moved = similarity.apply(y + kernel(y, source_labels, state.y[at], labels[at]) @ v)
    progress.update(1.0)
    found = state.similarity
    # T about the origin of the world again: p -> s R (p - middle + v) + t + middle
    to_world = found.translation + middle - found.scale * found.rotation @ middle
    shifted = Similarity(found.scale, found.rotation, to_world)
    return Drift(source, source_labels, shifted, state.moved + middle, prior, history[-1], converged, history)


def _ascend(
    state: _State, assign: SoftAssignment, prior: Prior, least: float, history: list[float], progress: Progress
) -> bool:
    """Rounds of updates until the points stop or sigma^2 is below `least` mm^2; False where the iterations ran out."""
    done, iterations = 0.0, state.settings.iterations
    for k in range(iterations):
        done = max(done, _guessed(k, iterations, state.variance, history))
        progress.update(done, "Matching the surfaces")
        if state.variance < least:
            return True
        before = state.moved
        state.improve(assign, prior)
        history.append(math.sqrt(state.variance))
        if k > 0 and float((state.moved - before).norm(dim=1).mean()) < state.settings.tolerance:
            return True
    return False


def _spacing(points: torch.Tensor, labels: torch.Tensor) -> float:
    """mm: largest over the labels of the mean distance from a point to the nearest of its label."""
    largest = 0.0
    for label in torch.unique(labels).tolist():
        own = points[labels == label].cpu().numpy()
        if len(own) > 1:
            largest = max(largest, float(cKDTree(own).query(own, k=2)[0][:, 1].mean()))
    return largest


def _guessed(k: int, iterations: int, variance: float, history: list[float]) -> float:
    """Share done: sigma falls by about the same factor each time until it settles, mostly near a fortieth."""
    fallen = math.log(history[0] / math.sqrt(variance)) / math.log(40) if history else 0.0
    return min(0.99, max(k / iterations, 0.9 * min(1.0, fallen)))


def farthest(y: torch.Tensor, y_labels: torch.Tensor, x: torch.Tensor, x_labels: torch.Tensor) -> float:
    """mm^2: the largest squared distance, over d, between the middles of a segment's points on the two sides."""
    largest = 0.0
    for label in torch.unique(y_labels).tolist():
        other = x[x_labels == label]
        if len(other):
            apart = y[y_labels == label].mean(dim=0) - other.mean(dim=0)
            largest = max(largest, float(apart.square().sum()))
    return largest / y.shape[1]


def first_variance(
    y: torch.Tensor, y_labels: torch.Tensor, x: torch.Tensor, x_labels: torch.Tensor, transition: torch.Tensor
) -> float:
    """mm^2: mean of |x_n - y_m|^2 / d over all pairs, weighted by u."""
    total = weight = 0.0
    for a in torch.unique(y_labels).tolist():
        p = y[y_labels == a]
        for b in torch.unique(x_labels).tolist():
            q, u = x[x_labels == b], float(transition[b, a])
            pairs = u * len(p) * len(q)
            apart = float((p.mean(dim=0) - q.mean(dim=0)).square().sum())
            spread = sum(float((c - c.mean(dim=0)).square().sum(dim=1).mean()) for c in (p, q))
            total, weight = total + pairs * (apart + spread), weight + pairs
    return total / max(weight, 1e-300) / y.shape[1]


class _State:
    """The variables of the bound, and one round of updates."""

    def __init__(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        moved: torch.Tensor,
        similarity: Similarity,
        variance: float,
        settings: Settings,
    ) -> None:
        m = len(y)
        self.y, self.x, self.settings = y, x, settings
        self.variance = max(variance, settings.floor**2)
        self.similarity, self.moved = similarity, moved
        self.spread = y.new_zeros(m)
        self.log_mixing = y.new_full((m,), -math.log(m))
        extent = (x.amax(dim=0) - x.amin(dim=0)).clamp_min(1.0)
        share = settings.outliers
        self.outliers = share / (1 - share) / float(extent.prod())

    def improve(self, assign: SoftAssignment, prior: Prior) -> None:
        s, d = self.similarity.scale, self.y.shape[1]
        # where v is uncertain its Gaussian is wider than sigma: it gets less of the target
        penalty = s**2 * d * self.spread / (2 * self.variance)
        found = assign(self.moved, self.log_mixing - penalty, self.variance, self.outliers)
        factor = s**2 / self.variance
        # nu_m (similarity^-1(x^_m) - y_m) without dividing by a nu_m that may be 0
        mass = found.mass[:, None]
        residual = (found.pulled - mass * self.similarity.translation) @ self.similarity.rotation / s - mass * self.y
        posterior = prior.posterior(factor * found.mass, factor * residual)
        self._mix(found)
        self._fit(found, posterior)

    def _mix(self, found: Assignment) -> None:
        if self.settings.mixing is not None:
            kappa = torch.tensor(self.settings.mixing, dtype=self.y.dtype, device=self.y.device)
            total = torch.special.digamma(kappa * len(self.y) + found.mass.sum())
            self.log_mixing = torch.special.digamma(kappa + found.mass) - total

    def _fit(self, found: Assignment, posterior: Posterior) -> None:
        d, count = self.y.shape[1], float(found.mass.sum())
        u, weight = self.y + posterior.mean, found.mass[:, None] / max(count, 1e-12)
        self.spread = posterior.variance.clamp_min(0)
        spread = float((weight[:, 0] * self.spread).sum())
        mean_x, mean_u = found.pulled.sum(dim=0) / max(count, 1e-12), (weight * u).sum(dim=0)
        if self.settings.motion != "none" and count > d:
            across = (found.pulled / count).T @ u - torch.outer(mean_x, mean_u)
            within = float((weight * (u - mean_u).square()).sum()) + d * spread
            self.similarity = _procrustes(across, within, mean_x, mean_u, *_MOTIONS[self.settings.motion])
        self.moved = self.similarity.apply(u)
        apart = (found.known * self.x.square().sum(dim=1)).sum() - 2 * (self.moved * found.pulled).sum()
        squared = float(apart + (found.mass * self.moved.square().sum(dim=1)).sum())
        variance = squared / (max(count, 1e-12) * d) + self.similarity.scale**2 * spread
        self.variance = max(variance, self.settings.floor**2)
        if self.settings.motion != "none":
            self.similarity = fitted(self.y, self.moved, *_MOTIONS[self.settings.motion])


def fitted(points: torch.Tensor, moved: torch.Tensor, turns: bool, scales: bool) -> Similarity:
    """The similarity transform that takes points (M, d) nearest to moved (M, d), least squares."""
    mean_x, mean_u = moved.mean(dim=0), points.mean(dim=0)
    across = (moved - mean_x).T @ (points - mean_u)
    return _procrustes(across, float((points - mean_u).square().sum()), mean_x, mean_u, turns, scales)


def _procrustes(
    across: torch.Tensor, within: float, mean_x: torch.Tensor, mean_u: torch.Tensor, turns: bool, scales: bool
) -> Similarity:
    """The similarity that takes u nearest to x: across = <x u^T> and within = <|u|^2> about the means."""
    rotation = torch.eye(len(mean_x), dtype=across.dtype, device=across.device)
    if turns:
        left, _, right = torch.linalg.svd(across)
        sign = torch.ones_like(mean_x)
        sign[-1] = torch.linalg.det(left @ right).sign()
        rotation = (left * sign) @ right
    scale = float((rotation * across).sum()) / within if scales and within > 0 else 1.0
    scale = scale if scale > 0 else 1.0
    return Similarity(scale, rotation, mean_x - scale * rotation @ mean_u)
