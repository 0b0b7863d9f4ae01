"""Markups as landmark files in world coordinates (LPS), and such files as markups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from ..core.errors import InputError
from .places import Place

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
#: more points than this are shown small and without their names
_MANY = 50
_SMALL_PERCENT = 1.0


def write_landmarks(node: slicer.vtkMRMLMarkupsNode, place: Place, path: Path, role: str) -> int:
    """The placed points of `node` as a .mrk.json file; returns their number. Raises InputError where none
    is placed.
    """
    points: list[list[float]] = []
    labels: list[str] = []
    for k in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(k) != slicer.vtkMRMLMarkupsNode.PositionDefined:
            continue
        position = [0.0, 0.0, 0.0]
        node.GetNthControlPointPosition(k, position)
        points.append(position)
        labels.append(node.GetNthControlPointLabel(k))
    if not points:
        raise InputError(f"The {role} {node.GetName()!r} have no placed points; place some, or choose none.")
    world = place.to_world(np.array(points)) * (-1.0, -1.0, 1.0)
    control = [
        {"id": str(k + 1), "label": label, "position": p, "positionStatus": "defined"}
        for k, (label, p) in enumerate(zip(labels, world.tolist(), strict=True))
    ]
    markup: dict[str, Any] = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm"}
    markup["controlPoints"] = control
    path.write_text(json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=1), encoding="utf-8")
    return len(points)


def read_landmarks(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """(names, (N, 3) LPS mm) of a .mrk.json that the worker has written. Raises InputError where it is damaged."""
    try:
        markup = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
        points = markup["controlPoints"]
        rows = np.array([point["position"] for point in points], dtype=np.float64).reshape(len(points), 3)
        if markup.get("coordinateSystem", "LPS") != "LPS":
            rows = rows * (-1.0, -1.0, 1.0)
        return [str(point.get("label") or "") for point in points], rows
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"The points file {str(path)!r} is damaged or missing and cannot be read; run the alignment again."
        ) from error


def add_points(
    scene: slicer.vtkMRMLScene, names: list[str], points: NDArray[np.float64], name: str
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """A locked point list; points (N, 3) LPS mm. Where there are many they are shown small, without names."""
    node = slicer.vtkMRMLMarkupsFiducialNode()
    node.SetName(scene.GenerateUniqueName(name))
    changing = node.StartModify()
    for k, (label, row) in enumerate(zip(names, (points * (-1.0, -1.0, 1.0)).tolist(), strict=True), 1):
        node.AddControlPoint(vtk.vtkVector3d(*row), label or str(k))
    node.SetLocked(True)
    node.EndModify(changing)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None and len(names) > _MANY:
        display.SetPointLabelsVisibility(False)
        display.SetGlyphScale(_SMALL_PERCENT)
    return node
