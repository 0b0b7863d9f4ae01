"""Cases to train on from where a user keeps them: a folder, or a table of files.

    FOLDER/pt_1/ct.nii.gz, FOLDER/pt_1/labels.nii.gz      a folder a case
    FOLDER/pt_1.nii.gz, FOLDER/pt_1_labels.nii.gz         or all files in one folder
    TABLE.csv     image,label,role[,name]                 with or without this first line; paths from the table's folder
    TABLE.json    [{"image", "label", "role", "name"}]    or {"cases": [...], "pairs": [[name, name]], "names": {...}}

A file is a segmentation where its name says so (.seg.nrrd, or a word such as label, seg, contours). What the label
values mean is taken from the segmentation, else from names.json ({"1": "brainstem"}) in the case's folder or FOLDER.
Importing this loads no torch.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .training import ROLES, CaseFiles, load_cases

if TYPE_CHECKING:
    from ..core.image import Image
    from ..training.cases import TrainingCases

NAMES = "names.json"
#: part of the cases that is held out where nobody says which, and the fewest cases of which any are
VALIDATED, FEWEST = 0.2, 3

_VOLUMES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
_TABLES = (".csv", ".tsv", ".txt")
_LABEL_WORDS = frozenset(
    {"label", "labels", "labelmap", "seg", "segs", "segmentation", "segmentations", "contours", "organs", "structures"}
)
_COLUMNS = ("image", "label", "role", "name")


@dataclass(frozen=True)
class FoundCases:
    """files  in order of their names;  pairs  names that belong together
    names  by case ("": for all others) label value -> name
    """

    files: Sequence[CaseFiles]
    pairs: Sequence[tuple[str, str]] = ()
    names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def read_cases(
    place: str | os.PathLike[str], names: str | os.PathLike[str] | None = None, hold_out: Sequence[str] = ()
) -> TrainingCases:
    """The cases of `place`, read; see `find_cases` for what there may be.

    names  "1=brainstem,2=spinal cord", or a names.json, for segmentations that do not say it themselves
    Raises InputError for what is missing, unreadable, or lies elsewhere than its scan.
    """
    found = find_cases(place, hold_out)
    given = parse_names(names) if names else found.names.get("", {})
    loaded = load_cases(found.files)
    assert loaded is not None  # find_cases does not give none
    cases = [
        replace(c, labels=_named(c.labels, found.names.get(c.name, given), c.scan, c.name) if c.labels else None)
        for c in loaded.cases
    ]
    return replace(loaded, cases=cases, pairs=tuple(found.pairs))


def find_cases(place: str | os.PathLike[str], hold_out: Sequence[str] = ()) -> FoundCases:
    """What there is to train on, without reading a scan.

    hold_out  names of the cases that only validate; where neither it nor a table says which, VALIDATED of them do,
              chosen by their names alone, so that the same are held out each time

    Raises InputError that says what was looked for.
    """
    where = Path(place).expanduser()
    if not where.exists():
        raise InputError(f"The cases {str(place)!r} do not exist; give a folder, or a table of files (.csv, .json).")
    if where.is_dir():
        found = _in_folder(where)
    elif where.suffix.lower() == ".json":
        found = _in_json(where)
    elif where.suffix.lower() in _TABLES:
        found = FoundCases(_in_rows(_rows(where), where))
    else:
        raise InputError(f"{str(place)!r} is neither a folder of cases nor a table of them (.csv, .json).")
    if not found.files:
        raise InputError(
            f"No cases were found in {str(place)!r}; put each scan with its segmentation in a folder of its own "
            "(pt_1/ct.nii.gz, pt_1/labels.nii.gz), or give a table with the columns image,label,role."
        )
    _check_names(found, where)
    return replace(found, files=_with_roles(found.files, hold_out))


def parse_names(text: str | os.PathLike[str]) -> dict[int, str]:
    """Label value -> name from "1=brainstem,2=spinal cord" or from the path of a names.json. Raises InputError."""
    if isinstance(text, str) and "=" in text:
        try:
            parts = [part.split("=", 1) for part in text.split(",")]
            return {int(value): name.strip() for value, name in parts}
        except ValueError:
            raise InputError(f"The names {text!r} are not of the form 1=brainstem,2=spinal cord.") from None
    return _names_from(Path(text).expanduser())


# ---------------------------------------------------------------------- folders


def _in_folder(folder: Path) -> FoundCases:
    subfolders = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    files: list[CaseFiles] = []
    names: dict[str, Mapping[int, str]] = {}
    for sub in subfolders:
        case = _case_of(sub)
        if case is not None:
            files.append(case)
            if (sub / NAMES).is_file():
                names[case.name] = _names_from(sub / NAMES)
    if not files:
        files = _side_by_side(folder)
    if (folder / NAMES).is_file():
        names[""] = _names_from(folder / NAMES)
    return FoundCases(files, names=names)


def _volumes(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if _bare(p) != p.name and not p.name.startswith(".") and p.is_file()]


def _case_of(folder: Path) -> CaseFiles | None:
    """None for a folder without volumes. Raises InputError where it is not clear which is the scan."""
    scans = [p for p in _volumes(folder) if not _is_label(p)]
    labels = [p for p in _volumes(folder) if _is_label(p)]
    for kind, several in (("scan", scans), ("segmentation", labels)):
        if len(several) > 1:
            raise InputError(
                f"The case {str(folder)!r} has {len(several)} files that may be its {kind} "
                f"({', '.join(p.name for p in several)}); keep one, or give a table with the columns image,label,role."
            )
    if not scans:
        return None
    return CaseFiles(folder.name, str(scans[0]), str(labels[0]) if labels else None, "")


def _side_by_side(folder: Path) -> list[CaseFiles]:
    """pt_1.nii.gz with pt_1_labels.nii.gz or pt_1.seg.nrrd."""
    labels: dict[str, Path] = {}
    for path in (p for p in _volumes(folder) if _is_label(p)):
        stem = "".join(w for w in re.split(r"([ ._-])", _bare(path)) if w.lower() not in _LABEL_WORDS).strip(" ._-")
        labels[stem] = path
    scans = [p for p in _volumes(folder) if not _is_label(p)]
    found = []
    for scan in scans:
        label = labels.get(_bare(scan))
        found.append(CaseFiles(_bare(scan), str(scan), None if label is None else str(label), ""))
    return found


def _is_label(path: Path) -> bool:
    words = re.split(r"[ ._-]", path.name.lower())
    return any(word in _LABEL_WORDS for word in words)


def _bare(path: Path) -> str:
    """The name without the ending of a volume; the whole name where it has none."""
    ending = max((e for e in _VOLUMES if path.name.lower().endswith(e)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


# ---------------------------------------------------------------------- tables


def _rows(table: Path) -> list[dict[str, Any]]:
    text = _text(table)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    delimiter = "\t" if lines and "\t" in lines[0] else ";" if lines and ";" in lines[0] else ","
    cells = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter)]
    head = [c.lower() for c in cells[0]] if cells else []
    columns: Sequence[str] = _COLUMNS
    if "image" in head:
        columns, cells = head, cells[1:]
    return [dict(zip(columns, row, strict=False)) for row in cells]


def _in_json(table: Path) -> FoundCases:
    try:
        said = json.loads(_text(table))
    except ValueError:
        raise InputError(f"The table of cases {str(table)!r} is no JSON text; write it again.") from None
    rows = said.get("cases") if isinstance(said, dict) else said
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f'The table {str(table)!r} holds no list of cases [{{"image": ..., "label": ...}}].')
    more = said if isinstance(said, dict) else {}
    try:
        pairs = [(str(a), str(b)) for a, b in more.get("pairs", [])]
        names = {int(k): str(v) for k, v in more.get("names", {}).items()}
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f'In the table {str(table)!r} "pairs" must be [[name, name]] and "names" {{"1": name}}.'
        ) from None
    return FoundCases(_in_rows(rows, table), pairs, {"": names} if names else {})


def _in_rows(rows: Sequence[Mapping[str, Any]], table: Path) -> list[CaseFiles]:
    files = []
    for number, row in enumerate(rows, 1):
        image, label = row.get("image") or "", row.get("label") or ""
        role = str(row.get("role") or "").lower()
        role = {"training": "train", "validation": "validate"}.get(role, role)
        if not image:
            raise InputError(f"Row {number} of {str(table)!r} names no image.")
        if role not in ("", *ROLES):
            raise InputError(
                f"Row {number} of {str(table)!r} has the role {row.get('role')!r}; a case is there to "
                f"{' or to '.join(ROLES)}."
            )
        paths = [table.parent / Path(str(p)).expanduser() if p else None for p in (image, label)]
        for path in paths:
            if path is not None and not path.exists():
                raise InputError(f"Row {number} of {str(table)!r} names {str(path)!r}, which does not exist.")
        scan, labels = paths
        files.append(CaseFiles(str(row.get("name") or ""), str(scan), str(labels) if labels else None, role))
    return _with_names(files)


def _with_names(files: Sequence[CaseFiles]) -> list[CaseFiles]:
    """Cases without a name take that of their file, or of its folder where the files are all called the same."""
    bare = [_bare(Path(f.scan)) for f in files]
    if len(set(bare)) < len(bare):
        bare = [Path(f.scan).parent.name for f in files]
    return [f if f.name else replace(f, name=name) for f, name in zip(files, bare, strict=True)]


# ---------------------------------------------------------------------- roles and names


def _check_names(found: FoundCases, where: Path) -> None:
    names = [f.name for f in found.files]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InputError(f"Two cases of {str(where)!r} are called {twice!r}; give each a name of its own.")
    unknown = next((n for pair in found.pairs for n in pair if n not in names), None)
    if unknown is not None:
        raise InputError(f"The pairs of {str(where)!r} name {unknown!r}, which is none of its cases.")


def _with_roles(files: Sequence[CaseFiles], hold_out: Sequence[str]) -> list[CaseFiles]:
    names = [f.name for f in files]
    missing = next((n for n in hold_out if n not in names), None)
    if missing is not None:
        raise InputError(f"There is no case {missing!r} to hold out; there are {', '.join(names[:12])}.")
    chosen = set(hold_out)
    if not chosen and not any(f.role for f in files) and len(files) >= FEWEST:
        # by their names, in an order that has nothing to do with that of patients or dates
        order = sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())
        chosen = set(order[: max(1, round(VALIDATED * len(names)))])
    return [replace(f, role="validate" if f.name in chosen else f.role or "train") for f in files]


def _named(labels: Image, names: Mapping[int, str], scan: Image, case: str) -> Image:
    """The segmentation with a name for each of its values. Raises InputError where it lies beside its scan."""
    from ..core.overlap import fields_overlap

    if labels.dimension != scan.dimension or not fields_overlap(scan.grid, labels.grid):
        raise InputError(
            f"The segmentation of the case {case!r} does not touch its scan; check that they belong together."
        )
    said = {**{v: f"label {v}" for v in labels.label_values}, **names, **labels.names}
    return replace(labels, names={v: said[v] for v in sorted(said)})


def _names_from(file: Path) -> dict[int, str]:
    try:
        return {int(value): str(name) for value, name in json.loads(_text(file)).items()}
    except (ValueError, AttributeError):
        raise InputError(f'{str(file)!r} does not say {{"1": "brainstem", ...}}; write it again.') from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{str(file)!r} could not be read as text; check the file.") from None
