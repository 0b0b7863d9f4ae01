"""Numbers that say how good a result is: landmarks, segments, the deformation itself, its inverse.

`evaluate(result)` gathers them all; the building blocks stand alone.
"""

from .consistency import InverseConsistency, inverse_consistency
from .deformation import DeformationStatistics, deformation_statistics, jacobian_by_label
from .evaluation import Evaluation, evaluate
from .landmarks import LandmarkErrors, landmark_errors
from .overlap import Overlap, overlap_by_label
from .similarity import Similarity, similarity
from .surface import SurfaceDistances, surface_distances, surface_distances_by_label

__all__ = [
    "DeformationStatistics",
    "Evaluation",
    "InverseConsistency",
    "LandmarkErrors",
    "Overlap",
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
