"""A folder that the `register` command wrote opens as if the alignment had been made in the scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.open_result import open_result_folder
from DeepRegistrationLib.mrml.results import nodes_of_result
from DeepRegistrationLib.mrml.review_inputs import review_nodes_of

SIZE = (24, 20, 16)
SHIFT = 4.0


def image(centre: tuple[float, ...], direction: list[float], labels: bool = False) -> sitk.Image:
    """A soft ball, or the label 7 of the ball and 3 of a shell around it, about a place in LPS mm."""
    grid = sitk.Image(SIZE, sitk.sitkFloat32)
    grid.SetSpacing((1.0, 1.5, 2.0))
    grid.SetOrigin((-12.0, 14.0, 30.0))
    grid.SetDirection(direction)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SIZE], indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = np.array(direction).reshape(3, 3) * np.array(grid.GetSpacing())
    world = index @ matrix.T + np.array(grid.GetOrigin())
    distance = np.linalg.norm(world - centre, axis=1).reshape(SIZE).T
    if labels:
        values = np.where(distance < 5, 7, np.where(distance < 8, 3, 0)).astype(np.uint8)
    else:
        values = (1000 * np.exp(-((distance / 6) ** 2))).astype(np.int16)
    out = sitk.GetImageFromArray(values)
    out.CopyInformation(grid)
    return out


def turned(angle: float) -> list[float]:
    c, s = np.cos(angle), np.sin(angle)
    return [c, -s, 0, s, c, 0, 0, 0, 1]


def markups(path: Path, points: np.ndarray) -> None:
    from DeepRegistrationLib import io
    from DeepRegistrationLib.core.points import PointSet

    io.write_points(PointSet(points), path)


@pytest.fixture
def written(tmp_path: Path, request: pytest.FixtureRequest, tiny_method: Any) -> Path:
    """What `python -m DeepRegistrationLib register` leaves for a pair whose balls lie SHIFT mm apart."""
    from DeepRegistrationLib.cli import main

    kind = getattr(request, "param", ".seg.nrrd")
    inputs, centre = tmp_path / "inputs", np.array([-2.0, 28.0, 46.0])
    inputs.mkdir()
    for side, move in (("fixed", 0.0), ("moving", SHIFT)):
        at, direction = np.add(centre, (move, 0, 0)), turned(0.2 if side == "fixed" else -0.1)
        sitk.WriteImage(image(at, direction), str(inputs / f"{side}.nii.gz"))
        labels = image(at, direction, labels=True)
        if kind == ".seg.nrrd":
            for k, (value, name) in enumerate(((7, "tumour"), (3, "rim of it"))):
                said = {"ID": f"S{value}", "Name": name, "LabelValue": str(value), "Layer": "0"}
                for key, text in said.items():
                    labels.SetMetaData(f"Segment{k}_{key}", text)
        sitk.WriteImage(labels, str(inputs / f"{side}_segmentation{kind}"))
        ending = ".mrk.json" if kind == ".seg.nrrd" else ".csv"
        markups(inputs / f"{side}_landmarks{ending}", at + np.array([[0.0, 0, 0], [3, 2, 1], [-2, 4, 0.5]]))
    sitk.WriteImage(image(centre, turned(0.2), labels=True) > 0, str(inputs / "fixed_mask.nrrd"))
    out = tmp_path / "case 1"
    arguments = ["register", "--method", "tiny", "--out", str(out)]
    for name in (
        "fixed",
        "moving",
        "fixed_mask",
        "fixed_segmentation",
        "moving_segmentation",
        "fixed_landmarks",
        "moving_landmarks",
    ):
        file = next(inputs.glob(f"{name}.*"))
        arguments += ["--" + name.replace("_", "-"), str(file)]
    assert main(arguments) == 0
    return out


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


@pytest.mark.parametrize("written", [".seg.nrrd", ".nii.gz"], indirect=True)
def test_opens_everything_as_it_was_written(scene: Any, written: Path) -> None:
    nodes = open_result_folder(written)
    given = review_nodes_of(nodes.transform)
    named = json.loads((written / "provenance.json").read_text(encoding="utf-8"))["segment_names"]
    for side, node in (("fixed", given.fixed), ("moving", given.moving)):
        file = sitk.ReadImage(str(written.parent / "inputs" / f"{side}.nii.gz"))
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(file))
    moved = sitk.GetArrayFromImage(sitk.ReadImage(str(written / "moved.nii.gz")))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.moved), moved)
    # moving lies under the transform: shown by Slicer it is the moved volume
    assert given.moving.GetParentTransformNode() is nodes.transform
    logic = slicer.modules.volumes.logic()
    shown = slicer.util.arrayFromVolume(logic.ResampleVolumeToReferenceVolume(given.moving, given.fixed))
    assert np.abs(shown.astype(float) - moved).max() < 3
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(written / "segmentation.nii.gz")))
    segmentation = nodes.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(k).GetName() for k in range(2)]
    assert sorted(names) == (["rim of it", "tumour"] if named else ["label 3", "label 7"])
    for k, name in enumerate(names):
        value = {"rim of it": 3, "tumour": 7, "label 3": 3, "label 7": 7}[name]
        key = segmentation.GetNthSegmentID(k)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, key, nodes.moved) > 0
        np.testing.assert_array_equal(mask, labels == value)
    assert set(nodes.metrics["segments"]) == set(names)
    assert given.fixed_mask.IsA("vtkMRMLLabelMapVolumeNode")
    for k, point in enumerate(nodes.metrics["landmarks"]["fixed_points"]):
        place = np.array(given.fixed_landmarks.GetNthControlPointPositionVector(k)) * (-1, -1, 1)
        np.testing.assert_allclose(place, point, atol=1e-5)
    assert given.moving_landmarks.GetNumberOfControlPoints() == 3
    again = nodes_of_result(nodes.transform)
    assert again is not None and again.provenance["method"] == "tiny"
    given.check()


def test_inputs_that_went_are_one_sentence(scene: Any, written: Path) -> None:
    before = ids(scene)
    for name in ("fixed.nii.gz", "moving_segmentation.seg.nrrd", "fixed_landmarks.mrk.json"):
        file = written.parent / "inputs" / name
        held = file.read_bytes()
        file.unlink()
        with pytest.raises(InputError, match="which is not there") as caught:
            open_result_folder(written)
        assert name in str(caught.value) and "\n" not in str(caught.value)
        assert ids(scene) == before
        file.write_bytes(held)


def test_outputs_that_went_are_one_sentence(scene: Any, written: Path) -> None:
    before = ids(scene)
    (written / "jacobian.nii.gz").unlink()
    with pytest.raises(InputError, match="has no jacobian"):
        open_result_folder(written)
    assert ids(scene) == before
    with pytest.raises(InputError, match="There is no folder"):
        open_result_folder(written / "nowhere")
    with pytest.raises(InputError, match="no finished result"):
        open_result_folder(written.parent)


@pytest.mark.parametrize(
    "name",
    ["inputs/moving.nii.gz", "inputs/moving_segmentation.seg.nrrd", "case 1/moved.nii.gz", "case 1/transform.tfm"],
)
def test_a_damaged_file_leaves_the_scene(scene: Any, written: Path, name: str) -> None:
    before = ids(scene)
    (written.parent / name).write_bytes(b"nothing that is an image")
    with pytest.raises(InputError, match="cannot be read") as caught:
        open_result_folder(written)
    assert Path(name).name in str(caught.value) and "\n" not in str(caught.value)
    assert ids(scene) == before


def test_a_result_of_images_in_memory_says_so(scene: Any, written: Path) -> None:
    provenance = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    provenance["inputs"] = {}
    (written / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(InputError, match="does not say which file its fixed image was"):
        open_result_folder(written)
