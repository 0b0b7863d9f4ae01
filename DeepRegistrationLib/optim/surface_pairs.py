"""The segments that a problem has on both sides, as surfaces: from models where there are some, else from label maps.

Segments match by name, without regard to case; label maps without names by value. One segment on each side match
whatever they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError
from ..core.image import Image
from ..core.points import PointSet
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..ops.surface_points import Surface, label_surface, mesh_surface

#: fewer points than this are no surface
_LEAST = 8


@dataclass(frozen=True)
class SegmentPair:
    """One segment in both scans, each side in its own world, LPS mm."""

    name: str
    fixed: Surface
    moving: Surface


@dataclass(frozen=True)
class _Segment:
    name: str | None
    value: int
    surface: Callable[[], Surface]

    @property
    def title(self) -> str:
        return self.name or f"label {self.value}"


def segment_pairs(
    problem: RegistrationProblem, seed: int, messages: list[str], progress: Progress | None = None
) -> list[SegmentPair]:
    """Every segment of both sides; sentences on those that are left out are added to `messages`.

    Raises InputError where a side has neither models nor a segmentation, or no segment has a partner.
    """
    progress = progress or Progress()
    sides = {side: _segments(problem, side, seed) for side in ("fixed", "moving")}
    partners = list(_matched(sides["fixed"], sides["moving"]))
    if not partners:
        names = {side: ", ".join(s.title for s in segments) or "none" for side, segments in sides.items()}
        raise InputError(
            f"The fixed segments are {names['fixed']} and the moving ones {names['moving']}: none is in both; "
            "give matching segments the same name."
        )
    for side, chosen in zip(sides, zip(*partners, strict=True), strict=True):
        alone = [s.title for s in sides[side] if s not in chosen]
        if alone:
            messages.append(f"Only the {side} scan has {', '.join(alone)}, so they do not take part in the alignment.")
    pairs, bare = [], []
    for k, (fixed, moving) in enumerate(partners):
        progress.update(k / len(partners), "Finding the surfaces")
        first = fixed.surface()
        progress.update((k + 0.5) / len(partners))
        second = moving.surface()
        if min(len(first), len(second)) < _LEAST:
            bare.append(fixed.title)
        else:
            pairs.append(SegmentPair(fixed.title, first, second))
    if not pairs:
        raise InputError(
            f"No surface was found of {', '.join(bare)}: the segments are too small or lie outside the fields of view; "
            "draw them larger or choose others."
        )
    if bare:
        messages.append(f"{', '.join(bare)} has hardly any surface in the field of view, so it is left out.")
    return pairs


def _segments(problem: RegistrationProblem, side: str, seed: int) -> list[_Segment]:
    surfaces: PointSet | None = getattr(problem, f"{side}_surfaces", None)
    segmentation: Image | None = getattr(problem, f"{side}_segmentation")
    if surfaces is not None:
        return list(_of_models(surfaces, seed))
    if segmentation is None:
        raise InputError(
            f"The surfaces of the {side} scan are needed, but neither a {side} segmentation nor {side} models came; "
            "add one of them or choose another method."
        )
    return list(_of_labels(segmentation, getattr(problem, side)))


def _of_labels(segmentation: Image, image: Image) -> Iterator[_Segment]:
    labels = segmentation.data[0]
    for value in segmentation.label_values:

        def surface(value: int = value) -> Surface:
            return label_surface(labels == value, segmentation.grid, image.grid)

        yield _Segment(segmentation.names.get(value), value, surface)


def _of_models(models: PointSet, seed: int) -> Iterator[_Segment]:
    models = models.to("cpu")
    points = models.points.numpy()
    labels = np.zeros(len(points), dtype=np.int64) if models.labels is None else np.asarray(models.labels)
    triangles = None if models.triangles is None else np.asarray(models.triangles)
    names = models.label_names or ({0: models.names[0]} if models.labels is None and models.names else {})
    for value in np.unique(labels).tolist():
        own = labels == value

        def surface(own: np.ndarray = own) -> Surface:
            if triangles is None:
                return mesh_surface(points[own], None, seed)
            number = np.cumsum(own) - 1
            mine = triangles[own[triangles].all(axis=1)]
            return mesh_surface(points[own], number[mine], seed)

        yield _Segment(names.get(value), int(value), surface)


def _matched(fixed: list[_Segment], moving: list[_Segment]) -> Iterator[tuple[_Segment, _Segment]]:
    if len(fixed) == len(moving) == 1:
        yield fixed[0], moving[0]
        return
    by_name = {_plain(s.name): s for s in moving if s.name is not None}
    by_value = {s.value: s for s in moving}
    for segment in fixed:
        if segment.name is not None and _plain(segment.name) in by_name:
            yield segment, by_name[_plain(segment.name)]
        elif (other := by_value.get(segment.value)) is not None and (segment.name is None or other.name is None):
            yield segment, other


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
