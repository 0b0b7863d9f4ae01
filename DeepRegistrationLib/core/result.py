"""What a registration gives back. Moved image, moved labels and the Jacobian are computed on demand, the same
way for every method; numbers (Dice, TRE, ...) come from `metrics.evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError
from .grid import Grid
from .image import Image, ImageKind
from .points import PointSet
from .problem import RegistrationProblem
from .transform import Transform


@dataclass(frozen=True)
class Provenance:
    """How a result came about, enough to make it again."""

    method: str
    parameters: Mapping[str, Any]
    seed: int
    device: str
    versions: Mapping[str, str]
    seconds: float
    peak_memory_bytes: int
    initialisation: str = ""
    weights_sha256: str | None = None
    messages: Sequence[str] = ()


@dataclass(frozen=True)
class Alternative:
    """Another answer the method found, fixed to moving like the result's own transform.

    scores   what speaks for it, by name ("similarity", "overlap") in the order a user reads them
    title    words for it; empty: it goes by its place in the list
    """

    transform: Transform
    scores: Mapping[str, float]
    title: str = ""


@dataclass(frozen=True)
class RegistrationResult:
    """transform: T, fixed to moving. inverse: S with S(T(x)) = x where the method has one.

    maps          extra images on the fixed grid by id (uncertainty, non-correspondence, intensity_change ...)
    tables        extra numbers by name, shown beside the metrics (e.g. "distance between anatomies")
    history       objective values an iteration, by stage
    series        pictures over the course of the deformation by id, each on the fixed grid, first to last
    points        points in LPS mm by id; row i of "fixed_correspondences" matches row i of
                  "moving_correspondences"; a network's are what it found before its answer was refined
    alternatives  the best answers, best first; the first one is `transform` itself
    """

    problem: RegistrationProblem
    transform: Transform
    inverse: Transform | None = None
    maps: Mapping[str, Image] = field(default_factory=dict)
    tables: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    series: Mapping[str, Sequence[Image]] = field(default_factory=dict)
    points: Mapping[str, PointSet] = field(default_factory=dict)
    alternatives: Sequence[Alternative] = ()
    provenance: Provenance | None = None

    @property
    def grid(self) -> Grid:
        """The fixed grid."""
        return self.problem.fixed.grid

    def moved(self, image: Image | None = None) -> Image:
        """moved(x) = moving(T(x)) on the fixed grid; `image` replaces the moving image (same world)."""
        return (image or self.problem.moving).resampled(self.grid, self.transform)

    def moved_segmentation(self) -> Image:
        """Labels of the moving segmentation pulled back to the fixed grid.

        Raises InputError where the problem has no moving segmentation.
        """
        if self.problem.moving_segmentation is None:
            raise InputError(
                "No moving segmentation was given, so there are no labels to move; add one and run again."
            )
        return self.problem.moving_segmentation.resampled(self.grid, self.transform)

    def moved_landmarks(self) -> PointSet:
        """Fixed landmarks mapped to moving space: compare with the moving landmarks (TRE)."""
        if self.problem.fixed_landmarks is None:
            raise InputError(
                "No fixed landmarks were given, so there are none to move; add them and run again."
            )
        return self.problem.fixed_landmarks.mapped(self.transform)

    def jacobian(self) -> Image:
        """det dT/dx on the fixed grid; folding where <= 0."""
        return Image(self.transform.jacobian_determinant(self.grid)[None], self.grid, ImageKind.INTENSITY)
