"""One of several answers put in the place of the result: the output transform and what was computed from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from ..core.errors import InputError
from .kept import modifying
from .places import MOVING_ROLE, Place, array_from, is_under, place_of
from .results import (
    METRICS_ATTRIBUTE,
    PROVENANCE_ATTRIBUTE,
    RegistrationNodes,
    nodes_of_result,
    provenance_of,
    put_under,
)
from .review_results import remove_review
from .segments import label_image, segments_of
from .transforms import transformed, voxel_centres
from .volumes import image_from, image_matrix, oriented_image, resample, voxels

_SEGMENTATION_ROLE = "DeepRegistration.moving_segmentation"
#: on the output transform: which candidate it holds, and the numbers of the best one while it holds another
_CHOSEN_ATTRIBUTE = "DeepRegistration.alternative"
_METRICS_OF_BEST = "DeepRegistration.metricsOfBest"
_ROLE = "segmentation of the moving volume"


@dataclass(frozen=True)
class Candidate:
    """number from 1 for the best one; what the method called it ("" where it has no name) and what speaks for it."""

    number: int
    title: str
    scores: Mapping[str, float]


def candidates_of(transform: slicer.vtkMRMLTransformNode) -> tuple[Candidate, ...]:
    """The answers that can be chosen, best first; empty where the method gave one only."""
    result = nodes_of_result(transform)
    if result is None or len(result.alternatives) < 2:
        return ()
    told = provenance_of(transform).get("alternatives") or []
    padded = [*told, *({} for _ in result.alternatives)]
    return tuple(
        Candidate(number, said.get("title") or "", said.get("scores") or {})
        for number, (said, _) in enumerate(zip(padded, result.alternatives, strict=False), 1)
    )


def chosen(transform: slicer.vtkMRMLTransformNode) -> int:
    """The number of the candidate that the transform holds; 1 for the best one."""
    return int(transform.GetAttribute(_CHOSEN_ATTRIBUTE) or 1)


def left_with_best(result: RegistrationNodes) -> tuple[str, ...]:
    """Names of the maps, series and points of a result, which stay those of its best candidate."""
    nodes = [*result.maps.values(), *result.series.values(), *result.points.values()]
    return tuple(node.GetName() for node in nodes)


def choose(transform: slicer.vtkMRMLTransformNode, number: int) -> RegistrationNodes:
    """Put candidate `number` (from 1) into the output transform, with moving under it, and make moved volume, moved
    segments, Jacobian and inverse anew from it. Choosing 1 brings the best one back.

    Dice, landmark errors and all other numbers were measured of the best one, so the result has none while it holds
    another, and what the last review of the transform added goes away; maps, series and points stay those of the
    best one. Everything is computed before anything is changed.
    Raises InputError where a node that is needed has left the scene.
    """
    result = nodes_of_result(transform)
    if result is None or not 1 <= number <= len(result.alternatives):
        there = 0 if result is None else len(result.alternatives)
        raise InputError(f"Candidate {number} was chosen, but this result has {there}; choose one of them.")
    moving, before = transform.GetNodeReference(MOVING_ROLE), chosen(transform)
    if moving is None:
        raise InputError("The moving volume was removed from the scene, so no other candidate can be shown.")
    change = _Change(transform, result, result.alternatives[number - 1], moving)
    with modifying(transform):
        change.apply()
        if number != before:
            remove_review(transform)
        _record(transform, number)
    changed = nodes_of_result(transform)
    assert changed is not None
    return changed


def _record(transform: slicer.vtkMRMLTransformNode, number: int) -> None:
    if chosen(transform) == 1 and number != 1:
        transform.SetAttribute(_METRICS_OF_BEST, transform.GetAttribute(METRICS_ATTRIBUTE))
        transform.SetAttribute(METRICS_ATTRIBUTE, "{}")
    elif number == 1 and transform.GetAttribute(_METRICS_OF_BEST):
        transform.SetAttribute(METRICS_ATTRIBUTE, transform.GetAttribute(_METRICS_OF_BEST))
        transform.RemoveAttribute(_METRICS_OF_BEST)
    transform.SetAttribute(_CHOSEN_ATTRIBUTE, str(number))
    made = {key: value for key, value in provenance_of(transform).items() if key != "chosen_alternative"}
    if number != 1:
        made["chosen_alternative"] = number
    transform.SetAttribute(PROVENANCE_ATTRIBUTE, json.dumps(made))


class _Change:
    """Everything that follows from another transform, computed at once; `apply` only hands it over."""

    def __init__(
        self,
        transform: slicer.vtkMRMLTransformNode,
        result: RegistrationNodes,
        candidate: slicer.vtkMRMLTransformNode,
        moving: slicer.vtkMRMLScalarVolumeNode,
    ) -> None:
        self._transform, self._result, self._candidate, self._moving = transform, result, candidate, moving
        self._was_under = is_under(moving, transform)
        self._place = place_of(moving, transform)
        grid = oriented_image(result.moved)
        self._moved = self._moved_voxels(grid)
        self._segments = self._moved_segments(grid)
        self._jacobian = None if result.jacobian is None else _determinants(candidate, oriented_image(result.jacobian))

    def apply(self) -> None:
        _copy_map(self._candidate, self._transform)
        if self._result.inverse is not None:
            _copy_map(self._candidate, self._result.inverse, backwards=True)
        self._result.moved.SetAndObserveImageData(image_from(self._moved, np.eye(4)))
        if self._jacobian is not None and self._result.jacobian is not None:
            self._result.jacobian.SetAndObserveImageData(image_from(self._jacobian, np.eye(4)))
        for key, mask in self._segments.items():
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, self._result.segmentation, key, self._result.moved)
        if not self._was_under:
            put_under(self._moving, self._transform, self._place)

    def _moved_voxels(self, grid: slicer.vtkOrientedImageData) -> NDArray[Any]:
        image = oriented_image(self._moving)
        least = float(image.GetScalarRange()[0])
        out = resample(image, grid, _through(self._place, self._candidate), True, least)
        return voxels(out).astype(slicer.util.arrayFromVolume(self._result.moved).dtype)

    def _moved_segments(self, grid: slicer.vtkOrientedImageData) -> dict[str, NDArray[Any]]:
        """Segment ID -> mask on `grid`."""
        made = self._result.segmentation
        if made is None:
            return {}
        source = self._transform.GetNodeReference(_SEGMENTATION_ROLE)
        if source is None:
            raise InputError(
                "The segmentation of the moving volume was removed from the scene, so no other candidate can be shown."
            )
        names = [segment.name for segment in segments_of(source, _ROLE)]
        table = {name: k for k, name in enumerate(names, 1)}
        place = _through(place_of(source, self._transform), self._candidate)
        labels, _overlap = label_image(source, place, grid, table, _ROLE)
        found = {}
        for k in range(made.GetSegmentation().GetNumberOfSegments()):
            key = made.GetSegmentation().GetNthSegmentID(k)
            value = table.get(made.GetSegmentation().GetSegment(key).GetName())
            if value is not None:
                found[key] = (labels == value).astype(np.uint8)
        return found


def _through(place: Place, candidate: slicer.vtkMRMLTransformNode) -> Place:
    """Where what lies at `place` is shown once it lies under the candidate."""
    matrix = vtk.vtkMatrix4x4()
    if place.matrix is not None and candidate.IsLinear():
        candidate.GetMatrixTransformToParent(matrix)
        linear = vtk.vtkTransform()
        linear.SetMatrix((array_from(matrix) @ place.matrix).ravel().tolist())
        return Place(array_from(linear.GetMatrix()), linear)
    general = vtk.vtkGeneralTransform()
    general.PostMultiply()
    general.Concatenate(place.transform)
    general.Concatenate(candidate.GetTransformToParent())
    return Place(None, general)


def _copy_map(
    source: slicer.vtkMRMLTransformNode, target: slicer.vtkMRMLTransformNode, backwards: bool = False
) -> None:
    """The *from parent* of `target` becomes that of `source`, or with `backwards` its *to parent*."""
    if source.IsLinear():
        matrix = vtk.vtkMatrix4x4()
        (source.GetMatrixTransformToParent if backwards else source.GetMatrixTransformFromParent)(matrix)
        linear = vtk.vtkTransform()  # a node that bends takes no matrix
        linear.SetMatrix(matrix)
        target.SetAndObserveTransformFromParent(linear)
        return
    found = source.GetTransformToParent() if backwards else source.GetTransformFromParent()
    copy = found.MakeTransform()
    copy.DeepCopy(found)
    target.SetAndObserveTransformFromParent(copy)


def _determinants(
    candidate: slicer.vtkMRMLTransformNode, grid: slicer.vtkOrientedImageData
) -> NDArray[np.float32]:
    """(Z, Y, X) determinant of the derivative of its *from parent*, by central differences where that bends."""
    x, y, z = grid.GetDimensions()
    matrix = vtk.vtkMatrix4x4()
    if candidate.IsLinear():
        candidate.GetMatrixTransformFromParent(matrix)
        return np.full((z, y, x), matrix.Determinant(), np.float32)
    axes = image_matrix(grid)
    points = transformed(candidate.GetTransformFromParent(), voxel_centres(axes, x, slice(0, y), slice(0, z)))
    there = points.reshape(z, y, x, 3)
    by_index = [np.gradient(there, axis=axis) for axis in (2, 1, 0)]
    derivative = np.stack(by_index, axis=-1) @ np.linalg.inv(axes[:3, :3])
    return np.linalg.det(derivative).astype(np.float32)
