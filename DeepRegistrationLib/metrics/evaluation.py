"""All numbers of one result, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.result import RegistrationResult
from . import likeness
from .concerns import concerns
from .consistency import InverseConsistency, inside_grid, inverse_consistency, sample_points
from .deformation import DeformationStatistics, deformation_statistics, jacobian_of, measured_region
from .landmarks import LandmarkErrors, landmark_errors
from .overlap import label_array
from .segments import SegmentScores, segment_scores
from .summary import as_dictionary, summary_lines


@dataclass(frozen=True)
class Evaluation:
    """What could be measured; None (or empty) where the inputs for it were not given. Lengths in mm.

    region           "fixed mask" or "fixed image": where deformation and similarity were measured
    outside_percent  share of the region that T maps outside the moving image, and before (identity)
    segments         name -> scores of every label that fixed or moving segmentation holds
    volume_unit      of the volumes in `segments`: "ml", or "mm^2" in 2-D
    concerns         sentences a user should read before trusting the result
    """

    region: str
    deformation: DeformationStatistics
    outside_percent: float
    outside_percent_before: float
    landmarks: LandmarkErrors | None = None
    segments: Mapping[str, SegmentScores] = field(default_factory=dict)
    volume_unit: str = "ml"
    inverse_consistency: InverseConsistency | None = None
    similarity_before: likeness.Similarity | None = None
    similarity_after: likeness.Similarity | None = None
    concerns: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and texts, fit for JSON (no NaN)."""
        return as_dictionary(self)

    def summary_lines(self) -> list[str]:
        """A few lines of plain words for a console."""
        return summary_lines(self)


def evaluate(
    result: RegistrationResult,
    *,
    moved: Image | None = None,
    moved_segmentation: Image | None = None,
) -> Evaluation:
    """Measure a result with everything its problem offers.

    moved, moved_segmentation  the result's own, where the caller has computed them already
    Raises InputError where landmarks do not pair up or the fixed mask misses the fixed image.
    """
    result = _on_cpu(result)
    problem, grid, transform = result.problem, result.grid, result.transform
    region = measured_region(grid, problem.fixed_mask)
    displacement = transform.displacement(grid)
    jacobian = jacobian_of(transform, grid, displacement)
    deformation = deformation_statistics(jacobian, displacement, region)
    del displacement
    segments = segment_scores(result, jacobian, moved_segmentation)
    del jacobian
    outside, outside_before = _outside(result, region)
    landmarks = None
    if problem.fixed_landmarks is not None and problem.moving_landmarks is not None:
        landmarks = landmark_errors(transform, problem.fixed_landmarks, problem.moving_landmarks)
    consistency = None
    if result.inverse is not None:
        consistency = inverse_consistency(transform, result.inverse, grid, problem.moving.grid, region)
    masked = _inside_mask(problem)
    evaluation = Evaluation(
        region="fixed image" if problem.fixed_mask is None else "fixed mask",
        deformation=deformation,
        outside_percent=outside,
        outside_percent_before=outside_before,
        landmarks=landmarks,
        segments=segments,
        volume_unit="ml" if grid.dimension == 3 else "mm^2",
        inverse_consistency=consistency,
        similarity_before=likeness.similarity(problem.fixed, problem.moving.resampled(grid), masked),
        similarity_after=likeness.similarity(problem.fixed, moved or result.moved(), masked),
    )
    return replace(evaluation, concerns=tuple(concerns(evaluation, grid)))


def _inside_mask(problem: RegistrationProblem) -> NDArray[np.bool_] | None:
    """Where grey values are compared: at the border of the grid too, unlike derivatives."""
    if problem.fixed_mask is None:
        return None
    return label_array(problem.fixed_mask.resampled(problem.fixed.grid)) != 0


def _outside(result: RegistrationResult, region: NDArray[np.bool_]) -> tuple[float, float]:
    x = sample_points(result.grid, region)
    y = result.transform.apply(x)
    moving = result.problem.moving.grid
    after, before = (100.0 * float(1.0 - inside_grid(p.numpy(), moving).mean()) for p in (y, x))
    return after, before


def _on_cpu(result: RegistrationResult) -> RegistrationResult:
    cpu = torch.device("cpu")
    return replace(
        result,
        problem=result.problem.to(cpu),
        transform=result.transform.to(cpu),
        inverse=None if result.inverse is None else result.inverse.to(cpu),
    )
