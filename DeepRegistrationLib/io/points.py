"""Landmarks: Slicer markups (.mrk.json), FCSV and plain text; in memory always LPS mm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.points import PointSet
from .images import described
from .markups import parse_fcsv, parse_markups, to_fcsv, to_markups
from .paths import AnyPath, ending, readable, replacing, required_ending

ENDINGS = (".mrk.json", ".json", ".fcsv", ".txt", ".csv", ".pts", ".dat")
_WRITTEN = (".mrk.json", ".fcsv", ".txt", ".csv")

_SEPARATORS = re.compile(r"[\s,;]+")


def read_points(path: AnyPath, *, dimension: int | None = None, grid: Grid | None = None) -> PointSet:
    """The points of a file, LPS mm, in the order of the file.

    dimension  2 or 3 where it is known: the points of a flat markups file become 2-D ones
    grid       needed for files in voxel indices (elastix "index")

    Plain text: one point a line, numbers separated by blanks, commas or semicolons, `#` starts a comment, a
    name may stand before or after the numbers; "# CoordinateSystem = RAS" is honoured, else they are LPS mm.
    Raises InputError that quotes the line which is not understood.
    """
    file = readable(path, "landmark")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{str(file)!r} is no text; give landmarks as .mrk.json, .fcsv or .txt.") from None
    kind = ending(file, ENDINGS)

    def parse() -> PointSet:
        if kind in (".mrk.json", ".json"):
            points = parse_markups(text)
        elif kind == ".fcsv":
            points = parse_fcsv(text)
        else:
            points = parse_text(text, grid)
        return _of_dimension(points, dimension)

    return described(file, parse)


def write_points(points: PointSet, path: AnyPath) -> None:
    """Writes the points whole or not at all, LPS mm; .mrk.json, .fcsv, .txt or .csv.

    Two-dimensional points get z = 0 in Slicer's formats.

    Raises OutputError for an unknown ending and failures of writing.
    """
    suffix = required_ending(path, _WRITTEN, "landmark file")
    rows = points.points.detach().cpu().numpy()
    if suffix == ".mrk.json":
        text = to_markups(_three(rows), points.names)
    elif suffix == ".fcsv":
        text = to_fcsv(_three(rows), points.names)
    else:
        text = to_text(rows, points.names, "," if suffix == ".csv" else " ")
    with replacing(path, suffix) as temporary:
        temporary.write_text(text, encoding="utf-8")


def parse_text(text: str, grid: Grid | None = None) -> PointSet:
    """See `read_points`."""
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    ras = any(re.match(r"#\s*CoordinateSystem\s*=\s*(RAS|0)\b", line, re.I) for _, line in lines)
    lines = [(n, line.split("#", 1)[0].strip()) for n, line in lines]
    lines = [(n, line) for n, line in lines if line]
    indices = False
    if lines and lines[0][1].lower() in ("point", "index"):
        lines, indices = _elastix(lines)
    elif lines and not any(_is_number(word) for word in _words(lines[0][1])):
        lines = lines[1:]  # names of the columns
    rows, names = _rows(lines)
    if not rows:
        raise InputError("It holds no points; give one point a line, x y z in LPS millimetres.")
    points = np.array(rows)
    if indices:
        if grid is None or grid.dimension != points.shape[1]:
            raise InputError("Its points are voxel indices; convert them to LPS millimetres first.")
        points = grid.world_from_index(points)
    if ras:
        points[:, :2] *= -1
    return PointSet(torch.from_numpy(points), names=names if any(names) else ())


def to_text(rows: np.ndarray, names: Sequence[str], separator: str) -> str:
    """One point a line with all digits, the name last where there are names."""
    axes = separator.join("xyz"[: rows.shape[1]])
    lines = ["# LPS millimetres", f"# {axes}"]
    for k, row in enumerate(rows):
        words = [repr(float(v)) for v in row]
        if names:
            words.append(_SEPARATORS.sub("_", str(names[k])).replace("#", "_") or "_")
        lines.append(separator.join(words))
    return "\n".join(lines) + "\n"


def _elastix(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], bool]:
    """The rows behind elastix's header, a line "point" or "index" and one with their number."""
    indices = lines[0][1].lower() == "index"
    if len(lines) < 2 or not lines[1][1].isdigit():
        raise InputError(
            f"Line {lines[0][0]} says {lines[0][1]!r}, so the next one must be the number of points."
        )
    announced = int(lines[1][1])
    if announced != len(lines) - 2:
        raise InputError(f"It announces {announced} points but holds {len(lines) - 2}; correct the file.")
    return lines[2:], indices


def _rows(lines: Iterable[tuple[int, str]]) -> tuple[list[list[float]], list[str]]:
    rows: list[list[float]] = []
    names: list[str] = []
    for number, line in lines:
        words = _words(line)
        name = ""
        if len(words) > 2 and not _is_number(words[0]):
            name, words = words[0], words[1:]
        elif len(words) > 2 and not _is_number(words[-1]):
            name, words = words[-1], words[:-1]
        if len(words) not in (2, 3) or not all(_is_number(w) for w in words):
            raise InputError(f"Line {number} is {line!r}, but two or three numbers are wanted.")
        if rows and len(words) != len(rows[0]):
            raise InputError(
                f"Line {number} is {line!r}, {len(words)} numbers where the first point has {len(rows[0])}."
            )
        rows.append([float(w) for w in words])
        names.append(name)
    return rows, names


def _words(line: str) -> list[str]:
    return [w for w in _SEPARATORS.split(line) if w]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _three(rows: np.ndarray) -> np.ndarray:
    return rows if rows.shape[1] == 3 else np.pad(rows, ((0, 0), (0, 1)))


def _of_dimension(points: PointSet, dimension: int | None) -> PointSet:
    if dimension is None or points.dimension == dimension:
        return points
    flat = points.points
    if dimension == 2 and bool((flat[:, 2] == flat[0, 2]).all()):
        return PointSet(flat[:, :2].clone(), points.labels, points.names)
    raise InputError(
        f"Its points have {points.dimension} coordinates, but the images have {dimension} dimensions."
    )


