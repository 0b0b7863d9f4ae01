"""Series of images as Slicer sequences, to be stepped through and played with the sequence browser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from ..metrics.map_kinds import KNOWN_KINDS, MapKind
from .colours import map_colours, window_of
from .places import vtk_matrix
from .volumes import image_from

_INDEX = "step"


def add_series(
    scene: slicer.vtkMRMLScene,
    array: NDArray[Any],
    matrix: NDArray[np.float64],
    kind: MapKind,
    name: str,
    like: slicer.vtkMRMLVolumeNode,
) -> slicer.vtkMRMLSequenceBrowserNode:
    """A sequence of volumes and its browser, which shows the first of them in a volume of the scene.

    array   (Z, Y, X, N) first to last along N
    matrix  4x4, index to world (RAS mm)
    kind    of the images; those of a kind that KNOWN_KINDS lists have its colours, all others look like `like`
    """
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName(scene.GenerateUniqueName(name))
    sequence.SetIndexName(_INDEX)
    sequence.SetIndexUnit("")
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    scene.AddNode(sequence)
    for k in range(array.shape[3]):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetName(f"{name} {k}")
        volume.SetIJKToRASMatrix(vtk_matrix(matrix))
        volume.SetAndObserveImageData(image_from(array[..., k], np.eye(4)))
        sequence.SetDataNodeAtValue(volume, str(k))
    browser = slicer.vtkMRMLSequenceBrowserNode()
    browser.SetName(scene.GenerateUniqueName(f"{name} browser"))
    scene.AddNode(browser)
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    _style(shown_volume(browser), array, kind, like)
    return browser


def shown_volume(browser: slicer.vtkMRMLSequenceBrowserNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume of the scene that holds the image which the browser has chosen."""
    return browser.GetProxyNode(browser.GetMasterSequenceNode())


def nodes_of_series(browser: slicer.vtkMRMLSequenceBrowserNode) -> Iterable[slicer.vtkMRMLNode]:
    """Browser, sequence and shown volume, where they are."""
    return [n for n in (browser, browser.GetMasterSequenceNode(), shown_volume(browser)) if n is not None]


def _style(volume: Any, array: NDArray[Any], kind: MapKind, like: slicer.vtkMRMLVolumeNode) -> None:
    """One window for all images: left to itself each of them would get its own."""
    few = array[::4, ::4, ::4].astype(np.float32)
    if kind.id in KNOWN_KINDS and not kind.like_moving:
        display = volume.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        reach = np.abs(few - kind.centre) if kind.centre is not None else few
        display.SetWindowLevelMinMax(*window_of(kind, max(float(np.percentile(reach, 99)), 1e-6)))
        display.SetAndObserveColorNodeID(map_colours(volume.GetScene(), kind).GetID())
    else:
        look_like(volume, like, few)


def look_like(volume: Any, other: slicer.vtkMRMLVolumeNode, values: NDArray[Any]) -> None:
    """Window, level and colours of the `other` volume; a window of its own `values` where that has no display."""
    display, source = volume.GetDisplayNode(), other.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    if source is None:
        low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
        display.SetWindowLevelMinMax(low, max(high, low + 1e-3))
        return
    display.SetWindowLevel(source.GetWindow(), source.GetLevel())
    display.SetAndObserveColorNodeID(source.GetColorNodeID())
