"""A finished review as nodes, added in steps that never keep the application waiting: all of them, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from ..core.errors import InputError
from ..metrics.map_kinds import map_kind
from .changes import SceneChange
from .places import vtk_matrix
from .review_inputs import ReviewNodes
from .segments import BINARY_LABELMAP, fill_segmentation
from .slabs import Pace, Steps, blocks, read_nrrd
from .volumes import empty_image

REVIEW_ATTRIBUTE = "DeepRegistration.review"
_ROLE = "DeepRegistration.review."
#: every node that a review has added, so that the next one can take them away
_ALL_ROLE = _ROLE + "all"
#: outputs that are no maps
_VOLUMES = ("moved", "segmentation")
_TABLES = ("segments_table", "landmarks_table", "error_points")
_CHARTS = ("segments", "jacobian", "landmarks")
#: what a step may add that belongs to the whole scene: colours are shared by all reviews
_NOT_OURS = ("vtkMRMLColorNode", "vtkMRMLAbstractViewNode", "vtkMRMLSubjectHierarchyNode")


@dataclass(frozen=True)
class ReviewOutputs:
    """What a review has added to the scene.

    maps          map id ("jacobian") -> volume on the fixed grid
    moved         moving on the fixed grid
    segmentation  the segments of moving on the fixed grid
    charts        "segments", "jacobian", "landmarks" -> plot chart
    error_points  a ball at every fixed landmark, coloured by what is left of its error
    metrics, provenance   as metrics.json and provenance.json hold them
    messages      sentences the user should read
    """

    transform: slicer.vtkMRMLTransformNode
    maps: Mapping[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)
    moved: slicer.vtkMRMLScalarVolumeNode | None = None
    segmentation: slicer.vtkMRMLSegmentationNode | None = None
    segments_table: slicer.vtkMRMLTableNode | None = None
    landmarks_table: slicer.vtkMRMLTableNode | None = None
    charts: Mapping[str, slicer.vtkMRMLPlotChartNode] = field(default_factory=dict)
    error_points: slicer.vtkMRMLModelNode | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


def load_review(
    nodes: ReviewNodes, data: Mapping[str, Any], labels: Mapping[str, int], messages: tuple[str, ...] = ()
) -> Steps[ReviewOutputs]:
    """Add the outputs of a finished review to the scene of `nodes`.

    data    the worker's result: {"files": {output: full path}, "metrics": {...}, "provenance": {...}}
    labels  segment name -> label value, as exported

    A generator of short steps that yields a word on each and returns the outputs. Those of an earlier review
    of the same transform go; where anything fails, or the generator is closed, they stay and the scene is as
    it was. Raises InputError where a file is damaged or a node has left the scene meanwhile.
    """
    _check_alive(nodes)
    files: Mapping[str, str] = data["files"]
    arrays: dict[str, _Array] = {}
    for name, file in files.items():
        # transforms and numbers are files too
        if name not in ("transform", "inverse") and str(file).endswith(".nrrd"):
            arrays[name] = yield from read_nrrd(Path(file))
    loader = _Loader(nodes, arrays, data, labels, messages)
    try:
        yield from loader.run()
    except BaseException:
        loader.undo()
        raise
    return loader.outputs


_Array = tuple[NDArray[Any], NDArray[np.float64]]


def _check_alive(nodes: ReviewNodes) -> None:
    if not nodes.alive():
        raise InputError("The transform, the fixed or the moving volume was removed during the review.")


class _Loader:
    """Between two steps the scene is anybody's, so only what is added within a step counts as added here."""

    def __init__(
        self,
        nodes: ReviewNodes,
        arrays: dict[str, _Array],
        data: Mapping[str, Any],
        labels: Mapping[str, int],
        messages: tuple[str, ...],
    ) -> None:
        self._nodes = nodes
        self._scene = nodes.transform.GetScene()
        self._arrays = arrays
        self._metrics: Mapping[str, Any] = data.get("metrics") or {}
        self._provenance = _without_paths(data.get("provenance") or {}, nodes)
        self._labels = labels
        self._messages = messages
        self._change = _Change(self._scene)
        self._made: dict[str, slicer.vtkMRMLNode] = {}
        self._names: dict[str, str] = {}
        self.outputs = ReviewOutputs(nodes.transform)

    def undo(self) -> None:
        self._change.undo()

    def run(self) -> Steps[None]:
        for name in list(self._arrays):
            # each array is let go when it has become a node
            array, matrix = self._arrays.pop(name)
            if name == "segmentation":
                yield from self._segmentation(array, matrix)
            else:
                with self._change:
                    self._volume(name, array, matrix)
            del array
            yield f"Adding {name}"
        yield from self._numbers()
        _check_alive(self._nodes)
        with self._change:
            self._record()
        yield "Finished"

    def _volume(self, name: str, array: NDArray[Any], matrix: NDArray[np.float64]) -> None:
        if name == "moved":
            self._keep(name, self._moved(array, matrix), "moved")
        else:
            from .map_nodes import add_map

            kind = map_kind(name)
            values = array.astype(np.float32, copy=False)
            node = add_map(self._scene, values, matrix, kind, self._name(kind.title))
            self._keep(name, node, kind.title)

    def _moved(self, array: NDArray[Any], matrix: NDArray[np.float64]) -> slicer.vtkMRMLScalarVolumeNode:
        source = self._nodes.moving.GetDisplayNode()
        display = slicer.vtkMRMLScalarVolumeDisplayNode()
        # a window found by itself would need the histogram of the whole volume
        display.SetAutoWindowLevel(False)
        self._scene.AddNode(display)
        if source is not None and source.GetColorNodeID():
            display.SetAndObserveColorNodeID(source.GetColorNodeID())
        else:
            display.SetDefaultColorMap()
        if source is not None and source.IsA("vtkMRMLScalarVolumeDisplayNode"):
            display.SetWindowLevel(source.GetWindow(), source.GetLevel())
        else:
            few = array[:: max(1, array.shape[0] // 32), ::8, ::8]
            low, high = (float(v) for v in np.percentile(few, (0.5, 99.5)))
            display.SetWindowLevelMinMax(low, max(high, low + 1e-3))
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(self._name("moved"))
        self._scene.AddNode(node)
        node.SetAndObserveDisplayNodeID(display.GetID())
        node.SetIJKToRASMatrix(vtk_matrix(matrix))
        node.SetAndObserveImageData(_shared_image(array))
        return node

    def _segmentation(self, array: NDArray[Any], matrix: NDArray[np.float64]) -> Steps[None]:
        source = self._nodes.moving_segmentation
        if source is None:
            return
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self._name("segmentation"))
        # names and colours first, with one voxel that all segments share; then all voxels in its place
        fill_segmentation(node, source, array[:1, :1, :1], matrix, self._labels)
        labels = yield from _as_int16(array)
        image = _shared_image(labels)
        image.SetImageToWorldMatrix(vtk_matrix(matrix))
        segmentation = node.GetSegmentation()
        segmentation.GetNthSegment(0).GetRepresentation(BINARY_LABELMAP).ShallowCopy(image)
        converter = slicer.vtkSegmentationConverter
        name = converter.GetReferenceImageGeometryParameterName()
        segmentation.SetConversionParameter(name, converter.SerializeImageGeometry(image))
        yield "Adding segmentation"
        with self._change:
            self._scene.AddNode(node)
            node.CreateDefaultDisplayNodes()
            self._keep("segmentation", node, "segmentation")

    def _numbers(self) -> Steps[None]:
        from . import landmark_errors, plots, tables

        scene, metrics = self._scene, self._metrics
        if metrics.get("segments"):
            with self._change:
                table = tables.segments_table(scene, metrics, self._name("segments"))
                self._keep("segments_table", table, "segments")
                self._keep("chart.segments", plots.segments_chart(scene, table), None)
                chart = plots.jacobian_chart(scene, metrics, self._name("Jacobian"))
                self._keep("chart.jacobian", chart, None)
            yield "Adding the tables"
        landmarks = metrics.get("landmarks") or {}
        if landmarks.get("fixed_points"):
            with self._change:
                table = tables.landmarks_table(scene, metrics, self._name("landmarks"))
                self._keep("landmarks_table", table, "landmarks")
                self._keep("chart.landmarks", plots.landmarks_chart(scene, table), None)
                points = landmark_errors.error_points(
                    scene,
                    metrics,
                    self._name("landmark errors"),
                    spacing=self._nodes.fixed.GetSpacing(),
                    # the sticks go along its *to parent*, which is the way back only as it is meant
                    transform=None if self._nodes.use_inverse else self._nodes.transform,
                )
                self._keep("error_points", points, "landmark errors")
            yield "Adding the landmarks"

    # ------------------------------------------------------------------ what belongs together

    def _name(self, what: str) -> str:
        return f"{self._nodes.transform.GetName()} {what} (review)"

    def _keep(self, role: str, node: slicer.vtkMRMLNode | None, what: str | None) -> None:
        if node is not None:
            self._made[role] = node
            if what is not None:
                self._names[role] = self._name(what)

    def _record(self) -> None:
        """Everything that can fail has been done: the earlier review goes, this one takes its place."""
        transform = self._nodes.transform
        said = {
            "metrics": dict(self._metrics),
            "provenance": dict(self._provenance),
            "messages": [*self._messages, *self._provenance.get("messages", ())],
            "maps": [role for role in self._made if _is_map(role)],
        }
        text = json.dumps(said)
        remove_review(transform)
        for role, node in self._made.items():
            transform.SetNodeReferenceID(_ROLE + role, node.GetID())
            if role in self._names:
                self._give_name(node, self._names[role])
        for node_id in self._change.added():
            node = self._scene.GetNodeByID(node_id)
            if node is not None and not node.IsSingleton() and not any(node.IsA(c) for c in _NOT_OURS):
                transform.AddNodeReferenceID(_ALL_ROLE, node_id)
        transform.SetAttribute(REVIEW_ATTRIBUTE, text)
        found = outputs_of(transform)
        assert found is not None
        self.outputs = found

    def _give_name(self, node: slicer.vtkMRMLNode, name: str) -> None:
        """`name`, now that the earlier review no longer holds it, or one like it where another node does."""
        node.SetName("")
        taken = self._scene.GetFirstNodeByName(name) is not None
        node.SetName(self._scene.GenerateUniqueName(name) if taken else name)


class _Change(SceneChange):
    """A change made in several steps, each in a `with` of its own."""

    def added(self) -> tuple[str, ...]:
        return tuple(self._added)

    def undo(self) -> None:
        """Take out what all steps have added."""
        self.__exit__(RuntimeError, RuntimeError(), None)


def _is_map(role: str) -> bool:
    return role not in (*_VOLUMES, *_TABLES) and not role.startswith("chart.")


def _shared_image(array: NDArray[Any]) -> Any:
    """An image whose voxels are the memory of `array`, which it keeps alive; the geometry is the node's."""
    image = empty_image(list(array.shape[::-1]), np.eye(4))
    scalars = numpy_to_vtk(array.reshape(-1), deep=False)
    image.GetPointData().SetScalars(scalars)
    return image


def _as_int16(array: NDArray[Any]) -> Steps[NDArray[np.int16]]:
    out, pace = np.empty(array.shape, np.int16), Pace()
    for slices, rows in blocks(array.shape[::-1], pace):  # type: ignore[arg-type]
        with pace.step(array[slices, rows].size):
            out[slices, rows] = array[slices, rows]
        yield "Reading"
    return out


def _without_paths(provenance: Mapping[str, Any], nodes: ReviewNodes) -> dict[str, Any]:
    """The provenance as a scene keeps it: names of nodes in place of files in a folder that goes away."""
    kept = {name: value for name, value in provenance.items() if name != "files"}
    given = {name: getattr(nodes, name) for name in ReviewNodes.__dataclass_fields__ if name != "use_inverse"}
    return {**kept, "inputs": {name: node.GetName() for name, node in given.items() if node is not None}}


def remove_review(transform: slicer.vtkMRMLTransformNode) -> None:
    """Take what the last review of this transform has added out of the scene."""
    scene = transform.GetScene()
    count = transform.GetNumberOfNodeReferences(_ALL_ROLE)
    ids = [transform.GetNthNodeReferenceID(_ALL_ROLE, k) for k in range(count)]
    transform.RemoveNodeReferenceIDs(_ALL_ROLE)
    for role in _roles(transform):
        transform.SetNodeReferenceID(role, None)
    transform.RemoveAttribute(REVIEW_ATTRIBUTE)
    for node_id in reversed(ids):
        node = scene.GetNodeByID(node_id) if node_id else None
        if node is not None:
            scene.RemoveNode(node)


def _roles(transform: slicer.vtkMRMLTransformNode) -> list[str]:
    maps = _said(transform).get("maps", ())
    return [_ROLE + name for name in (*maps, *_VOLUMES, *_TABLES, *(f"chart.{c}" for c in _CHARTS))]


def _said(transform: slicer.vtkMRMLTransformNode) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(transform.GetAttribute(REVIEW_ATTRIBUTE) or "{}")
    return found


def outputs_of(transform: slicer.vtkMRMLTransformNode) -> ReviewOutputs | None:
    """What the last review of this transform has added (also after the scene was saved and loaded); None
    where there was none. Nodes that were removed since are left out.
    """
    said = _said(transform)
    if not said:
        return None

    def node(name: str) -> Any:
        return transform.GetNodeReference(_ROLE + name)

    return ReviewOutputs(
        transform=transform,
        maps={name: node(name) for name in said.get("maps", ()) if node(name) is not None},
        charts={name: node(f"chart.{name}") for name in _CHARTS if node(f"chart.{name}") is not None},
        metrics=said.get("metrics", {}),
        provenance=said.get("provenance", {}),
        messages=tuple(said.get("messages", ())),
        **{name: node(name) for name in (*_VOLUMES, *_TABLES)},
    )
