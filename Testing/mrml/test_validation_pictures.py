"""The example of a validation: made once, filled anew, no case, and nothing half-loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util
import vtk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.training_cases import case_rows
from DeepRegistrationLib.mrml.validation_pictures import HiddenSegmentations, load_pictures, picture_nodes


def written(folder: Path, value: float, size: tuple[int, ...] = (4, 5, 6)) -> dict[str, str]:
    files = {}
    for name in ("Fixed", "Moved"):
        image = sitk.GetImageFromArray(np.full(size, value, np.float32))
        image.SetSpacing([2.0] * len(size))
        image.SetOrigin([1.0] * len(size))
        files[name] = str(folder / f"{name}.nrrd")
        sitk.WriteImage(image, files[name])
    return files


def test_pictures_are_filled_anew(scene: Any, tmp_path: Path) -> None:
    first = load_pictures(scene, written(tmp_path, 1.0))
    assert set(first) == {"fixed", "moved"} and first == picture_nodes(scene)
    count = scene.GetNumberOfNodes()
    again = load_pictures(scene, written(tmp_path, 2.0, (3, 4, 5)))
    assert again["moved"] is first["moved"] and scene.GetNumberOfNodes() == count
    array = slicer.util.arrayFromVolume(again["moved"])
    assert array.shape == (3, 4, 5) and (array == 2).all()
    assert again["moved"].GetOrigin() == (-1.0, -1.0, 1.0) and again["moved"].GetSpacing() == (2.0, 2.0, 2.0)
    assert case_rows(scene) == [], "an example is no case"


def test_a_slice_is_a_volume_of_one_slice(scene: Any, tmp_path: Path) -> None:
    files = written(tmp_path, 1.0, (5, 6))
    image = sitk.GetImageFromArray(np.arange(30, dtype=np.float32).reshape(5, 6))
    image.SetSpacing([2.0, 3.0])
    image.SetOrigin([10.0, -20.0])
    sitk.WriteImage(image, files["Moved"])
    moved = load_pictures(scene, files)["moved"]
    assert slicer.util.arrayFromVolume(moved).tolist() == [np.arange(30).reshape(5, 6).tolist()]
    # x runs to the patient's left and y to the back, as in a slice seen from below
    assert moved.GetOrigin() == (-10.0, 20.0, 0.0) and moved.GetSpacing() == (2.0, 3.0, 2.0)
    matrix = vtk.vtkMatrix4x4()
    moved.GetIJKToRASDirectionMatrix(matrix)
    assert [matrix.GetElement(k, k) for k in range(3)] == [-1.0, -1.0, 1.0]
    assert moved.GetDisplayNode() is not None and case_rows(scene) == []
    # the next training learns from volumes
    again = load_pictures(scene, written(tmp_path, 2.0))
    assert again["moved"] is moved and slicer.util.arrayFromVolume(moved).shape == (4, 5, 6)


def test_pictures_that_cannot_be_shown(scene: Any, tmp_path: Path) -> None:
    load_pictures(scene, written(tmp_path, 1.0))
    files = written(tmp_path, 3.0)
    Path(files["Moved"]).write_bytes(b"no image")
    with pytest.raises(InputError, match="damaged"):
        load_pictures(scene, files)
    assert (slicer.util.arrayFromVolume(picture_nodes(scene)["fixed"]) == 1).all()


def test_segmentations_come_back_as_they_were(scene: Any) -> None:
    nodes = [scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name) for name in "ab"]
    for node in nodes:
        node.CreateDefaultDisplayNodes()
    nodes[1].GetDisplayNode().SetVisibility(False)
    hidden = HiddenSegmentations(scene)
    assert [n.GetDisplayNode().GetVisibility() for n in nodes] == [0, 0]
    hidden.restore()
    assert [n.GetDisplayNode().GetVisibility() for n in nodes] == [1, 0]
