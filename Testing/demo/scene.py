"""A case as nodes of Slicer's scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from .case import SIDES, Case

#: window and level of CT by preset (HU), and of CT in general
_CT_WINDOWS = {"lung-ct": (1300.0, -350.0), "head-neck-ct": (450.0, 50.0), "abdomen-ct": (400.0, 40.0)}
_CT_WINDOW = (700.0, 50.0)

#: colours of structures, 0 to 255
_ANATOMY = {
    "Left upper lobe": (172, 196, 232),
    "Left lower lobe": (128, 166, 216),
    "Right upper lobe": (176, 224, 214),
    "Right middle lobe": (132, 204, 192),
    "Right lower lobe": (92, 180, 170),
    "Heart": (206, 88, 78),
    "Aorta": (224, 66, 60),
    "Trachea": (182, 228, 255),
    "Liver": (168, 92, 74),
    "Spleen": (157, 108, 162),
    "Spine": (226, 214, 176),
    "Ribs": (241, 230, 196),
}


@dataclass(frozen=True)
class CaseNodes:
    """What was loaded, by side ("fixed", "moving"); labels and landmarks are empty where there are none."""

    volumes: dict[str, Any]
    segmentations: dict[str, Any]
    landmarks: dict[str, Any]


def load(case: Case, preset: str) -> CaseNodes:
    """Load the files of a case into the scene, windowed for what they show."""
    volumes, segmentations, landmarks = {}, {}, {}
    for side in SIDES:
        kind = case.kinds[side]
        volumes[side] = slicer.util.loadVolume(
            str(case.images[side]), {"name": f"{side.capitalize()} {kind}".strip(), "show": False}
        )
        _set_window(volumes[side], kind, preset)
        if case.labels:
            segmentations[side] = _segmentation(
                case.labels[side], f"{side.capitalize()} structures", case.structure()
            )
        if case.landmarks:
            landmarks[side] = _landmarks(case.landmarks[side], f"{side.capitalize()} landmarks")
    return CaseNodes(volumes, segmentations, landmarks)


def _set_window(volume: Any, kind: str, preset: str) -> None:
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    if kind == "CT":
        window, level = _CT_WINDOWS.get(preset, _CT_WINDOW)
    else:
        values = slicer.util.arrayFromVolume(volume)[::2, ::2, ::2]
        low, high = np.percentile(values, [1.0, 99.5])
        window, level = max(float(high - low), 1e-6), float(high + low) / 2
    display.SetWindowLevel(window, level)


def _segmentation(path: Path, name: str, structure: str) -> Any:
    """A segmentation node; labels without names are called "`structure` 1", "`structure` 2" on both sides."""
    if path.name.lower().endswith(".seg.nrrd"):
        node = slicer.util.loadSegmentation(str(path), {"name": name})
    else:
        labels = slicer.util.loadLabelVolume(str(path), {"name": "labels", "show": False})
        _name_labels(labels, structure)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        logic = slicer.modules.segmentations.logic()
        if not logic.ImportLabelmapToSegmentationNode(labels, node):
            raise OSError(f"The labels of '{path}' could not be read; check that they are whole numbers.")
        colours = labels.GetDisplayNode().GetColorNode()
        slicer.mrmlScene.RemoveNode(labels)
        slicer.mrmlScene.RemoveNode(colours)
    _colour_by_name(node)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility(False)
    return node


def _colour_by_name(node: Any) -> None:
    """The colours that atlases give to such structures; others keep theirs."""
    segmentation = node.GetSegmentation()
    for k in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(k)
        if segment.GetName() in _ANATOMY:
            segment.SetColor(*(c / 255 for c in _ANATOMY[segment.GetName()]))


def _name_labels(volume: Any, structure: str) -> None:
    values = [int(v) for v in np.unique(slicer.util.arrayFromVolume(volume)) if v > 0]
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName("names of labels")
    table.SetNumberOfColors(max(values, default=0) + 1)
    for order, value in enumerate(values):
        table.SetColor(value, f"{structure} {value}", *colour(order), 1.0)
    slicer.mrmlScene.AddNode(table)
    volume.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())


def colour(order: int) -> tuple[float, float, float]:
    """Colours that are easy to tell apart: hues a golden angle from one another."""
    import colorsys

    return colorsys.hsv_to_rgb((0.08 + order * 0.381966) % 1.0, 0.55, 0.95)


def _landmarks(path: Path, name: str) -> Any:
    if path.name.lower().endswith((".mrk.json", ".fcsv")):
        node = slicer.util.loadMarkups(str(path))
        node.SetName(name)
    else:
        lps = np.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, ndmin=2)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        node.CreateDefaultDisplayNodes()
        slicer.util.updateMarkupsControlPointsFromArray(node, lps[:, :3] * (-1.0, -1.0, 1.0))
    node.GetDisplayNode().SetVisibility(False)
    return node
