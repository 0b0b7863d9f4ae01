"""The cases of a training as nodes or files: found in the scene, remembered in a node, written for the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import InputError
from ..jobs.outputs import writing_failed
from ..jobs.training import CaseFiles
from ..jobs.training_cases import find_cases
from .export_steps import export_labels, export_volume, named_segments
from .kept import nodes_of
from .map_nodes import MAP_ATTRIBUTE
from .places import place_of
from .segments import label_values, segment_header
from .slabs import Steps
from .validation_pictures import PICTURE_ATTRIBUTE
from .volumes import check_volume

TRAIN, VALIDATE, LEAVE_OUT = "train", "validate", "leave out"
SEGMENTATION_KINDS = ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")
#: of so many cases one is kept for validation
_ONE_OF = 4
_OUTPUT = "DeepRegistration.output."


@dataclass(frozen=True)
class CaseRow:
    """image and segmentation are nodes, or paths of files; the segmentation may be missing.

    names  label value -> name of a segmentation file that does not say it itself
    """

    image: Any
    segmentation: Any = None
    role: str = TRAIN
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        return isinstance(self.image, str)

    @property
    def name(self) -> str:
        if not self.is_file:
            return str(self.image.GetName())
        path = Path(self.image)
        return f"{path.parent.name}/{path.name}"

    @property
    def is_used(self) -> bool:
        return self.role != LEAVE_OUT


def case_rows(scene: slicer.vtkMRMLScene, remembered: Sequence[CaseRow] = ()) -> list[CaseRow]:
    """A row for every volume of the scene that can be a case, and the remembered ones from files.

    A volume that is not remembered gets the segmentation that belongs to it and a role: it is learned from, but where
    nothing is remembered one of four is kept to validate on.
    """
    known = {row.image.GetID(): row for row in remembered if not row.is_file}
    volumes = list(_candidates(scene))
    first = not known
    rows = []
    for k, volume in enumerate(volumes):
        row = known.get(volume.GetID())
        if row is None:
            held_back = first and k >= len(volumes) - len(volumes) // _ONE_OF
            row = CaseRow(volume, segmentation_of(volume), VALIDATE if held_back else TRAIN)
        rows.append(row)
    return [*rows, *(row for row in remembered if row.is_file)]


def _candidates(scene: slicer.vtkMRMLScene) -> Iterator[slicer.vtkMRMLScalarVolumeNode]:
    """Volumes with one value a voxel that nobody here has made."""
    made = set()
    for transform in nodes_of(scene, "vtkMRMLTransformNode"):
        for k in range(transform.GetNumberOfNodeReferenceRoles()):
            role = transform.GetNthNodeReferenceRole(k)
            if role.startswith(_OUTPUT):
                made.add(transform.GetNodeReferenceID(role))
    for node in nodes_of(scene, "vtkMRMLScalarVolumeNode"):
        ours = node.GetID() in made or any(node.GetAttribute(a) for a in (MAP_ATTRIBUTE, PICTURE_ATTRIBUTE))
        image = node.GetImageData()
        plain = node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
        if plain and not ours and image is not None and image.GetNumberOfScalarComponents() == 1:
            yield node


def segmentations(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLNode]:
    """What can be the segmentation of a case."""
    return [n for kind in SEGMENTATION_KINDS for n in nodes_of(scene, kind) if not n.GetHideFromEditors()]


def segmentation_of(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLNode | None:
    """The segmentation that was drawn on the volume, or else one whose name begins with the volume's."""
    found = segmentations(volume.GetScene())
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    drawn = [n for n in found if n.IsA("vtkMRMLSegmentationNode") and n.GetNodeReference(role) is volume]
    named = [n for n in found if (n.GetName() or "").startswith(volume.GetName() or "\0")]
    return next(iter([*drawn, *named]), None)


def rows_of_folder(place: Path) -> list[CaseRow]:
    """The cases of a folder or a table of files (see jobs.training_cases). Raises InputError where there are none."""
    found = find_cases(place)
    shared = found.names.get("", {})
    return [
        CaseRow(f.scan, f.labels, f.role, {str(k): v for k, v in found.names.get(f.name, shared).items()})
        for f in found.files
    ]


