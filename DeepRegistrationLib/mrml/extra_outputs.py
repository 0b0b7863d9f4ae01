"""What some methods give beside the usual outputs, as nodes: maps, series of images, points and other answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import InputError
from ..jobs.extras import ALTERNATIVE, POINTS, SERIES, names_of
from ..jobs.results import is_map
from ..metrics.map_kinds import map_kind
from .landmarks import add_points, read_landmarks
from .map_nodes import add_map
from .series import add_series, look_like
from .tables import candidates_table
from .transforms import read_transform
from .volumes import read_array

_ROLE = "DeepRegistration.output."
_TABLE_ROLE = _ROLE + "alternatives_table"
_ALTERNATIVE_ROLE = _ROLE + ALTERNATIVE
#: more points than this are not shown at first, for they would cover what is looked at
_MANY_POINTS = 500
#: points of these names lie in the moving volume and are moved along with it
_OF_MOVING = "moving"


@dataclass(frozen=True)
class ExtraNodes:
    """See results.RegistrationNodes."""

    maps: Mapping[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)
    series: Mapping[str, slicer.vtkMRMLSequenceBrowserNode] = field(default_factory=dict)
    points: Mapping[str, slicer.vtkMRMLMarkupsFiducialNode] = field(default_factory=dict)
    alternatives: tuple[slicer.vtkMRMLTransformNode, ...] = ()
    alternatives_table: slicer.vtkMRMLTableNode | None = None

    def sentences(self) -> tuple[str, ...]:
        """What the user should know of them."""
        said = []
        if self.series:
            titles = " and ".join(repr(map_kind(name).title) for name in self.series)
            said.append(f"Play {titles} with the sequence browser.")
        if any(node.GetNumberOfControlPoints() > _MANY_POINTS for node in self.points.values()):
            said.append("Points that were matched are two point lists, hidden at first; show them in the module Data.")
        if len(self.alternatives) > 1:
            said.append(f"{len(self.alternatives)} candidates were found; the best one is shown.")
        return tuple(said)


def load_extras(
    scene: slicer.vtkMRMLScene,
    folder: Path,
    files: Mapping[str, str],
    provenance: Mapping[str, Any],
    pair: str,
    moving: slicer.vtkMRMLVolumeNode,
) -> ExtraNodes:
    """Add to the scene what `files` (output name -> file in `folder`) has of it; names begin with `pair`.

    Raises InputError where a file is damaged; what was added before that is the caller's to take out.
    """
    maps, series, points = {}, {}, {}
    for name in filter(is_map, files):
        array, matrix = read_array(folder / files[name])
        if array.ndim != 3:
            raise InputError(f"The map {files[name]!r} has several values a voxel; run the alignment again.")
        kind = map_kind(name)
        maps[name] = add_map(scene, array, matrix, kind, f"{pair} {kind.title}")
        if kind.like_moving:
            look_like(maps[name], moving, array[::4, ::4, ::4])
    for name, file in names_of(files, SERIES).items():
        array, matrix = read_array(folder / file)
        array = array if array.ndim == 4 else array[..., None]
        kind = map_kind(name)
        series[name] = add_series(scene, array, matrix, kind, f"{pair} {kind.title}", moving)
    for name, file in names_of(files, POINTS).items():
        names, rows = read_landmarks(folder / file)
        points[name] = add_points(scene, names, rows, f"{pair} {name.replace('_', ' ')}")
        if len(rows) > _MANY_POINTS:
            points[name].SetDisplayVisibility(False)
    numbered = names_of(files, ALTERNATIVE)
    alternatives = tuple(
        _alternative(scene, folder / numbered[number], f"{pair} candidate {number}")
        for number in sorted(numbered, key=int)
    )
    table = None
    if alternatives:
        told = provenance.get("alternatives") or [{} for _ in alternatives]
        table = candidates_table(scene, told, f"{pair} candidates")
    return ExtraNodes(maps, series, points, alternatives, table)


def _alternative(scene: slicer.vtkMRMLScene, path: Path, name: str) -> slicer.vtkMRMLTransformNode:
    node = read_transform(path)
    node.SetName(scene.GenerateUniqueName(name))
    return scene.AddNode(node)


def record_extras(transform: slicer.vtkMRMLTransformNode, extras: ExtraNodes) -> None:
    """Refer to them from the output transform, and let points in the moving volume move with it."""
    for kind, nodes in (("map", extras.maps), (SERIES, extras.series), (POINTS, extras.points)):
        for name, node in nodes.items():
            transform.SetNodeReferenceID(f"{_ROLE}{kind}.{name}", node.GetID())
    for node in extras.alternatives:
        transform.AddNodeReferenceID(_ALTERNATIVE_ROLE, node.GetID())
    if extras.alternatives_table is not None:
        transform.SetNodeReferenceID(_TABLE_ROLE, extras.alternatives_table.GetID())
    for name, node in extras.points.items():
        if name.startswith(_OF_MOVING):
            node.SetAndObserveTransformNodeID(transform.GetID())


def extras_of(transform: slicer.vtkMRMLTransformNode) -> ExtraNodes:
    """What `record_extras` wrote, also after the scene was saved and loaded; nodes that were removed are left out."""
    roles = [transform.GetNthNodeReferenceRole(k) for k in range(transform.GetNumberOfNodeReferenceRoles())]

    def of_kind(kind: str) -> dict[str, Any]:
        start = f"{_ROLE}{kind}."
        found = {role.removeprefix(start): transform.GetNodeReference(role) for role in roles if role.startswith(start)}
        return {name: node for name, node in found.items() if node is not None}

    count = transform.GetNumberOfNodeReferences(_ALTERNATIVE_ROLE)
    alternatives = [transform.GetNthNodeReference(_ALTERNATIVE_ROLE, k) for k in range(count)]
    return ExtraNodes(
        of_kind("map"),
        of_kind(SERIES),
        of_kind(POINTS),
        # without one of them the others would have wrong numbers
        tuple(alternatives) if all(node is not None for node in alternatives) else (),
        transform.GetNodeReference(_TABLE_ROLE),
    )


def release_points(transform: slicer.vtkMRMLTransformNode) -> None:
    """Points in the moving volume go back with it."""
    for node in extras_of(transform).points.values():
        if node.GetTransformNodeID() == transform.GetID():
            node.SetAndObserveTransformNodeID(None)


def tidy(scene: slicer.vtkMRMLScene, extras: ExtraNodes, title: str) -> None:
    """The candidates and their table in a folder of the subject hierarchy; no folder is left where that fails."""
    if not extras.alternatives:
        return
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy is None:
        return
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), title)
    try:
        for node in (*extras.alternatives, extras.alternatives_table):
            item = hierarchy.GetItemByDataNode(node)
            if item == hierarchy.GetInvalidItemID():
                hierarchy.CreateItem(folder, node)
            else:
                hierarchy.SetItemParent(item, folder)
    except BaseException:
        hierarchy.RemoveItem(folder, False, False)
        raise
