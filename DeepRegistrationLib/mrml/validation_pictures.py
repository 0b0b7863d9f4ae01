"""The example that a training validates on, as volumes of the scene that are filled anew after every validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import slicer

from .kept import KeptAttributes, nodes_of
from .places import vtk_matrix
from .volumes import image_from, read_array

#: on a volume: which of the pictures it is
PICTURE_ATTRIBUTE = "DeepRegistration.training.picture"
#: what is looked at; a recipe may have others for itself
PICTURES = ("fixed", "moving", "moved")


def picture_nodes(scene: slicer.vtkMRMLScene) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Name of the picture -> its volume, as far as they are in the scene."""
    found = {}
    for node in nodes_of(scene, "vtkMRMLScalarVolumeNode"):
        name = node.GetAttribute(PICTURE_ATTRIBUTE)
        if name in PICTURES:
            found[name] = node
    return found


def load_pictures(
    scene: slicer.vtkMRMLScene, files: Mapping[str, str]
) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
    """Fill the volumes of the scene, which are made where they are not there yet; a 2-D picture is one slice.

    files  name, however it is written ("Moved"), -> path

    Raises InputError for a file that cannot be read; nothing has changed then.
    """
    known = {name.lower(): path for name, path in files.items()}
    read = {name: read_array(Path(known[name])) for name in PICTURES if name in known}
    nodes = picture_nodes(scene)
    for name, (array, matrix) in read.items():
        node = nodes.get(name)
        fresh = node is None
        if node is None:
            node = slicer.vtkMRMLScalarVolumeNode()
            node.SetName(scene.GenerateUniqueName(f"Validation {name}"))
            node.SetAttribute(PICTURE_ATTRIBUTE, name)
            scene.AddNode(node)
        state = node.StartModify()
        node.SetAndObserveImageData(image_from(np.asarray(array, np.float32), np.eye(4)))
        node.SetIJKToRASMatrix(vtk_matrix(matrix))
        node.EndModify(state)
        if fresh:
            node.CreateDefaultDisplayNodes()
        nodes[name] = node
    return nodes


class HiddenSegmentations:
    """The segmentations of the scene, which lie elsewhere than the example, are not shown until `restore`."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        displays = [node.GetDisplayNode() for node in nodes_of(scene, "vtkMRMLSegmentationNode")]
        self._kept = [KeptAttributes(display, ("Visibility",)) for display in displays if display is not None]
        for kept in self._kept:
            kept.node.SetVisibility(False)

    def restore(self) -> None:
        for kept in self._kept:
            kept.restore()
