"""What some methods give beside a transform: series of images, points and other answers, as files and back.

Their names among the files of a result have a kind before a dot; every other volume there is a map. Importing this
loads no torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.result import RegistrationResult
    from .results import ResultFolder

SERIES, POINTS, ALTERNATIVE = "series", "points", "alternative"
_KINDS = (SERIES, POINTS, ALTERNATIVE)


def write_extras(result: RegistrationResult, folder: Path, *, compressed: bool) -> dict[str, str]:
    """Output name ("series.images", "points.fixed_correspondences", "alternative.1") -> file name in `folder`.

    A series is one .seq.nrrd on the fixed grid, points are markups in LPS mm, alternatives transform files like the
    transform itself, numbered from 1 in their order.
    """
    from .. import io
    from .outputs import write_transform_file

    files = {}
    for name, images in result.series.items():
        files[f"{SERIES}.{name}"] = file = f"{_plain(name)}.seq.nrrd"
        io.write_series(images, folder / file, compressed=compressed)
    for name, points in result.points.items():
        if len(points):
            files[f"{POINTS}.{name}"] = file = f"{_plain(name)}.mrk.json"
            io.write_points(points, folder / file)
    for number, alternative in enumerate(result.alternatives, 1):
        files[f"{ALTERNATIVE}.{number}"] = write_transform_file(
            alternative.transform, folder, f"alternative-{number}", result.problem.fixed.grid
        )
    return files


def alternatives_dict(result: RegistrationResult) -> list[dict[str, Any]]:
    """Titles and scores of the alternatives as provenance.json holds them, in their order."""
    return [{"title": a.title, "scores": dict(a.scores)} for a in result.alternatives]


def names_of(files: Mapping[str, str], kind: str) -> dict[str, str]:
    """Name without its kind -> file, of one of SERIES, POINTS and ALTERNATIVE."""
    return {name.removeprefix(f"{kind}."): file for name, file in files.items() if name.startswith(f"{kind}.")}


def is_extra(name: str) -> bool:
    """True for the name of an output that is written by `write_extras`."""
    return name.split(".")[0] in _KINDS and "." in name


def read_extras(folder: ResultFolder, result: RegistrationResult) -> dict[str, Any]:
    """series, points and alternatives of a folder as fields of a RegistrationResult. Raises InputError."""
    from .. import io
    from ..core.result import Alternative
    from .loading import load_transform

    dimension = result.problem.dimension
    told = folder.provenance.get("alternatives") or []
    alternatives = []
    for number in sorted(names_of(folder.files, ALTERNATIVE), key=_number):
        path = folder.file(f"{ALTERNATIVE}.{number}")
        said = told[_number(number) - 1] if 0 < _number(number) <= len(told) else {}
        transform = load_transform(path, f"alternative {number}", result.grid)
        alternatives.append(Alternative(transform, said.get("scores") or {}, said.get("title") or ""))
    return {
        "series": {n: io.read_series(folder.file(f"{SERIES}.{n}")) for n in names_of(folder.files, SERIES)},
        "points": {
            n: io.read_points(folder.file(f"{POINTS}.{n}"), dimension=dimension) for n in names_of(folder.files, POINTS)
        },
        "alternatives": alternatives,
    }


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"The result names an alternative {text!r}, but they are numbered from 1.") from None


def _plain(name: str) -> str:
    """`name` as a file can be called."""
    return re.sub(r"[^\w.-]", "_", os.path.basename(name)) or "_"
