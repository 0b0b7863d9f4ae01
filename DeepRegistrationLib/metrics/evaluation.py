"""All numbers of one result; `review.review` computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .consistency import InverseConsistency
from .deformation import DeformationStatistics
from .landmarks import LandmarkErrors
from .likeness import Similarity
from .maps import MapSummary
from .segments import SegmentScores
from .summary import as_dictionary, summary_lines


@dataclass(frozen=True)
class Evaluation:
    """What could be measured; None (or empty) where the inputs for it were not given. Lengths in mm.

    region           "fixed mask" or "fixed image": where deformation and similarity were measured
    outside_percent  share of the region that T maps outside the moving image, and before (identity)
    segments         name -> scores of every label that fixed or moving segmentation holds
    volume_unit      of the volumes in `segments`: "ml", or "mm^2" in 2-D
    maps             id -> summary of a map over the region, of those computed or brought by the method
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
    maps: Mapping[str, MapSummary | None] = field(default_factory=dict)
    similarity_before: Similarity | None = None
    similarity_after: Similarity | None = None
    concerns: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and texts, fit for JSON (no NaN)."""
        return as_dictionary(self)

    def summary_lines(self) -> list[str]:
        """A few lines of plain words for a console."""
        return summary_lines(self)
