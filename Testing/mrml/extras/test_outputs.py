"""Maps, series, points and candidates of a result as real nodes: shown as they are, found again, all or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml import alternatives
from DeepRegistrationLib.mrml.inputs import InputNodes
from DeepRegistrationLib.mrml.map_nodes import range_of
from DeepRegistrationLib.mrml.results import load_result, nodes_of_result, restore_moving
from DeepRegistrationLib.mrml.series import shown_volume
from mrml.extras.made import POINTS, SCORES, ids, markups, rigid, same_nodes


def test_maps_lie_on_fixed_in_the_colours_of_their_kind(pair: InputNodes, result: Any) -> None:
    assert set(result.maps) == {"intensity_change", "metamorphosed"}
    change = result.maps["intensity_change"]
    values = slicer.util.arrayFromVolume(change)
    np.testing.assert_allclose(values.ravel()[[0, -1]], [-40, 10], rtol=1e-6)
    low, high = range_of(change)
    assert low == pytest.approx(-high) and 38 < high <= 40  # 0 is in the middle
    colour = [0.0] * 4
    change.GetDisplayNode().GetColorNode().GetColor(127, colour)
    assert max(colour[:3]) < 0.03
    picture = result.maps["metamorphosed"].GetDisplayNode()
    assert (picture.GetWindow(), picture.GetLevel()) == (700.0, 350.0)
    ours, theirs = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    change.GetIJKToRASMatrix(ours)
    pair.fixed.GetIJKToRASMatrix(theirs)
    np.testing.assert_allclose(
        slicer.util.arrayFromVTKMatrix(ours), slicer.util.arrayFromVTKMatrix(theirs), atol=1e-6
    )


def test_a_series_is_a_sequence_that_can_be_played(pair: InputNodes, result: Any) -> None:
    assert set(result.series) == {"metamorphosis", "mask"}
    browser = result.series["metamorphosis"]
    assert browser.IsA("vtkMRMLSequenceBrowserNode") and browser.GetNumberOfItems() == 3
    sequence = browser.GetMasterSequenceNode()
    assert (sequence.GetIndexName(), sequence.GetDataNodeClassName()) == ("step", "vtkMRMLScalarVolumeNode")
    fixed = slicer.util.arrayFromVolume(pair.fixed)
    shown = shown_volume(browser)
    for k, share in enumerate((0.0, 0.5, 1.0)):
        browser.SetSelectedItemNumber(k)
        assert shown_volume(browser) is shown
        np.testing.assert_allclose(slicer.util.arrayFromVolume(shown), share * fixed, atol=1e-3)
        display = shown.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == (700.0, 350.0)
    assert shown.GetName() == "CT day 0 to CT day 1 (test-method) Metamorphosis"
    mask = shown_volume(result.series["mask"]).GetDisplayNode()
    assert (mask.GetWindowLevelMin(), mask.GetWindowLevelMax()) == (0.0, 1.0)
    assert any("sequence browser" in m for m in result.messages)


def test_points_of_moving_lie_under_the_transform(pair: InputNodes, result: Any) -> None:
    fixed, moving = (result.points[f"{side}_correspondences"] for side in ("fixed", "moving"))
    assert fixed.GetNumberOfControlPoints() == 3 and fixed.GetNthControlPointLabel(1) == "c1" and fixed.GetLocked()
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(fixed, world=True), POINTS * (-1, -1, 1))
    # shown where the moving volume is shown, each lies on its partner
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(moving, world=True), POINTS * (-1, -1, 1), atol=1e-4
    )
    restore_moving(result.transform)
    assert moving.GetTransformNodeID() is None and pair.moving.GetTransformNodeID() is None


@pytest.mark.parametrize("count", [3, 501])
def test_many_points_are_hidden_at_first(pair: InputNodes, given: Any, count: int) -> None:
    folder, data, labels = given
    for side in ("fixed", "moving"):
        markups(folder / f"{side}_correspondences.mrk.json", np.arange(3.0 * count).reshape(-1, 3) / count)
    made = load_result(pair, folder, data, labels)
    assert {bool(node.GetDisplayVisibility()) for node in made.points.values()} == {count == 3}
    assert any("hidden at first" in m for m in made.messages) == (count != 3)


def test_candidates_are_transforms_with_a_table_in_one_folder(scene: Any, result: Any) -> None:
    assert len(result.alternatives) == 3
    for k, node in enumerate(result.alternatives, 1):
        there = node.GetTransformFromParent().TransformPoint(-1.0, -2.0, 3.0)
        expected = np.array(rigid(k).TransformPoint((1.0, 2.0, 3.0))) * (-1, -1, 1)
        np.testing.assert_allclose(there, expected, atol=1e-6)
        assert node.GetName().endswith(f"candidate {k}")
    table = result.alternatives_table.GetTable()
    assert [table.GetColumnName(k) for k in range(3)] == ["Candidate", "similarity", "overlap"]
    assert [table.GetColumn(0).GetValue(k) for k in range(3)] == ["1", "upside down", "3"]
    assert np.isnan(table.GetColumn(2).GetValue(1)) and table.GetColumn(1).GetValue(2) == 0.25
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = (*result.alternatives, result.alternatives_table)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in nodes}
    assert len(parents) == 1 and "candidates" in hierarchy.GetItemName(parents.pop())
    found = alternatives.candidates_of(result.transform)
    assert [c.title for c in found] == ["", "upside down", ""] and found[0].scores == SCORES[0]


def test_they_are_found_on_the_transform(result: Any) -> None:
    again = nodes_of_result(result.transform)
    same_nodes(again, result)
    assert again.provenance["tables"] == {"distance": 2.0}


def test_they_are_found_after_the_scene_was_saved_and_loaded(scene: Any, result: Any, tmp_path: Path) -> None:
    alternatives.choose(result.transform, 2)
    name = result.transform.GetName()
    if scene.GetDataIOManager().GetCacheManager() is None:  # where Slicer unpacks .mrb files
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    counts = {k: len(getattr(result, k)) for k in ("maps", "series", "points", "alternatives")}
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = nodes_of_result(slicer.util.getNode(name))
    assert {k: len(getattr(again, k)) for k in counts} == counts and again.alternatives_table is not None
    browser = again.series["metamorphosis"]
    assert browser.GetNumberOfItems() == 3 and shown_volume(browser) is not None
    assert slicer.util.arrayFromVolume(again.maps["intensity_change"]).min() == pytest.approx(-40)
    assert alternatives.chosen(again.transform) == 2
    alternatives.choose(again.transform, 1)
    assert json.loads(again.transform.GetAttribute("DeepRegistration.metrics")) == {"numbers": 1}


BROKEN = ["intensity_change", "series.mask", "points.moving_correspondences", "alternative.3"]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_failure_half_way_leaves_no_trace(
    scene: Any, pair: InputNodes, given: Any, broken: str, how: str
) -> None:
    folder, data, labels = given
    file = folder / data["files"][broken]
    file.unlink() if how == "gone" else file.write_bytes(b"nothing that can be read")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before, items = ids(scene), hierarchy.GetNumberOfItems()
    with pytest.raises(InputError) as caught:
        load_result(pair, folder, data, labels)
    text = str(caught.value)
    assert data["files"][broken] in text and text.endswith(".") and "\n" not in text
    assert ids(scene) == before and hierarchy.GetNumberOfItems() == items
    assert pair.moving.GetTransformNodeID() is None


# ---------------------------------------------------------------------- from the command line


def test_a_folder_of_the_command_line_opens_with_everything(
    scene: Any, tmp_path: Path, tiny_method: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from DeepRegistrationLib.cli import main
    from DeepRegistrationLib.core.points import PointSet
    from DeepRegistrationLib.core.result import Alternative, RegistrationResult
    from DeepRegistrationLib.mrml.open_result import open_result_folder
    from DeepRegistrationLib.transforms import Affine
    from methods.tiny import blob

    def run(problem: Any, parameters: Any, context: Any) -> RegistrationResult:
        shifts = [Affine(np.eye(3), [2.0 - 5.0 * k, 0.0, 0.0]) for k in range(2)]
        return RegistrationResult(
            problem,
            shifts[0],
            maps={"intensity_change": problem.fixed},
            tables={"distance between anatomies": 12.5},
            series={"images": [problem.fixed, problem.moving.resampled(problem.fixed.grid)]},
            points={"fixed_correspondences": PointSet([[9.0, 20.0, 10.0]])},
            alternatives=[Alternative(s, {"similarity": 0.5 / k}) for k, s in enumerate(shifts, 1)],
        )

    tiny_method("generous", run=run)
    for name, centre in (("fixed", (10.0, 20.0, 12.0)), ("moving", (12.0, 20.0, 12.0))):
        io.write_image(blob(centre), tmp_path / f"{name}.nii.gz")
    arguments = ["--fixed", f"{tmp_path}/fixed.nii.gz", "--moving", f"{tmp_path}/moving.nii.gz"]
    assert main(["register", *arguments, "--method", "generous", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Distance between anatomies: 12.5" in lines
    assert "Candidate 1: similarity 0.5" in lines and "Candidate 2: similarity 0.25" in lines
    nodes = open_result_folder(tmp_path / "out")
    browser = nodes.series["images"]
    browser.SetSelectedItemNumber(1)
    moving = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "moving.nii.gz")))
    np.testing.assert_allclose(slicer.util.arrayFromVolume(shown_volume(browser)), moving, atol=1e-4)
    assert set(nodes.maps) == {"intensity_change"} and nodes.points["fixed_correspondences"] is not None
    best = slicer.util.arrayFromVolume(nodes.moved).copy()
    alternatives.choose(nodes.transform, 2)
    assert np.abs(slicer.util.arrayFromVolume(nodes.moved) - best).max() > 10
    alternatives.choose(nodes.transform, 1)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(nodes.moved), best, atol=0.01)
