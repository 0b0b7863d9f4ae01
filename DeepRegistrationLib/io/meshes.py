"""Triangle meshes in files: PLY, STL and VTK's legacy format for polygons, text or binary; numpy only.

Facts of the formats: PLY after Greg Turk's description of 1994, STL after the customs of its two forms, VTK after
"VTK File Formats" of Kitware. Slicer writes "SPACE=LPS" or "SPACE=RAS" into the first lines of each; without it LPS
is taken, as Slicer does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_VTK_TYPES = {"float": ">f4", "double": ">f8", "int": ">i4", "vtktypeint64": ">i8", "vtkIdType": ">i8", "long": ">i8"}
_SEGMENT = re.compile(r"segment (-?\d+) (.+)")
_HEAD = 2048  # bytes in which Slicer says the coordinate system


@dataclass(frozen=True)
class Mesh:
    """points (N, 3) LPS mm; triangles (M, 3) vertex numbers; labels one a point, or None; names label -> name."""

    points: NDArray[np.float64]
    triangles: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None
    names: Mapping[int, str] = field(default_factory=dict)


def parse_mesh(data: bytes, ending: str) -> Mesh:
    """The mesh of a file that ends in .ply, .stl or .vtk. Raises InputError where it is damaged or no such file."""
    read = {".ply": _ply, ".stl": _stl, ".vtk": _vtk}[ending]
    try:
        found = read(data)
    except (ValueError, LookupError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"It cannot be read as a {ending} file ({error}); save the model again.") from None
    if len(found.points) == 0:
        raise InputError("It holds no points; save the model again.")
    if len(found.triangles) and not 0 <= found.triangles.min() <= found.triangles.max() < len(found.points):
        raise InputError("Its triangles name points that it does not hold; save the model again.")
    sign = -1.0 if b"SPACE=RAS" in data[:_HEAD] else 1.0
    return Mesh(found.points * (sign, sign, 1.0), found.triangles, found.labels, found.names)


def to_ply(mesh: Mesh) -> bytes:
    """A binary PLY file in LPS; labels become a property of the vertices, the names of segments comments."""
    fields: list[Any] = [("x", "<f8"), ("y", "<f8"), ("z", "<f8")]
    lines = ["ply", "format binary_little_endian 1.0", "comment SPACE=LPS"]
    lines += [f"comment segment {label} {' '.join(name.split())}" for label, name in mesh.names.items()]
    lines += [f"element vertex {len(mesh.points)}", "property double x", "property double y", "property double z"]
    if mesh.labels is not None:
        fields.append(("label", "<i4"))
        lines.append("property int label")
    lines += [f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    vertices = np.zeros(len(mesh.points), dtype=fields)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.points[:, k]
    if mesh.labels is not None:
        vertices["label"] = mesh.labels
    faces = np.zeros(len(mesh.triangles), dtype=[("count", "u1"), ("vertices", "<i4", (3,))])
    faces["count"], faces["vertices"] = 3, mesh.triangles
    return "\n".join(lines).encode("utf-8") + vertices.tobytes() + faces.tobytes()


# ---------------------------------------------------------------------- PLY


def _ply(data: bytes) -> Mesh:
    end = data.index(b"end_header")
    begin = data.index(b"\n", end) + 1
    header = data[:end].decode("utf-8").splitlines()
    if header[0].strip() != "ply":
        raise ValueError("it does not begin with 'ply'")
    form = next(line.split()[1] for line in header if line.startswith("format "))
    names = {int(m[1]): m[2].strip() for line in header if (m := _SEGMENT.fullmatch(line.removeprefix("comment ")))}
    elements: list[tuple[str, int, list[list[str]]]] = []
    for words in (line.split() for line in header):
        if words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append(words[1:])
    source: _Reader = _Words(data[begin:]) if form == "ascii" else _Bytes(data[begin:], ">" if "big" in form else "<")
    points, labels = np.zeros((0, 3)), None
    polygons: tuple[list[int], list[int]] = ([], [])
    for name, count, properties in elements:
        if name == "vertex":
            table = source.table(count, [(p[1], _PLY_TYPES[p[0]]) for p in properties])
            points = np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)
            labels = table["label"].astype(np.int64) if "label" in (table.dtype.names or ()) else None
        elif name == "face":
            polygons = source.lists(count, properties)
        else:
            break
    return Mesh(points, _fans(*polygons), labels, names if labels is not None else {})


class _Words:
    """Values written as text."""

    def __init__(self, data: bytes) -> None:
        self._lines = data.decode("ascii").split("\n")
        self._at = 0

    def _next(self) -> list[str]:
        line = self._lines[self._at].split()
        self._at += 1
        return line

    def table(self, count: int, fields: list[tuple[str, str]]) -> NDArray[Any]:
        rows = [tuple(float(word) for word in self._next()[: len(fields)]) for _ in range(count)]
        return np.array(rows, dtype=[(name, "f8") for name, _ in fields])

    def lists(self, count: int, properties: list[list[str]]) -> tuple[list[int], list[int]]:
        counts, flat = [], []
        for _ in range(count):
            words = self._next()
            size = int(words[0])
            counts.append(size)
            flat += [int(w) for w in words[1 : 1 + size]]
        return counts, flat


class _Bytes:
    """Values written as they lie in memory."""

    def __init__(self, data: bytes, order: str) -> None:
        self._data, self._order, self._at = data, order, 0

    def _take(self, dtype: Any, count: int) -> NDArray[Any]:
        found = np.frombuffer(self._data, dtype, count, self._at)
        self._at += found.nbytes
        return found

    def table(self, count: int, fields: list[tuple[str, str]]) -> NDArray[Any]:
        return self._take(np.dtype([(name, self._order + kind) for name, kind in fields]), count)

    def lists(self, count: int, properties: list[list[str]]) -> tuple[list[int], list[int]]:
        if len(properties) != 1 or properties[0][0] != "list":
            raise ValueError("its faces have more than their vertices")
        size, index = (np.dtype(self._order + _PLY_TYPES[kind]) for kind in properties[0][1:3])
        triangle = np.dtype([("count", size), ("vertices", index, (3,))])
        if len(self._data) - self._at >= count * triangle.itemsize:
            faces = np.frombuffer(self._data, triangle, count, self._at)
            if (faces["count"] == 3).all():
                return faces["count"].tolist(), faces["vertices"].reshape(-1).tolist()
        counts, flat = [], []
        for _ in range(count):
            counts.append(int(self._take(size, 1)[0]))
            flat += self._take(index, counts[-1]).tolist()
        return counts, flat


_Reader = _Words | _Bytes


def _fans(counts: Any, flat: Any) -> NDArray[np.int64]:
    """Polygons of `counts` vertices, one after the other in `flat`, as (M, 3) triangles around their first vertex."""
    counts, flat = np.asarray(counts, dtype=np.int64), np.asarray(flat, dtype=np.int64)
    if (counts == 3).all():
        return flat.reshape(-1, 3)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    parts = [
        np.stack([flat[f : f + 1].repeat(n - 2), flat[f + 1 : f + n - 1], flat[f + 2 : f + n]], axis=1)
        for f, n in zip(first.tolist(), counts.tolist(), strict=True)
        if n >= 3
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)


# ---------------------------------------------------------------------- STL


def _stl(data: bytes) -> Mesh:
    """Every triangle has corners of its own there; corners at the same place become one point."""
    count = int(np.frombuffer(data, "<u4", 1, 80)[0]) if len(data) >= 84 else -1
    if len(data) == 84 + 50 * count:
        facet = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("more", "<u2")])
        corners = np.frombuffer(data, facet, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
    else:
        found = re.findall(r"^\s*vertex\s+(\S+)\s+(\S+)\s+(\S+)", data.decode("ascii"), re.MULTILINE)
        corners = np.array(found, dtype=np.float64).reshape(-1, 3)
    if len(corners) % 3:
        raise ValueError(f"it has {len(corners)} corners, but triangles have three")
    points, index = np.unique(corners, axis=0, return_inverse=True)
    return Mesh(points, index.reshape(-1, 3).astype(np.int64))


# ---------------------------------------------------------------------- VTK


def _vtk(data: bytes) -> Mesh:
    lines = data.split(b"\n", 4)
    if not lines[0].startswith(b"# vtk DataFile"):
        raise ValueError("it does not begin as VTK's files do")
    if lines[3].split()[1:] != [b"POLYDATA"]:
        raise ValueError(f"it holds {lines[3].decode('ascii', 'replace')}, not polygons")
    body = _VtkBody(lines[4], lines[2].strip().upper() == b"BINARY")
    points, counts, flat = np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64)
    while words := body.words():
        kind = words[0]
        if kind == "POINTS":
            points = body.values(words[2], 3 * int(words[1])).astype(np.float64).reshape(-1, 3)
        elif kind in ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS"):
            found = body.cells(int(words[1]), int(words[2]))
            if kind == "POLYGONS":
                counts, flat = found
            elif kind == "TRIANGLE_STRIPS" and len(found[0]):
                raise ValueError("it holds triangle strips")
        elif kind in ("POINT_DATA", "CELL_DATA", "FIELD"):
            break
    return Mesh(points, _fans(counts, flat))


class _VtkBody:
    """Goes through what stands after the head of the file."""

    def __init__(self, data: bytes, binary: bool) -> None:
        self._data, self._binary, self._at = data, binary, 0

    def words(self) -> list[str]:
        """The next line that begins a part; [] at the end."""
        while self._at < len(self._data):
            end = self._data.find(b"\n", self._at)
            end = len(self._data) if end < 0 else end
            words = self._data[self._at : end].decode("ascii", "replace").split()
            self._at = end + 1
            if words and words[0].isupper() and words[0] not in ("METADATA", "INFORMATION", "NAME", "DATA"):
                return words
        return []

    def values(self, kind: str, count: int) -> NDArray[Any]:
        dtype = np.dtype(_VTK_TYPES[kind])
        if self._binary:
            found = np.frombuffer(self._data, dtype, count, self._at)
            self._at += found.nbytes
            return found
        number = re.compile(rb"\s*(\S+)")
        texts = []
        for _ in range(count):
            match = number.match(self._data, self._at)
            if match is None:
                raise ValueError("it ends too early")
            texts.append(match[1])
            self._at = match.end()
        return np.array(texts).astype(dtype)

    def cells(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(number of vertices of each, all vertices), in either of the two forms."""
        before = self._at
        words = self.words() if self._data[self._at :].lstrip()[:7] == b"OFFSETS" else []
        if words:
            offsets = self.values(words[1], count).astype(np.int64)
            flat = self.values(self.words()[1], size).astype(np.int64)
            return np.diff(offsets), flat
        self._at = before
        table = self.values("int", size).astype(np.int64)
        counts, at, own = np.zeros(count, np.int64), 0, np.ones(len(table), bool)
        for k in range(count):
            counts[k], own[at] = table[at], False
            at += 1 + int(table[at])
        return counts, table[own]
