"""A finished job as nodes: all of them, or none where anything goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..core.errors import InputError
from .changes import SceneChange
from .colours import JACOBIAN_RANGE, jacobian_colours
from .extra_outputs import extras_of, load_extras, record_extras, release_points, tidy
from .inputs import InputNodes
from .places import BEFORE_ROLE, METHOD_ATTRIBUTE, MOVING_ROLE, Place, is_under, place_of, vtk_matrix
from .segments import fill_segmentation
from .transforms import read_transform
from .volumes import image_from, read_array

PROVENANCE_ATTRIBUTE = "DeepRegistration.provenance"
METRICS_ATTRIBUTE = "DeepRegistration.metrics"
OUTPUT_ROLES = ("moved", "segmentation", "jacobian", "inverse")


@dataclass(frozen=True)
class RegistrationNodes:
    """What an alignment added to the scene.

    transform     maps fixed to moving in its *from parent*; moving lies under it and is shown aligned
    inverse       the way back, where the method gives one
    moved         moving on the grid of fixed
    segmentation  the segments of moving on the grid of fixed, names, colours and terminology kept
    jacobian      local change of volume on the grid of fixed, 1 = none
    maps          id ("uncertainty", "intensity_change") -> volume on the grid of fixed
    series        id -> browser of a sequence of volumes on the grid of fixed
    points        id ("fixed_correspondences") -> point list; those of moving lie under the transform
    alternatives  the best answers, best first, of a method that gives several; see alternatives.choose
    alternatives_table   their scores
    metrics, provenance   as metrics.json and provenance.json hold them
    messages      sentences the user should read
    """

    transform: slicer.vtkMRMLTransformNode
    moved: slicer.vtkMRMLScalarVolumeNode
    inverse: slicer.vtkMRMLTransformNode | None = None
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    jacobian: slicer.vtkMRMLScalarVolumeNode | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    maps: Mapping[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)
    series: Mapping[str, slicer.vtkMRMLSequenceBrowserNode] = field(default_factory=dict)
    points: Mapping[str, slicer.vtkMRMLMarkupsFiducialNode] = field(default_factory=dict)
    alternatives: tuple[slicer.vtkMRMLTransformNode, ...] = ()
    alternatives_table: slicer.vtkMRMLTableNode | None = None


def load_result(
    nodes: InputNodes,
    folder: Path,
    data: Mapping[str, Any],
    labels: Mapping[str, int],
    messages: tuple[str, ...] = (),
) -> RegistrationNodes:
    """Add the outputs of a finished job to the scene of `nodes` and put moving under the new transform.

    folder  where the files lie
    data    the worker's result: {"files": {output: file name}, "metrics": {...}, "provenance": {...}}
    labels  segment name -> label value, as exported

    The scene is as before where anything fails. Raises InputError where fixed or moving has left the scene.
    """
    if not nodes.alive():
        raise InputError("The fixed or the moving volume was removed from the scene during the alignment.")
    with SceneChange(nodes.fixed.GetScene(), nodes.moving):
        return _Loader(nodes, folder, data, labels, messages).run()


class _Loader:
    def __init__(
        self,
        nodes: InputNodes,
        folder: Path,
        data: Mapping[str, Any],
        labels: Mapping[str, int],
        messages: tuple[str, ...],
    ) -> None:
        self._nodes = nodes
        self._scene = nodes.fixed.GetScene()
        self._folder = folder
        self._files: Mapping[str, str] = data["files"]
        self._metrics: Mapping[str, Any] = data.get("metrics") or {}
        self._provenance = _without_paths(data.get("provenance") or {}, nodes)
        self._labels = labels
        self._messages = messages
        self._method = str(self._provenance.get("method", ""))
        self._pair = f"{nodes.moving.GetName()} to {nodes.fixed.GetName()} ({self._method})"

    def run(self) -> RegistrationNodes:
        # files are read before the first node is added: most failures leave no trace at all
        transform = read_transform(self._folder / self._files["transform"])
        inverse = read_transform(self._folder / self._files["inverse"]) if "inverse" in self._files else None
        self._add(transform, self._pair)
        if inverse is not None:
            nodes = self._nodes
            self._add(inverse, f"{nodes.fixed.GetName()} to {nodes.moving.GetName()} ({self._method})")
        moved = self._moved()
        segmentation = self._segmentation(moved)
        jacobian = self._jacobian()
        extras = load_extras(
            self._scene, self._folder, self._files, self._provenance, self._pair, self._nodes.moving
        )
        result = RegistrationNodes(
            transform,
            moved,
            inverse,
            segmentation,
            jacobian,
            self._metrics,
            self._provenance,
            self._messages + tuple(self._provenance.get("messages", ())) + extras.sentences(),
            **vars(extras),
        )
        self._record(result)
        record_extras(transform, extras)
        self._put_moving_under(transform)
        tidy(self._scene, extras, f"{self._pair} candidates")
        return result

    # ------------------------------------------------------------------ nodes

    def _add(self, node: slicer.vtkMRMLNode, name: str) -> Any:
        node.SetName(self._scene.GenerateUniqueName(name))
        return self._scene.AddNode(node)

    def _volume(self, file: str, name: str) -> slicer.vtkMRMLScalarVolumeNode:
        array, matrix = read_array(self._folder / file)
        node = slicer.vtkMRMLScalarVolumeNode()
        image = image_from(array, np.eye(4))  # the geometry belongs to the node
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(vtk_matrix(matrix))
        self._add(node, name)
        node.CreateDefaultDisplayNodes()
        return node

    def _moved(self) -> slicer.vtkMRMLScalarVolumeNode:
        node = self._volume(self._files["moved"], f"{self._pair} moved")
        source, display = self._nodes.moving.GetDisplayNode(), node.GetDisplayNode()
        if source is not None and display is not None:
            display.SetAndObserveColorNodeID(source.GetColorNodeID())
            display.SetAutoWindowLevel(source.GetAutoWindowLevel())
            if not source.GetAutoWindowLevel():
                display.SetWindowLevel(source.GetWindow(), source.GetLevel())
        return node

    def _segmentation(self, moved: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
        source = self._nodes.moving_segmentation
        if source is None or "segmentation" not in self._files:
            return None
        array, matrix = read_array(self._folder / self._files["segmentation"])
        node = slicer.vtkMRMLSegmentationNode()
        self._add(node, f"{self._pair} segmentation")
        fill_segmentation(node, source, array, matrix, self._labels)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(moved)
        self._copy_segment_display(source, node)
        return node

    @staticmethod
    def _copy_segment_display(source: slicer.vtkMRMLNode, node: slicer.vtkMRMLSegmentationNode) -> None:
        old = source.GetDisplayNode() if source.IsA("vtkMRMLSegmentationNode") else None
        new = node.GetDisplayNode()
        if old is None or new is None:
            return
        for k in range(node.GetSegmentation().GetNumberOfSegments()):
            key = node.GetSegmentation().GetNthSegmentID(k)
            new.SetSegmentVisibility(key, old.GetSegmentVisibility(key))

    def _jacobian(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        if "jacobian" not in self._files:
            return None
        node = self._volume(self._files["jacobian"], f"{self._pair} Jacobian")
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(jacobian_colours(self._scene).GetID())
        display.SetAutoWindowLevel(False)
        low, high = JACOBIAN_RANGE
        display.SetWindowLevelMinMax(low, high)
        display.SetInterpolate(False)
        return node

    # ------------------------------------------------------------------ what belongs together

    def _record(self, result: RegistrationNodes) -> None:
        node = result.transform
        node.SetAttribute(METHOD_ATTRIBUTE, self._method)
        node.SetAttribute(PROVENANCE_ATTRIBUTE, json.dumps(dict(self._provenance)))
        node.SetAttribute(METRICS_ATTRIBUTE, json.dumps(dict(self._metrics)))
        for name, given in self._nodes.given():
            node.AddNodeReferenceID(f"DeepRegistration.{name}", given.GetID())
        for name in OUTPUT_ROLES:
            made = getattr(result, name)
            if made is not None:
                node.SetNodeReferenceID(f"DeepRegistration.output.{name}", made.GetID())

    def _put_moving_under(self, transform: slicer.vtkMRMLTransformNode) -> None:
        """Moving's own place first, then the transform: moved(x) = moving(place^-1(T(x)))."""
        moving = self._nodes.moving
        aside = self._nodes.set_aside()
        before = moving.GetParentTransformNode()
        if aside is not None and aside is not self._nodes.initial_transform:
            before = aside.GetNodeReference(BEFORE_ROLE)
        if before is not None:
            transform.SetNodeReferenceID(BEFORE_ROLE, before.GetID())
        put_under(moving, transform, place_of(moving, aside))