# ---------------------------------------------------------------------- remembered in the scene


def remember(node: slicer.vtkMRMLNode, rows: Sequence[CaseRow]) -> str:
    """Keep the nodes of the rows as references of `node`; the rest is in the text, for `remembered`."""
    said = []
    for k, row in enumerate(rows):
        files = {}
        for part in ("image", "segmentation"):
            value = getattr(row, part)
            is_node = value is not None and not isinstance(value, str)
            _refer(node, _reference(k, part), value.GetID() if is_node else None)
            if isinstance(value, str):
                files[part] = value
        said.append({"role": row.role, **({"names": dict(row.names)} if row.names else {}), **files})
    k = len(rows)
    while node.GetNodeReferenceID(_reference(k, "image")) or node.GetNodeReferenceID(_reference(k, "segmentation")):
        for part in ("image", "segmentation"):
            _refer(node, _reference(k, part), None)
        k += 1
    return json.dumps(said)


def remembered(node: slicer.vtkMRMLNode, text: str) -> list[CaseRow]:
    """What was given to `remember`; rows whose volume has left the scene are left out."""
    try:
        said = json.loads(text or "[]")
    except ValueError:
        return []
    rows = []
    for k, one in enumerate(said):
        image = one.get("image") or node.GetNodeReference(_reference(k, "image"))
        segmentation = one.get("segmentation") or node.GetNodeReference(_reference(k, "segmentation"))
        if image is not None:
            rows.append(CaseRow(image, segmentation, one.get("role", TRAIN), one.get("names", {})))
    return rows


def _reference(k: int, part: str) -> str:
    return f"DeepRegistration.case{k}.{part}"


def _refer(node: slicer.vtkMRMLNode, role: str, node_id: str | None) -> None:
    if node.GetNodeReferenceID(role) != node_id:
        node.SetNodeReferenceID(role, node_id)


# ---------------------------------------------------------------------- for the worker


def check_cases(rows: Sequence[CaseRow], needed: bool) -> None:
    """Raises InputError where a training cannot learn from them; needed: the recipe has no cases of its own."""
    learned = [row for row in rows if row.role == TRAIN]
    checked = [row for row in rows if row.role == VALIDATE]
    if not learned and (needed or checked):
        raise InputError("Choose at least two cases to learn from: load volumes, or add a folder of cases.")
    if len(learned) == 1:
        raise InputError(f"One case ({learned[0].name}) makes no pair to learn from; choose at least two.")
    for row in (*learned, *checked):
        if not row.is_file:
            check_volume(row.image, "case")


def export_cases(rows: Sequence[CaseRow], folder: Path) -> Steps[list[CaseFiles]]:
    """Write the nodes of the cases that are used into `folder`, in world coordinates (LPS); files stay where they are.

    One name of a segment has one label in all of them. The cases are called by their number in `rows`, counted from 1:
    their names would go with the model, and may be those of patients. A generator of short steps.

    Raises InputError, OutputError.
    """
    used = {number: row for number, row in enumerate(rows, 1) if row.is_used}
    named = {}
    for number, row in used.items():
        if not row.is_file and row.segmentation is not None:
            named[number] = yield from named_segments(row.segmentation, f"segmentation of {row.name}")
    table = label_values(*named.values())
    _make(folder)
    files = []
    for number, row in used.items():
        name = f"case {number}"
        if row.is_file:
            files.append(CaseFiles(name, row.image, row.segmentation, row.role, row.names))
            continue
        scan, labels = folder / f"{number:03d}.nrrd", None
        grid, _resampled = yield from export_volume(row.image, place_of(row.image), scan)
        if number in named:
            labels, place = folder / f"{number:03d}.seg.nrrd", place_of(row.segmentation)
            header = segment_header(table, [s.name for s in named[number]])
            yield from export_labels(row.segmentation, place, grid, named[number], table, labels, header)
        files.append(CaseFiles(name, str(scan), str(labels) if labels else None, row.role))
    return files


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_failed(folder, error) from error
