"""A user in front of the review: choose a transform, measure, look, sort, jump, restore, report, many results."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from gui.helpers.user import User

MODULE = Path(__file__).parents[2] / "DeepRegistration" / "DeepRegistrationReview.py"
PATIENCE = 60.0
#: what Slicer itself makes once and keeps
SHARED_NODES = {"Camera", "SubjectHierarchy"}


class Review(User):
    """What a user does with the panel."""

    def measure(self) -> Any:
        assert self.ui.measureButton.enabled, self.ui.measureButton.toolTip
        self.ui.measureButton.click()
        self.host.wait_until(lambda: not self.panel.running, PATIENCE)
        assert self.panel.outputs is not None, self.ui.messageLabel.text
        return self.panel.outputs

    @staticmethod
    def titles(box: Any) -> list[str]:
        return [box.itemText(k) for k in range(box.count)]

    @staticmethod
    def column(table: Any, index: int) -> list[str]:
        return [table.item(r, index).text() for r in range(table.rowCount)]


@pytest.fixture
def review(slicer_host: Any, scene: Any, runner: Any) -> Iterator[Review]:
    loaded = slicer_host.load_module(MODULE)
    user = Review(slicer_host, loaded)
    user.open()
    yield user
    user.widget.parent.exit()
    user.panel.abandon()


@pytest.fixture
def aligned(slicer_host: Any, scene: Any, runner: Any, volumes: Any) -> Any:
    """A bent result with structures and landmarks; the nodes are in the scene."""
    return _align(scene, volumes)


def _align(scene: Any, volumes: Any, pause: float = 0.0) -> Any:
    import DeepRegistrationLib

    segmentations = [_structures(scene, v, f"structures of {v.GetName()}") for v in volumes]
    marks = [_landmarks(scene, name, shift) for name, shift in (("F", 0.0), ("M", 3.0))]
    return DeepRegistrationLib.register(
        *volumes, method="shift-for-tests", shift=4.0, bend=True, steps=1, pause=pause,
        fixed_segmentation=segmentations[0], moving_segmentation=segmentations[1],
        fixed_landmarks=marks[0], moving_landmarks=marks[1],
    )  # fmt: skip


def _structures(scene: Any, volume: Any, name: str) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    values = slicer.util.arrayFromVolume(volume)
    for segment, mask in {"liver": values > 500, "kidney": (values > 200) & (values <= 500)}.items():
        key = node.GetSegmentation().AddEmptySegment(segment, segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, key, volume)
    return node


def _landmarks(scene: Any, name: str, shift: float) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for k in range(4):
        node.AddControlPoint([-10.0 - 4 * k - shift * (k == 2), -12.0 - 3 * k, 14.0], f"p{k + 1}")
    return node


def _layers(host: Any) -> dict[str, Any]:
    return {name: slicer.app.layoutManager().sliceWidget(name) for name in slicer.app.layoutManager().sliceViewNames()}


def _names(scene: Any) -> set[str]:
    nodes = [scene.GetNthNode(k) for k in range(scene.GetNumberOfNodes())]
    return {node.GetName() or node.GetClassName() for node in nodes}


def _state(scene: Any) -> list[Any]:
    """What the slice views show, exactly."""
    out: list[Any] = [scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement()]
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(k, "vtkMRMLSliceCompositeNode")
        out.append((node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID(),
                    node.GetForegroundOpacity(), node.GetCompositing(), node.GetLinkedControl()))  # fmt: skip
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        node = scene.GetNthNodeByClass(k, "vtkMRMLSliceNode")
        # the width follows the size of the view, and the third is the thickness of a slice, which Slicer sets
        height = round(node.GetFieldOfView()[1], 6)
        out.append((node.GetOrientation(), round(node.GetSliceOffset(), 6), height))
    return out


def test_says_what_is_missing(review: Review, volumes: Any, scene: Any) -> None:
    ui = review.ui
    assert not ui.measureButton.enabled and "transform" in ui.measureButton.toolTip
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
    ui.transformSelector.setCurrentNode(node)
    assert not ui.measureButton.enabled and "fixed" in ui.measureButton.toolTip
    ui.fixedSelector.setCurrentNode(volumes[0])
    ui.movingSelector.setCurrentNode(volumes[1])
    assert ui.measureButton.enabled
    assert not ui.uncertaintyCheck.enabled and "cannot be run again" in ui.uncertaintyCheck.toolTip
    assert not ui.mapBox.enabled and not ui.compareBox.enabled and not ui.writeReportButton.enabled


def test_result_fills_in_the_rest_and_is_measured(review: Review, aligned: Any, volumes: Any, scene: Any) -> None:
    ui = review.ui
    ui.transformSelector.setCurrentNode(aligned.transform)
    p = review.parameters
    assert (p.fixed, p.moving) == tuple(volumes)
    assert (p.fixedSegmentation.GetName(), p.movingLandmarks.GetName()) == ("structures of CT day 1", "M")
    assert "CT day 0" in ui.directionLabel.text and "CT day 1" in ui.directionLabel.text
    assert ui.uncertaintyCheck.enabled
    outputs = review.measure()
    assert review.host.popups.opened == []
    # the same numbers as the registration itself gave
    recorded = aligned.metrics
    numbers = {k: v for k, v in recorded["deformation"].items() if not isinstance(v, str)}
    assert {k: outputs.metrics["deformation"][k] for k in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-4)
    for name, scores in recorded["segments"].items():
        assert outputs.metrics["segments"][name]["dice_after"] == pytest.approx(scores["dice_after"], abs=1e-6)
    assert outputs.metrics["landmarks"]["after_mm"] == pytest.approx(recorded["landmarks"]["after_mm"], abs=1e-3)
    np.testing.assert_allclose(
        slicer.util.arrayFromVolume(outputs.maps["jacobian"]), slicer.util.arrayFromVolume(aligned.jacobian), atol=1e-3
    )
    length = slicer.util.arrayFromVolume(outputs.maps["displacement"])
    assert length.max() == pytest.approx(recorded["deformation"]["displacement_max_mm"], rel=0.1)


def test_maps_are_shown_and_everything_comes_back(review: Review, aligned: Any, volumes: Any, scene: Any) -> None:
    slicer.util.setSliceViewerLayers(background=volumes[1], foregroundOpacity=0.3)
    before = _state(scene)
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    outputs = review.measure()
    assert _state(scene) == before and not review.ui.restoreButton.enabled
    review.pick(review.ui.mapBox, "Jacobian determinant")
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == outputs.maps["jacobian"].GetID()
    assert composite.GetBackgroundVolumeID() == volumes[0].GetID()
    review.ui.opacitySlider.value = 0.25
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    review.ui.thresholdCheck.setChecked(True)
    review.ui.thresholdRange.setValues(0.5, 0.9)
    display = outputs.maps["jacobian"].GetDisplayNode()
    assert display.GetApplyThreshold() and display.GetUpperThreshold() == pytest.approx(0.9)
    review.ui.thresholdCheck.setChecked(False)
    assert not display.GetApplyThreshold()
    review.ui.restoreButton.click()
    assert _state(scene) == before and not review.ui.restoreButton.enabled
    assert review.ui.mapBox.currentText == "No map"
    # leaving the module does the same
    review.pick(review.ui.mapBox, "Jacobian determinant")
    review.ui.diceButton.click()
    assert _state(scene) != before
    review.widget.parent.exit()
    assert _state(scene) == before
    review.widget.parent.enter()


@pytest.mark.parametrize("mode", ["Fade from one to the other", "Checkerboard", "Reveal at the mouse", "Flicker",
                                  "Difference (fixed minus moved)", "Side by side, linked"])  # fmt: skip
def test_comparison_ends_cleanly(review: Review, aligned: Any, scene: Any, mode: str) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    review.measure()
    review.host.process_events(0.15)  # views that have not been drawn since the scans came settle first
    before = _state(scene)
    nodes = _names(scene)
    review.pick(review.ui.compareBox, mode)
    review.host.process_events(0.15)
    assert review.ui.restoreButton.enabled
    assert review.ui.flickerSlider.visible == (mode == "Flicker")
    assert review.ui.fadeSlider.visible == mode.startswith("Fade")
    review.pick(review.ui.compareBox, "Not now")
    review.host.process_events(0.15)  # views take their sizes from the layout when they are drawn
    assert _state(scene) == before
    assert not review.ui.restoreButton.enabled
    assert _names(scene) - nodes <= SHARED_NODES


def test_table_sorts_and_landmarks_lead_to_their_place(review: Review, aligned: Any, scene: Any) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    outputs = review.measure()
    table = review.ui.landmarksTable
    assert review.column(table, 0) == ["p1", "p2", "p3", "p4"]
    table.horizontalHeader().sectionClicked.emit(2)
    errors = [float(text) for text in review.column(table, 2)]
    assert errors == sorted(errors, reverse=True) and len(set(errors)) > 1
    table.horizontalHeader().sectionClicked.emit(2)
    assert [float(text) for text in review.column(table, 2)] == sorted(errors)
    review.ui.worstButton.click()
    worst = int(np.argmax(outputs.metrics["landmarks"]["after_mm"]))
    x, y, z = outputs.metrics["landmarks"]["fixed_points"][worst]
    for name in ("Red", "Yellow", "Green"):
        middle = scene.GetNodeByID(f"vtkMRMLSliceNode{name}").GetSliceToRAS()
        assert [middle.GetElement(k, 3) for k in range(3)] == pytest.approx([-x, -y, z], abs=0.01)
    assert set(review.column(review.ui.segmentsTable, 0)) == {"liver", "kidney"}


def test_foreign_transform(review: Review, volumes: Any, scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Someone else's")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, 0.8)  # to parent: moving shrinks, so that fixed space looks up 1.25 times as far
    node.SetMatrixTransformToParent(matrix)
    review.ui.transformSelector.setCurrentNode(node)
    review.ui.fixedSelector.setCurrentNode(volumes[0])
    review.ui.movingSelector.setCurrentNode(volumes[1])
    outputs = review.measure()
    assert slicer.util.arrayFromVolume(outputs.maps["jacobian"]).mean() == pytest.approx(1.25, abs=1e-4)
    assert "no structure was measured" in review.ui.segmentsLabel.text
    assert "No landmarks" in review.ui.landmarksLabel.text and not review.ui.worstButton.enabled
    assert not review.ui.diceButton.enabled
    review.ui.inverseCheck.setChecked(True)
    outputs = review.measure()
    assert slicer.util.arrayFromVolume(outputs.maps["jacobian"]).mean() == pytest.approx(0.8, abs=1e-4)


def test_cancel_and_scene_closed_meanwhile(review: Review, volumes: Any, scene: Any) -> None:
    aligned = _align(scene, volumes, pause=0.5)
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    before = [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]
    review.ui.uncertaintyCheck.setChecked(True)
    review.ui.measureButton.click()
    assert review.ui.measureButton.text == "Cancel"
    review.host.process_events(0.2)
    assert review.panel.running, "each of the perturbed runs takes longer"
    begun = time.monotonic()
    review.ui.measureButton.click()
    assert time.monotonic() - begun < 1.0 and not review.panel.running
    assert "Cancelled" in review.ui.messageLabel.text
    assert [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())] == before
    review.ui.measureButton.click()
    review.host.process_events(0.1)
    scene.Clear(0)
    review.host.process_events(0.2)
    assert not review.panel.running and not review.ui.measureButton.enabled
    assert review.host.popups.opened == []


def test_uncertainty_by_perturbed_runs(review: Review, aligned: Any) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    review.ui.uncertaintyCheck.setChecked(True)
    review.ui.membersBox.setValue(3)
    outputs = review.measure()
    assert "uncertainty" in outputs.maps
    said = " ".join([review.ui.messageLabel.text, review.ui.logText.toPlainText()])
    assert "perturbed runs" in said and "not a probability" in said


def test_review_is_there_again_after_loading(review: Review, aligned: Any, scene: Any, tmp_path: Path) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    count = len(review.measure().maps)
    if scene.GetDataIOManager().GetCacheManager() is None:  # where Slicer unpacks .mrb files
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    scene.Clear(0)
    slicer.util.loadScene(path)
    review.open()
    assert review.panel.outputs is not None and len(review.panel.outputs.maps) == count
    assert set(review.column(review.ui.segmentsTable, 0)) == {"liver", "kidney"}
    review.pick(review.ui.mapBox, "Jacobian determinant")


def test_second_measurement_replaces_the_first(review: Review, aligned: Any, scene: Any) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    review.measure()
    nodes = scene.GetNumberOfNodes()
    review.measure()
    assert scene.GetNumberOfNodes() == nodes


def test_report_with_the_views(review: Review, aligned: Any, scene: Any, tmp_path: Path) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    review.measure()
    review.pick(review.ui.mapBox, "Logarithm of the Jacobian determinant")
    slicer.app.layoutManager().viewport().show()
    review.host.process_events(0.15)
    before = _state(scene)
    review.ui.reportFolder.directory = str(tmp_path)
    review.ui.writeReportButton.click()
    assert not review.ui.writeReportButton.enabled
    review.host.wait_until(lambda: not review.panel.report.running, PATIENCE)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    headings = ["As on the screen", "in squares", "Fixed minus moved", "Jacobian determinant", "Displacement"]
    assert [heading for heading in headings if heading not in page] == [] and "liver" in page
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 3 * 6 and any(len(set(pictures[k::3])) == 6 for k in range(3))
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["metrics"]["segments"]["liver"]["label"]
    assert (tmp_path / "report.csv").stat().st_size > 100
    assert "report.html" in review.ui.reportLabel.text and review.ui.writeReportButton.enabled
    assert _state(scene) == before and review.ui.mapBox.currentText.startswith("Logarithm")


def test_a_report_that_cannot_be_written_and_one_that_is_left(review: Review, aligned: Any, scene: Any) -> None:
    review.ui.transformSelector.setCurrentNode(aligned.transform)
    review.measure()
    before = _state(scene)
    review.ui.reportFolder.directory = "/dev/null/nowhere"
    review.ui.writeReportButton.click()
    review.host.wait_until(lambda: not review.panel.report.running, PATIENCE)
    assert review.ui.reportLabel.text.endswith(".") and "nowhere" in review.ui.reportLabel.text
    assert _state(scene) == before
    review.ui.writeReportButton.click()
    review.host.process_events(0.2)
    review.widget.parent.exit()
    assert not review.panel.report.running and _state(scene) == before
    review.widget.parent.enter()


def test_many_results_and_a_double_click(review: Review, volumes: Any, tmp_path: Path, runner: Any) -> None:
    import SimpleITK as sitk

    import DeepRegistrationLib as dr
    from DeepRegistrationLib.jobs.perform import Request, perform

    for k, shift in enumerate((0.0, 2.0, 6.0)):
        for side in ("fixed", "moving"):
            image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(volumes[0]))
            image.SetSpacing((2.0, 2.0, 2.0))
            sitk.WriteImage(image, str(tmp_path / f"{side}{k}.nii.gz"))
        inputs = {side: str(tmp_path / f"{side}{k}.nii.gz") for side in ("fixed", "moving")}
        values = {"shift": shift, "steps": 1, "pause": 0.0, "bend": k == 2}
        perform(Request(inputs, "shift-for-tests", values=values), tmp_path / "results" / f"case{k}")
    review.panel.batch.read(str(tmp_path / "results"))
    table = review.ui.batchTable
    assert table.rowCount == 3 and "3 results" in review.ui.batchLabel.text
    assert sorted(review.column(table, 0)) == ["case0", "case1", "case2"]
    row = review.column(table, 0).index("case1")
    table.cellDoubleClicked.emit(row, 0)
    review.host.wait_until(lambda: not review.panel.running, PATIENCE)
    assert review.panel.outputs is not None, review.ui.messageLabel.text + review.ui.batchLabel.text
    wanted = dr.evaluate(tmp_path / "results" / "case1").to_dict()["deformation"]["displacement_mean_mm"]
    found = review.panel.outputs.metrics["deformation"]["displacement_mean_mm"]
    assert found == pytest.approx(wanted, rel=1e-3)


def test_the_review_module_tests_itself(slicer_host: Any, scene: Any, runner: Any, review: Review) -> None:
    slicer.selfTests["DeepRegistrationReview"](msec=1)