def put_under(
    moving: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode, place: Place
) -> None:
    """Moving, which lies at `place`, under the transform: moved(x) = moving(place^-1(T(x)))."""
    if place.matrix is not None and np.allclose(place.matrix, np.eye(4), atol=1e-9):
        moving.SetAndObserveTransformNodeID(transform.GetID())
        return
    scene, kept = transform.GetScene(), _place_node(place)
    kept.SetName(scene.GenerateUniqueName(f"{moving.GetName()} before alignment"))
    scene.AddNode(kept)
    kept.SetAndObserveTransformNodeID(transform.GetID())
    moving.SetAndObserveTransformNodeID(kept.GetID())


def _without_paths(provenance: Mapping[str, Any], nodes: InputNodes) -> dict[str, Any]:
    """The provenance as a scene keeps it: names of nodes in place of files in a folder that goes away."""
    kept = {name: value for name, value in provenance.items() if name != "files"}
    inputs: dict[str, str] = {}
    for name, node in nodes.given():
        inputs[name] = f"{inputs[name]}, {node.GetName()}" if name in inputs else node.GetName()
    return {**kept, "inputs": inputs}


def _place_node(place: Place) -> slicer.vtkMRMLTransformNode:
    if place.matrix is not None:
        node = slicer.vtkMRMLLinearTransformNode()
        node.SetMatrixTransformToParent(vtk_matrix(place.matrix))
        return node
    node = slicer.vtkMRMLTransformNode()
    copy = place.transform.MakeTransform()
    copy.DeepCopy(place.transform)
    node.SetAndObserveTransformToParent(copy)
    return node


