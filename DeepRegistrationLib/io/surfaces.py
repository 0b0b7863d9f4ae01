"""Surfaces of structures: one model file, or a folder of them with one structure in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.points import PointSet
from .images import described
from .meshes import Mesh, parse_mesh, to_ply
from .paths import AnyPath, ending, readable, replacing, required_ending

ENDINGS = (".ply", ".stl", ".vtk", ".vtp")
_WRITTEN = (".ply",)


def read_surfaces(path: AnyPath) -> PointSet:
    """All points and triangles, LPS mm, with the label and the name of the structure that each point belongs to.

    A .ply that `write_surfaces` wrote holds several structures. Any other file is one structure that has the name of
    the file; of a folder every model file is one. Raises InputError for files that cannot be read, and for a folder
    without model files.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        files = sorted(f for f in place.iterdir() if f.is_file() and ending(f, ENDINGS))
        if not files:
            raise InputError(
                f"The folder {str(path)!r} holds no model files; give one with {', '.join(ENDINGS)} files in it."
            )
    else:
        files = [readable(place, "model")]
    return _joined([_read(file) for file in files])


def write_surfaces(surfaces: PointSet, path: AnyPath) -> None:
    """Writes all structures into one .ply, whole or not at all. Raises OutputError."""
    suffix = required_ending(path, _WRITTEN, "surface file")
    points = surfaces.points.detach().cpu().numpy()
    labels = None if surfaces.labels is None else _whole(surfaces.labels)
    mesh = Mesh(points, _whole(surfaces.triangles).reshape(-1, 3), labels, surfaces.label_names)
    with replacing(path, suffix) as temporary:
        temporary.write_bytes(to_ply(mesh))


def _whole(values: torch.Tensor | None) -> NDArray[np.int64]:
    return np.zeros(0, np.int64) if values is None else torch.as_tensor(values).cpu().numpy().astype(np.int64)


def _read(file: Path) -> Mesh:
    kind = ending(file, ENDINGS)
    if not kind:
        raise InputError(f"{str(file)!r} is no model file; give one of {', '.join(ENDINGS)}.")
    if kind == ".vtp":
        return described(file, lambda: _read_vtp(file))
    mesh = described(file, lambda: parse_mesh(file.read_bytes(), kind))
    if mesh.labels is not None:
        known = {label: mesh.names.get(label) or f"{_title(file)} {label}" for label in np.unique(mesh.labels).tolist()}
        return Mesh(mesh.points, mesh.triangles, mesh.labels, known)
    return Mesh(mesh.points, mesh.triangles, np.ones(len(mesh.points), dtype=np.int64), {1: _title(file)})


def _title(file: Path) -> str:
    return unquote(file.name[: -len(ending(file, ENDINGS))])


def _read_vtp(file: Path) -> Mesh:
    try:
        from vtk import vtkTriangleFilter, vtkXMLPolyDataReader
        from vtk.util.numpy_support import vtk_to_numpy
    except ImportError:
        raise InputError("Models in .vtp need VTK, which is not installed; save the model as .ply or .vtk.") from None
    reader, triangles = vtkXMLPolyDataReader(), vtkTriangleFilter()
    reader.SetFileName(str(file))
    triangles.SetInputConnection(reader.GetOutputPort())
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    triangles.Update()
    data = triangles.GetOutput()
    if data.GetNumberOfPoints() == 0:
        raise InputError("It holds no points; save the model again.")
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64)
    space = reader.GetOutput().GetFieldData().GetAbstractArray("SPACE")
    if space is not None and space.GetNumberOfValues() and "RAS" in space.GetValue(0):
        points = points * (-1.0, -1.0, 1.0)
    faces = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return Mesh(points, faces, np.ones(len(points), dtype=np.int64), {1: _title(file)})


def _joined(meshes: Sequence[Mesh]) -> PointSet:
    """One set of points; structures of different files get labels of their own, those of the same name the same."""
    points, triangles, labels, names = [], [], [], []
    table: dict[str, int] = {}
    total = 0
    for mesh in meshes:
        assert mesh.labels is not None  # `_read` gives them
        for label, name in mesh.names.items():
            table.setdefault(name, label if len(meshes) == 1 else len(table) + 1)
        own = [mesh.names[label] for label in mesh.labels.tolist()]
        points.append(mesh.points)
        triangles.append(mesh.triangles + total)
        labels += [table[name] for name in own]
        names += own
        total += len(mesh.points)
    faces = np.concatenate(triangles)
    return PointSet(
        torch.from_numpy(np.concatenate(points)),
        torch.tensor(labels, dtype=torch.int64),
        names,
        torch.from_numpy(faces) if len(faces) else None,
    )
