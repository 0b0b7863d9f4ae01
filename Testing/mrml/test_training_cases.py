"""Cases of a training: which volumes are, what is remembered of them, and what the worker gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.training_cases import (
    LEAVE_OUT,
    TRAIN,
    VALIDATE,
    CaseRow,
    case_rows,
    check_cases,
    export_cases,
    remember,
    remembered,
    rows_of_folder,
)

SHAPE = (6, 7, 8)


def volume(name: str, value: float = 1.0) -> Any:
    array = np.random.default_rng(0).normal(value, 1, SHAPE).astype(np.float32)
    return slicer.util.addVolumeFromArray(array, np.diag([-2.0, -2.0, 3.0, 1.0]), name)


def segmentation(scene: Any, on: Any, *segments: str) -> Any:
    """Each segment fills a slice of its own, from the first."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.SetReferenceImageGeometryParameterFromVolumeNode(on)
    for k, name in enumerate(segments):
        mask = np.zeros(SHAPE, np.uint8)
        mask[k] = 1
        node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, name, on)
    return node


def finished(work: Any) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_what_is_a_case(scene: Any) -> None:
    volumes = [volume(f"CT {k}") for k in range(4)]
    volumes[0].SetHideFromEditors(True)
    moved = volume("moved")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetNodeReferenceID("DeepRegistration.output.moved", moved.GetID())
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "CT 2 label")
    rows = case_rows(scene)
    assert [row.image for row in rows] == volumes[1:]
    assert [row.segmentation and row.segmentation.GetName() for row in rows] == [None, "CT 2 label", None]
    assert [row.role for row in rows] == [TRAIN] * 3
    more = [volume(f"CT {k}") for k in range(4, 9)]
    assert [row.role for row in case_rows(scene)] == [TRAIN] * 6 + [VALIDATE] * 2, "one of four is held back"
    # one that comes later is learned from, and nothing changes what was chosen
    kept = [CaseRow(row.image, row.segmentation, LEAVE_OUT) for row in rows]
    assert [row.role for row in case_rows(scene, kept)] == [LEAVE_OUT] * 3 + [TRAIN] * len(more)


def test_rows_are_remembered(scene: Any) -> None:
    volumes = [volume(f"CT {k}") for k in range(3)]
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    rows = [
        CaseRow(volumes[0], segmentation(scene, volumes[0], "liver")),
        CaseRow("/data/pt_1/ct.nii.gz", "/data/pt_1/labels.nii.gz", VALIDATE, {"1": "liver"}),
        CaseRow(volumes[2], None, LEAVE_OUT),
    ]
    text = remember(node, rows)
    assert remembered(node, text) == rows
    fewer = remember(node, rows[1:])
    assert remembered(node, fewer) == rows[1:]
    scene.RemoveNode(volumes[2])
    assert remembered(node, fewer) == rows[1:2]
    assert remembered(node, "no JSON") == []


def test_one_name_has_one_label_and_geometry_is_that_of_the_world(scene: Any, tmp_path: Path) -> None:
    volumes = [volume(f"Mrs Smith {k}") for k in range(3)]
    move = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.array(
        [[1.0, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])))  # fmt: skip
    volumes[2].SetAndObserveTransformNodeID(move.GetID())
    rows = [
        CaseRow(volumes[0], segmentation(scene, volumes[0], "liver", "spleen")),
        CaseRow(volumes[1], None, LEAVE_OUT),
        CaseRow(volumes[2], segmentation(scene, volumes[0], "spleen", "kidney"), VALIDATE),
        CaseRow("/data/pt_1/ct.nii.gz", None),
    ]
    count = scene.GetNumberOfNodes()
    files = finished(export_cases(rows, tmp_path / "cases"))
    assert scene.GetNumberOfNodes() == count
    assert [(f.name, f.role) for f in files] == [("case 1", TRAIN), ("case 3", VALIDATE), ("case 4", TRAIN)]
    assert not any("Smith" in path.name for path in (tmp_path / "cases").iterdir())
    assert (files[2].scan, files[2].labels) == ("/data/pt_1/ct.nii.gz", None)
    scan = sitk.ReadImage(files[1].scan)
    assert scan.GetOrigin() == (-10.0, 0.0, 0.0) and scan.GetSpacing() == (2.0, 2.0, 3.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(scan), slicer.util.arrayFromVolume(volumes[2]))

    from DeepRegistrationLib.io import read_segmentation

    names = [read_segmentation(f.labels).names for f in files[:2]]
    by_name = [{name: value for value, name in said.items()} for said in names]
    assert set(by_name[0]) == {"liver", "spleen"} and set(by_name[1]) == {"spleen", "kidney"}
    assert by_name[0]["spleen"] == by_name[1]["spleen"] != by_name[1]["kidney"]


def test_what_cannot_be_learned_from(scene: Any) -> None:
    volumes = [volume(f"CT {k}") for k in range(2)]
    check_cases([], needed=False)
    with pytest.raises(InputError, match="at least two cases"):
        check_cases([], needed=True)
    with pytest.raises(InputError, match=r"CT 0.*no pair"):
        check_cases([CaseRow(volumes[0]), CaseRow(volumes[1], None, VALIDATE)], needed=False)
    with pytest.raises(InputError, match="at least two cases"):
        check_cases([CaseRow(volumes[0], None, VALIDATE)], needed=False)
    check_cases([CaseRow(v) for v in volumes], needed=True)
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(InputError, match="'empty' holds no voxels"):
        check_cases([CaseRow(volumes[0]), CaseRow(empty)], needed=True)


def test_cases_of_a_folder_know_their_labels(tmp_path: Path) -> None:
    for k in range(5):
        (tmp_path / f"pt_{k}").mkdir()
        for name in ("ct", "labels"):
            (tmp_path / f"pt_{k}" / f"{name}.nii.gz").write_bytes(b"x")
    (tmp_path / "names.json").write_text('{"1": "liver"}')
    rows = rows_of_folder(tmp_path)
    assert len(rows) == 5 and sum(row.role == VALIDATE for row in rows) == 1
    assert rows[0].name == "pt_0/ct.nii.gz" and rows[0].names == {"1": "liver"}
    with pytest.raises(InputError, match="do not exist"):
        rows_of_folder(tmp_path / "nothing")
