"""Model nodes as one file of named surfaces in world coordinates (LPS), which io.read_surfaces reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from ..core.errors import InputError
from ..jobs.outputs import writing_failed
from .places import Place
from .transforms import transformed

_LPS_SIGNS = (-1.0, -1.0, 1.0)


def write_models(models: Sequence[tuple[slicer.vtkMRMLModelNode, Place]], path: Path, role: str) -> None:
    """One binary .ply with a label a point and the names of the models; see io.surfaces.

    Raises InputError where a model has no surface or two have the same name, and OutputError.
    """
    names = [model.GetName() for model, _place in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"Two of the {role} are called {twice!r}; rename one, or choose only one of them.")
    points, labels, faces = [], [], []
    total = 0
    for label, (model, place) in enumerate(models, 1):
        own, triangles = _surface(model, place, role)
        points.append(own)
        labels.append(np.full(len(own), label, np.int32))
        faces.append(triangles + total)
        total += len(own)
    try:
        path.write_bytes(_ply(np.concatenate(points), np.concatenate(labels), np.concatenate(faces), names))
    except OSError as error:
        raise writing_failed(path, error) from error


def _surface(
    model: slicer.vtkMRMLModelNode, place: Place, role: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """((N, 3) LPS mm, (M, 3) vertex numbers)."""
    data = model.GetPolyData()
    triangles = vtk.vtkTriangleFilter()
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    if data is not None:
        triangles.SetInputData(data)
        triangles.Update()
    made = triangles.GetOutput()
    if data is None or made.GetNumberOfPolys() == 0:
        raise InputError(f"The {role} {model.GetName()!r} has no surface; choose a model with triangles.")
    own = vtk_to_numpy(made.GetPoints().GetData()).astype(np.float64)
    cells = vtk_to_numpy(made.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return transformed(place.transform, own) * _LPS_SIGNS, cells


def _ply(
    points: NDArray[np.float64], labels: NDArray[np.int32], faces: NDArray[np.int64], names: Sequence[str]
) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", "comment SPACE=LPS"]
    lines += [f"comment segment {label} {' '.join(name.split())}" for label, name in enumerate(names, 1)]
    lines += [f"element vertex {len(points)}", *(f"property double {axis}" for axis in "xyz"), "property int label"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    kinds: list[Any] = [("place", "<f8", (3,)), ("label", "<i4")]
    vertices = np.zeros(len(points), dtype=kinds)
    vertices["place"], vertices["label"] = points, labels
    table = np.zeros(len(faces), dtype=[("count", "u1"), ("vertices", "<i4", (3,))])
    table["count"], table["vertices"] = 3, faces
    return "\n".join(lines).encode("utf-8") + vertices.tobytes() + table.tobytes()
