"""Texts of Slicer's markups files: JSON (.mrk.json, schema 1.0.3) and the older FCSV.

Facts of the formats are from Slicer's vtkMRMLMarkupsJsonStorageNode and vtkMRMLMarkupsFiducialStorageNode:
JSON is LPS unless it says RAS; FCSV is RAS unless it says LPS, old versions write 0 for RAS, 1 for LPS.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..core.errors import InputError
from ..core.points import PointSet

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_RAS_TO_LPS = {"LPS": 1.0, "1": 1.0, "RAS": -1.0, "0": -1.0}

#: directions of a point that has none of its own: the RAS axes, in LPS
_ORIENTATION = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]

_FCSV_COLUMNS = ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc"]
_FCSV_COLUMNS += ["associatedNodeID"]
#: files without a version are of Slicer 3
_FCSV_OLD_COLUMNS = ["label", "x", "y", "z", "sel", "vis"]
_FCSV_POSITION_STATUS = 14
_DEFINED = "2"


def parse_markups(text: str) -> PointSet:
    """The control points of the one markup in a .mrk.json, LPS mm.

    Raises InputError for other JSON, several markups in one file, and points that were not placed.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if text.splitlines() else ""
        raise InputError(
            f"Line {error.lineno} is {line.strip()[:80]!r}, which is not JSON; save it again."
        ) from None
    markups = content.get("markups") if isinstance(content, Mapping) else None
    if not isinstance(markups, list) or not all(isinstance(m, Mapping) for m in markups):
        raise InputError(
            "It is JSON but not a Slicer markups file; save the point list from Slicer as .mrk.json."
        )
    if len(markups) != 1:
        raise InputError(
            f"It holds {len(markups)} markups, but one list of points is wanted; save it by itself."
        )
    markup = markups[0]
    units = markup.get("coordinateUnits") or "mm"
    if units not in ("mm", ["mm", "UCUM", "millimeter"]):
        raise InputError(f"Its coordinates are in {units!r}, but millimetres are wanted; convert them first.")
    sign = _sign(str(markup.get("coordinateSystem") or "LPS"))
    points = markup.get("controlPoints") or []
    rows = [_position(point, number) for number, point in enumerate(points, 1)]
    names = [str(point.get("label") or "") for point in points]
    return _point_set(rows, names, sign)


def to_markups(rows: np.ndarray, names: Sequence[str]) -> str:
    """A markups file with one point list; rows (N, 3) LPS mm."""
    points = [
        {
            "id": str(k + 1),
            "label": str(names[k]) if names else f"F-{k + 1}",
            "description": "",
            "associatedNodeID": "",
            "position": [float(v) for v in row],
            "orientation": _ORIENTATION,
            "selected": True,
            "locked": False,
            "visibility": True,
            "positionStatus": "defined",
        }
        for k, row in enumerate(rows)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
    }
    return json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=2) + "\n"


def parse_fcsv(text: str) -> PointSet:
    """The points of an .fcsv, LPS mm. Raises InputError that quotes the line which is not understood."""
    sign, versioned = _sign("RAS"), False
    columns: list[str] = []
    rows: list[list[float]] = []
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, _, value = (part.strip() for part in line[1:].partition("="))
            if key == "CoordinateSystem":
                sign = _sign(value)
            elif key == "Markups fiducial file version":
                versioned = True
            elif key == "columns":
                columns = [c.strip() for c in value.split(",")]
        elif line.strip():
            known = columns or (_FCSV_COLUMNS if versioned else _FCSV_OLD_COLUMNS)
            row, name = _fcsv_point(line, number, known)
            rows.append(row)
            names.append(name)
    return _point_set(rows, names, sign)


def to_fcsv(rows: np.ndarray, names: Sequence[str]) -> str:
    """rows (N, 3) LPS mm."""
    lines = [
        "# Markups fiducial file version = 5.10",
        "# CoordinateSystem = LPS",
        f"# columns = {','.join(_FCSV_COLUMNS)}",
    ]
    for k, row in enumerate(rows):
        name = str(names[k]) if names else f"F-{k + 1}"
        quoted = '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"') else name
        x, y, z = (repr(float(v)) for v in row)
        lines.append(f"{k + 1},{x},{y},{z},1,0,0,0,1,1,0,{quoted},,,2,0")
    return "\n".join(lines) + "\n"


def _sign(system: str) -> float:
    """+1 where x and y are LPS, -1 where they are RAS."""
    found = _RAS_TO_LPS.get(system.strip().upper())
    if found is None:
        raise InputError(
            f"Its coordinate system is {system!r}, but LPS or RAS is wanted; save it again in one of them."
        )
    return found


def _position(point: Any, number: int) -> list[float]:
    if not isinstance(point, Mapping):
        raise InputError(f"Control point {number} is {str(point)[:60]!r}, which is not a markups point.")
    label = point.get("label") or number
    position = point.get("position")
    if point.get("positionStatus", "defined") != "defined" or position is None:
        raise InputError(f"Point {label!r} was not placed; place it or delete it and save the list again.")
    try:
        values = [float(v) for v in position]
    except (TypeError, ValueError):
        values = []
    if len(values) != 3:
        raise InputError(f"Point {label!r} has the position {position!r}, but three numbers are wanted.")
    return values


def _fcsv_point(line: str, number: int, columns: Sequence[str]) -> tuple[list[float], str]:
    fields = next(csv.reader([line]))
    try:
        row = [float(fields[columns.index(axis)]) for axis in "xyz"]
    except (ValueError, IndexError):
        raise InputError(f"Line {number} is {line[:80]!r}, but x, y and z as numbers are wanted.") from None
    at = columns.index("label") if "label" in columns else len(fields)
    name = fields[at].strip() if at < len(fields) else ""
    status = fields[_FCSV_POSITION_STATUS] if len(fields) > _FCSV_POSITION_STATUS else _DEFINED
    if status != _DEFINED:
        raise InputError(
            f"Line {number} is {line[:80]!r}, a point that was not placed; place it or delete it."
        )
    return row, name


def _point_set(rows: list[list[float]], names: list[str], sign: float) -> PointSet:
    if not rows:
        raise InputError("It holds no points; place landmarks and save the list again.")
    points = np.array(rows) * [sign, sign, 1.0]
    return PointSet(torch.from_numpy(points), names=names if any(names) else ())
