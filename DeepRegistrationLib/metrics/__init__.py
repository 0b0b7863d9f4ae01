"""Numbers that say how good a result is: landmarks, segments, the deformation itself, its inverse.

`evaluate(result)` gathers them all, `review.review(result)` the maps too; the building blocks stand alone.

What computes is loaded when it is first asked for, so that `metrics.map_kinds`, which only describes, can be
used where torch must not be loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .consistency import InverseConsistency, inverse_consistency
    from .deformation import DeformationStatistics, deformation_statistics, jacobian_by_label
    from .evaluation import Evaluation
    from .landmarks import LandmarkErrors, landmark_errors
    from .likeness import Similarity, similarity
    from .maps import MapSummary
    from .overlap import Overlap, overlap_by_label
    from .review import Review, evaluate
    from .surface import SurfaceDistances, surface_distances, surface_distances_by_label

#: no name may also be that of a file: loading the file would put itself in the name's place
_FILES = {
    "DeformationStatistics": "deformation",
    "Evaluation": "evaluation",
    "InverseConsistency": "consistency",
    "LandmarkErrors": "landmarks",
    "MapSummary": "maps",
    "Overlap": "overlap",
    "Review": "review",
    "Similarity": "likeness",
    "SurfaceDistances": "surface",
    "deformation_statistics": "deformation",
    "evaluate": "review",
    "inverse_consistency": "consistency",
    "jacobian_by_label": "deformation",
    "landmark_errors": "landmarks",
    "overlap_by_label": "overlap",
    "similarity": "likeness",
    "surface_distances": "surface",
    "surface_distances_by_label": "surface",
}

__all__ = [
    "DeformationStatistics",
    "Evaluation",
    "InverseConsistency",
    "LandmarkErrors",
    "MapSummary",
    "Overlap",
    "Review",
    "Similarity",
    "SurfaceDistances",
    "deformation_statistics",
    "evaluate",
    "inverse_consistency",
    "jacobian_by_label",
    "landmark_errors",
    "overlap_by_label",
    "similarity",
    "surface_distances",
    "surface_distances_by_label",
]


def __getattr__(name: str) -> Any:
    file = _FILES.get(name)
    if file is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{file}", __name__), name)
    globals()[name] = value
    return value