def restore_moving(transform: slicer.vtkMRMLTransformNode) -> None:
    """Put the moving volume of a result back under the transform (or none) that it had before the
    alignment.
    """
    moving = transform.GetNodeReference(MOVING_ROLE)
    if moving is not None and is_under(moving, transform):
        moving.SetAndObserveTransformNodeID(transform.GetNodeReferenceID(BEFORE_ROLE))
        release_points(transform)


def provenance_of(transform: slicer.vtkMRMLTransformNode) -> dict[str, Any]:
    """How a result of this extension came about; empty for any other transform."""
    if not transform.GetAttribute(METHOD_ATTRIBUTE):
        return {}
    found: dict[str, Any] = json.loads(transform.GetAttribute(PROVENANCE_ATTRIBUTE) or "{}")
    return found


def nodes_of_result(transform: slicer.vtkMRMLTransformNode) -> RegistrationNodes | None:
    """The nodes and numbers recorded on an output transform (also after the scene was saved and loaded)."""
    moved = transform.GetNodeReference("DeepRegistration.output.moved")
    if not transform.GetAttribute(METHOD_ATTRIBUTE) or moved is None:
        return None
    provenance = provenance_of(transform)
    return RegistrationNodes(
        transform,
        moved,
        transform.GetNodeReference("DeepRegistration.output.inverse"),
        transform.GetNodeReference("DeepRegistration.output.segmentation"),
        transform.GetNodeReference("DeepRegistration.output.jacobian"),
        json.loads(transform.GetAttribute(METRICS_ATTRIBUTE) or "{}"),
        provenance,
        tuple(provenance.get("messages", ())),
        **vars(extras_of(transform)),
    )
