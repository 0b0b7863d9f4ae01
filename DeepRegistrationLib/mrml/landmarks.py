"""Markups as landmark files in world coordinates (LPS)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..core.errors import InputError
from .places import Place

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


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
