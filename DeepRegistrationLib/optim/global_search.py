"""Rigid alignment from any orientation: rotations tried over a pyramid, all shifts at once, the best ones refined.

    (R, t) = argmax  S(t; A, B o R)      S as in `ops.fft_ngf`

Öfverstedt, Lindblad, Sladoje, Cross-Sim-NGF, WBIR 2022, doi:10.48550/arXiv.2110.10156, section 3.1. Differs from the
paper: the first rotations are spread evenly instead of drawn one by one; what is kept from one level to the next are
poses that differ; the levels end where a gradient descent over the pose takes over, which needs no rotations and finds
shifts between voxels; and the final order is that of the full working resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..ops.gradients import spatial_gradient
from ..ops.ngf import edge_level, normalised_gradient
from ..transforms import Affine
from .linear_engine import Stage, descend
from .linear_images import first_moments
from .linear_registration import LEAST_OVERLAP, LinearRegistration
from .rotations import Matrices, angles_between, nearby_rotations, spread_rotations
from .shift_search import Pose, ShiftSearch

if TYPE_CHECKING:
    from .linear_registration import _Scale as Scale

#: poses closer than this, as a share of the anatomy's radius, are one answer
_APART = 0.25
#: an anatomy longer than so many times the root of its box is looked at more coarsely
_SLENDER = 2.2
_ROUGH_ITERATIONS = 30
#: share of its score that the first objective gives up for the second
_AGREED = 0.95
#: scores that differ less than this after the descent are equal
_TIE = 0.001


@dataclass(frozen=True)
class SearchSettings:
    """How far and how finely to look.

    rotations      tried at the coarsest spacing, over all orientations; None: 1000, or 180 in two dimensions
    across         working voxels along the anatomy (the root of its bounding box) at the coarsest spacing; None: 15,
                   or 40 in two dimensions
    largest_angle  degrees from the orientation of the start; 180 is all
    least_overlap  share of the smaller scan that has to lie on the other one
    smoothing      sigma before the gradients, in units of the spacing
    squared        False compares signed edges (for scans of one kind only)
    kept           poses handed from the coarsest spacing to the next, and from there to the descent
    tries          rotations near each kept pose, at the coarsest spacing and the next
    results        poses that come back at most
    iterations     of the descents
    """

    rotations: int | None = None
    across: float | None = None
    largest_angle: float = 180.0
    least_overlap: float = 0.5
    smoothing: float = 0.4
    squared: bool = True
    kept: tuple[int, int, int] = (24, 12, 6)
    tries: tuple[int, int] = (5, 2)
    results: int = 3
    iterations: int = 40


@dataclass(frozen=True)
class Found:
    """One rigid placement. `score`: the objective of the full working resolution, higher is better; `edges`: mean
    squared similarity of the edges, 0 to 1; `overlap`: share of the fixed anatomy that meets moving data; `degrees`
    from the orientation of the start."""

    transform: Affine
    score: float
    edges: float
    overlap: float
    degrees: float


class PoseDistance:
    """Root mean square of |a(x) - b(x)|, mm, over an anatomy of given centre (d,) and covariance (d, d)."""

    def __init__(self, centre: np.ndarray, covariance: np.ndarray) -> None:
        self.centre, self.covariance = centre, covariance

    def __call__(self, a: Affine, b: Affine) -> float:
        turn = (a.matrix - b.matrix).numpy()
        shift = turn @ self.centre + (a.translation - b.translation).numpy()
        return float(np.sqrt(shift @ shift + np.trace(turn @ self.covariance @ turn.T)))

    @property
    def radius(self) -> float:
        """Root mean square distance of the anatomy from its centre, mm."""
        return float(np.sqrt(max(np.trace(self.covariance), 1e-12)))


def distinct(
    poses: Sequence[Pose], apart: float, count: int, distance: PoseDistance, tie: float = 0.0
) -> list[Pose]:
    """The `count` best poses, best first, of which no two are closer than `apart` mm.

    tie  scores that agree to this much are taken as equal; of these the earlier pose is kept
    """
    out: list[Pose] = []
    for pose in sorted(poses, key=lambda p: -(round(p.score / tie) if tie else p.score)):
        if all(distance(pose.transform, other.transform) >= apart for other in out):
            out.append(pose)
            if len(out) == count:
                break
    return out


class GlobalSearch:
    """One search; `run` does it.

    registration  the two scans at the working spacings of a linear registration and its objective: at least two
                  levels; the descents work on the two finest
    second        the same scans with another objective, at one level or more, by which the answers are corrected as
                  far as `registration` allows; None for none
    """

    def __init__(
        self,
        registration: LinearRegistration,
        settings: SearchSettings,
        generator: torch.Generator,
        second: LinearRegistration | None = None,
    ) -> None:
        self.registration, self.settings, self.generator = registration, settings, generator
        self.second = second
        self.progress = registration.progress
        flat = registration.problem.dimension == 2
        self.rotations = settings.rotations or (180 if flat else 1000)
        across = settings.across or (40.0 if flat else 15.0)
        source = registration.scales[-2]
        self.centre, covariance = first_moments(source.fixed_region, source.whole_fixed.grid)
        self.distance = PoseDistance(self.centre, covariance)
        finest = registration.scales[-1]
        self.spacing = _coarsest(finest.fixed_region, finest.whole_fixed.grid.spacing, across)

    def run(self, start: Affine) -> list[Found]:
        """The best rigid placements, best first; `start` is one of those that are tried."""
        poses = self._searched(start)
        return self._refined([p.transform for p in poses], start)

    # ------------------------------------------------------------------ search

    def _level(self, spacing: float) -> ShiftSearch:
        scale = self.registration.scales[-1]
        s = self.settings
        return ShiftSearch(
            scale.whole_fixed, scale.moving, scale.fixed_region, scale.moving_region, spacing,
            smoothing=s.smoothing, least_overlap=s.least_overlap, squared=s.squared,
        )  # fmt: skip

    def _searched(self, start: Affine) -> list[Pose]:
        s, gap = self.settings, self._gap()
        coarse = self._level(self.spacing)
        rotations = self._first(start.matrix.numpy())
        poses = coarse.best(rotations, self._reporter(0.1, 0.4, "Trying all orientations"))
        apart = _APART * self.distance.radius
        kept = distinct(poses, 0.7 * apart, s.kept[0], self.distance)
        near = self._allowed(self._near(kept, s.tries[0], 0.7 * gap), start.matrix.numpy())
        tried = coarse.best(near, self._reporter(0.5, 0.1, "Trying near the best"))
        kept = distinct(kept + tried, apart, s.kept[1], self.distance)
        fine = self._level(self.spacing / 2)
        near = self._allowed(self._near(kept, s.tries[1], 0.35 * gap), start.matrix.numpy())
        same = np.array([p.rotation for p in kept]).reshape(-1, *start.matrix.shape)
        poses = fine.best(np.concatenate([same, near]), self._reporter(0.6, 0.1, "Looking closer"))
        return distinct(poses, apart, s.kept[2], self.distance)

    def _gap(self) -> float:
        """Degrees between neighbours among the first rotations: of a ball that holds one of them on average."""
        if self.registration.problem.dimension == 2:
            return 360.0 / self.rotations
        return float(np.degrees((6 * np.pi / self.rotations) ** (1 / 3)))

    def _first(self, around: np.ndarray) -> Matrices:
        spread = spread_rotations(self.rotations, len(around), self.generator)
        return np.concatenate([around[None], self._allowed(spread, around)])

    def _allowed(self, rotations: Matrices, around: np.ndarray) -> Matrices:
        return rotations[angles_between(rotations, around) <= self.settings.largest_angle]

    def _near(self, poses: Sequence[Pose], count: int, degrees: float) -> Matrices:
        d = self.registration.problem.dimension
        turns = nearby_rotations(len(poses) * count, d, degrees, self.generator).reshape(-1, count, d, d)
        return np.concatenate([turns[k] @ p.rotation for k, p in enumerate(poses)]) if poses else np.zeros((0, d, d))

    # ------------------------------------------------------------------ descent

    def _refined(self, starts: Sequence[Affine], given: Affine) -> list[Found]:
        """Both levels of the descent from each start; the poses that differ, best first.

        Of equal matches the given start is kept.
        """
        coarse, fine = self.registration.scales[-2:]
        eye = torch.eye(len(self.centre) + 1, dtype=torch.float64)
        possible = [given] if coarse.stage(given).overlap(eye) >= LEAST_OVERLAP else []
        rough = self._descended(coarse, [*possible, *starts], _ROUGH_ITERATIONS, 0.7, 0.15)
        rough = distinct(rough, _APART * self.distance.radius, self.settings.results, self.distance, _TIE)
        share = 0.14 if self.second is None else 0.07
        sharp = self._descended(fine, [p.transform for p in rough], self.settings.iterations, 0.85, share)
        if self.second is not None:
            sharp = self._corrected(sharp, self.second.scales[-1], fine)
        sharp = distinct(sharp, _APART * self.distance.radius, self.settings.results, self.distance, _TIE)
        self.progress.update(1.0)
        return [
            Found(
                p.transform,
                p.score,
                self._edges(fine.stage(p.transform)),
                p.overlap,
                float(angles_between(p.rotation, given.matrix.numpy())),
            )
            for p in sharp
        ]

    def _descended(
        self, scale: Scale, starts: Sequence[Affine], iterations: int, begun: float, share: float
    ) -> list[Pose]:
        """Where the objective of `scale` leads from each start, and its score there."""
        rigid = self.registration.model("rigid")
        eye = torch.eye(len(self.centre) + 1, dtype=torch.float64)
        out = []
        for k, start in enumerate(starts):
            part = share / len(starts)
            stage = scale.stage(start)
            report = self._iterations(begun + k * part, part / iterations)
            result = descend(
                stage,
                rigid,
                rigid.zeros(),
                iterations=iterations,
                stiffness=0.0,
                least_overlap=0.8 * stage.overlap(eye),
                each_iteration=report,
            )
            linear = rigid.homogeneous(torch.as_tensor(result.parameters))
            moved = start.after(Affine.from_homogeneous(linear.numpy()))
            out.append(Pose(moved, 1 - result.value, stage.overlap(linear)))
        return out

    def _corrected(self, poses: Sequence[Pose], second: Scale, first: Scale) -> list[Pose]:
        """Where the second objective leads from each pose, if it is better there by itself and not only by its overlap,
        and the first one does not speak against it."""
        eye = torch.eye(len(self.centre) + 1, dtype=torch.float64)
        moved = self._descended(second, [p.transform for p in poses], self.settings.iterations, 0.92, 0.07)
        out = []
        for before, after in zip(poses, moved, strict=True):
            with torch.no_grad():
                score, share = (float(v) for v in first.stage(after.transform).score(eye))
                alone = [
                    float(replace(second.stage(p.transform), reward=0.0).score(eye)[0]) for p in (before, after)
                ]
            agreed = score > _AGREED * before.score and alone[1] > alone[0]
            out.append(Pose(after.transform, score, share) if agreed else before)
        return out

    def _edges(self, stage: Stage) -> float:
        """S at the finest working spacing: mean of <n_a, n_b>^2 where both scans are known."""
        eye = torch.eye(len(self.centre) + 1, dtype=torch.float64)
        with torch.no_grad():
            moved, weight = stage.matched(eye)
            weight = weight * stage.fixed.weight
            spacing = stage.fixed.grid.spacing
            a, b = (
                normalised_gradient(v, spacing, edge_level(spatial_gradient(v, spacing), weight))
                for v in (stage.fixed.values, moved)
            )
            product = (a * b).sum(dim=0)
            similar = product.square() if self.settings.squared else product
            return float((similar * weight).sum() / (weight.sum() * len(similar)).clamp_min(1e-6))

    def _iterations(self, begun: float, share: float) -> Callable[[int], None]:
        return lambda k: self.progress.update(begun + share * k, "Refining the best")

    def _reporter(self, begun: float, share: float, stage: str) -> Callable[[float], None]:
        return lambda done: self.progress.update(begun + share * done, stage)


def _coarsest(region: torch.Tensor, spacing: Sequence[float], across: float) -> float:
    """mm: the cube root (2-D: square root) of the box around `region` (1, [Z,] Y, X), over `across`; more where the
    box is long and thin, as its length decides how large the transforms are."""
    extents = []
    for k, s in enumerate(spacing):
        line = (region[0] > 0).movedim(-1 - k, 0).flatten(1).any(dim=1).nonzero().reshape(-1)
        extents.append((int(line[-1]) - int(line[0]) + 1) * s if len(line) else s)
    return max(float(np.prod(extents) ** (1 / len(extents))), max(extents) / _SLENDER) / across
