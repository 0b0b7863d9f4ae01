"""A folder that a registration was written to, opened in the scene as if it had been made there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from ..core.errors import InputError
from ..jobs import ResultFolder
from .changes import SceneChange
from .inputs import ROLES, InputNodes
from .results import RegistrationNodes, load_result
from .segments import segments_of

_MARKUPS = (".mrk.json", ".json", ".fcsv")


def open_result_folder(path: str | os.PathLike[str]) -> RegistrationNodes:
    """Load what the `register` command or `dr.register(..., out=...)` left in `path`: the images, masks,
    segmentations and landmarks it started from and its outputs; moving comes to lie under the transform.

    Segments get the names they had in the registration. Raises InputError, one sentence, where a file is
    missing or cannot be read; the scene is then as it was.
    """
    folder = ResultFolder(path)
    given = _existing_inputs(folder)
    outputs = {name: folder.file(name).name for name in folder.files}
    for name in ("transform", "moved"):
        folder.file(name)
    with SceneChange(slicer.mrmlScene):
        nodes, messages = _Inputs(folder, given).load()
        data = {"files": outputs, "metrics": folder.metrics, "provenance": folder.provenance}
        labels = {} if nodes.moving_segmentation is None else _labels(nodes.moving_segmentation, folder)
        return load_result(nodes, folder.path, data, labels, messages)


def _existing_inputs(folder: ResultFolder) -> dict[str, Path]:
    """Input name -> file. Raises InputError for the first that is not there."""
    recorded: Mapping[str, str] = folder.provenance.get("inputs") or {}
    found = {}
    for name in InputNodes.__dataclass_fields__:
        # the start and the surfaces have done their work; it is part of the transform
        if name == "initial_transform" or name.endswith("surfaces"):
            continue
        if name in recorded:
            found[name] = Path(recorded[name])
            if not found[name].is_file():
                raise InputError(
                    f"The result in {str(folder.path)!r} was made from the file {recorded[name]!r} "
                    f"({ROLES[name]}), which is not there; put it back, or align again."
                )
        elif name in ("fixed", "moving"):
            raise InputError(
                f"The result in {str(folder.path)!r} does not say which file its {name} image was; "
                "load the images and its transform by hand."
            )
    return found


class _Inputs:
    def __init__(self, folder: ResultFolder, files: Mapping[str, Path]) -> None:
        self._folder = folder
        self._files = files
        self._messages: list[str] = []

    def load(self) -> tuple[InputNodes, tuple[str, ...]]:
        found: dict[str, Any] = {}
        for name, file in self._files.items():
            if name in ("fixed", "moving"):
                found[name] = self._read(slicer.util.loadVolume, name, {"show": False, "singleFile": True})
            elif name.endswith("landmarks"):
                found[name] = self._landmarks(name, file)
            elif name.endswith("mask") and not file.name.endswith(".seg.nrrd"):
                found[name] = self._read(slicer.util.loadLabelVolume, name, {"show": False})
            else:
                found[name] = self._read(slicer.util.loadSegmentation, name)
                if name.endswith("segmentation"):
                    self._give_names(found[name], file)
        return InputNodes(**found), tuple(self._messages)

    def _read(self, load: Any, name: str, properties: Mapping[str, Any] | None = None) -> Any:
        file = self._files[name]
        try:
            node = load(str(file), dict(properties)) if properties is not None else load(str(file))
        except RuntimeError as error:
            raise InputError(
                f"The {ROLES[name]} of the result in {str(self._folder.path)!r}, {str(file)!r}, cannot be read "
                "by Slicer; check the file."
            ) from error
        return node

    def _give_names(self, node: slicer.vtkMRMLSegmentationNode, file: Path) -> None:
        """A label map has no names; those of the registration go with its values."""
        if file.name.lower().endswith(".seg.nrrd"):
            return
        names: Mapping[str, str] = self._folder.provenance.get("segment_names") or {}
        segmentation = node.GetSegmentation()
        for k in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(k)
            value = str(int(segment.GetLabelValue()))
            # what the numbers of a result call a label without a name
            segment.SetName(names.get(value, f"label {value}"))

    def _landmarks(self, name: str, file: Path) -> slicer.vtkMRMLMarkupsNode | None:
        if file.name.lower().endswith(_MARKUPS):
            return self._read(slicer.util.loadMarkups, name)
        # plain text is nothing Slicer reads, but the numbers of the result hold its points
        points = (self._folder.metrics.get("landmarks") or {}).get(name.replace("landmarks", "points"))
        if not points:
            self._messages.append(
                f"The {ROLES[name]} in {str(file)!r} were left out; save them as .mrk.json to see them in Slicer."
            )
            return None
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", file.name.split(".")[0])
        for k, row in enumerate(np.array(points, dtype=float) * (-1.0, -1.0, 1.0)):
            node.AddControlPoint(vtk.vtkVector3d(*row.tolist()), str(k + 1))
        return node


def _labels(segmentation: slicer.vtkMRMLSegmentationNode, folder: ResultFolder) -> dict[str, int]:
    """Segment name -> label in the moved segmentation of the result."""
    recorded = {name: int(v) for v, name in (folder.provenance.get("segment_names") or {}).items()}
    found = {}
    for segment in segments_of(segmentation, ROLES["moving_segmentation"]):
        value = segmentation.GetSegmentation().GetSegment(segment.key).GetLabelValue()
        found[segment.name] = recorded.get(segment.name, int(value))
    return found
