"""A user in front of the panel: pick, apply, cancel, again, save, load, close."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer.util


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


def organs(scene: Any, volume: Any) -> Any:
    """Bright and middling spots as two segments."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    values = slicer.util.arrayFromVolume(volume)
    for name, mask in {"liver": values > 500, "kidney": (values > 200) & (values <= 500)}.items():
        key = node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, key, volume)
    node.GetSegmentation().GetSegment("kidney").SetColor(0.1, 0.9, 0.3)
    return node


def test_apply_says_why_it_cannot(panel: Any, volumes: Any) -> None:
    ui = panel.ui
    assert not ui.applyButton.enabled
    assert "fixed" in ui.applyButton.toolTip
    ui.fixedSelector.setCurrentNode(volumes[0])
    assert "moving" in ui.applyButton.toolTip
    ui.movingSelector.setCurrentNode(volumes[0])
    assert not ui.applyButton.enabled and "both 'CT day 1'" in ui.applyButton.toolTip
    ui.movingSelector.setCurrentNode(volumes[1])
    assert ui.applyButton.enabled
    assert ui.sentenceLabel.text == "Moves CT day 0 onto CT day 1."


def test_run_shows_progress_and_adds_nodes(panel: Any, volumes: Any, scene: Any) -> None:
    fixed, moving = volumes
    panel.choose(fixed, moving, shift=6.0, steps=6, pause=0.1)
    panel.apply()
    assert panel.ui.applyButton.text == "Cancel" and panel.ui.progressBar.visible
    seen = set()
    while panel.panel.running:
        panel.host.process_events(0.02)
        seen.add((panel.ui.statusLabel.text.split(" - ")[0], panel.ui.progressBar.value))
    assert any(stage == "Taking steps" for stage, _ in seen)
    assert len({value for _, value in seen}) > 2
    assert panel.ui.applyButton.text == "Apply" and not panel.ui.progressBar.visible

    result = panel.parameters.result
    assert result.GetName() == "CT day 0 to CT day 1 (shift-for-tests)"
    assert moving.GetParentTransformNode() is result
    moved = result.GetNodeReference("DeepRegistration.output.moved")
    assert result.GetNodeReference("DeepRegistration.output.jacobian") is not None
    shown = slicer.modules.volumes.logic().ResampleVolumeToReferenceVolume(moving, moved)
    a, b = slicer.util.arrayFromVolume(moved), slicer.util.arrayFromVolume(shown)
    assert np.abs(a - b).mean() < 0.001 * np.ptp(a)
    np.testing.assert_allclose(a[:, :, :-3], slicer.util.arrayFromVolume(fixed)[:, :, 3:], atol=0.5)
    assert "A word to the user." in panel.ui.messageLabel.text
    assert "said by the method" in panel.ui.logText.toPlainText()
    assert panel.host.popups.opened == []
    rows = [panel.ui.resultTable.item(r, 0).text() for r in range(panel.ui.resultTable.rowCount)]
    assert "Folding (%)" in rows


def test_cancel_is_prompt_and_leaves_the_scene(panel: Any, volumes: Any, scene: Any) -> None:
    panel.choose(*volumes, steps=1000, pause=0.1)
    before = ids(scene)
    panel.apply()
    panel.reach("Taking steps")
    begun = time.monotonic()
    panel.ui.applyButton.click()
    assert not panel.panel.running
    assert time.monotonic() - begun < 1.0
    assert ids(scene) == before and volumes[1].GetTransformNodeID() is None
    assert "Cancelled" in panel.ui.messageLabel.text and panel.ui.applyButton.text == "Apply"
    panel.set("steps", 2)
    panel.set("pause", 0.0)
    assert panel.run() is not None


def test_second_run_replaces_the_first(panel: Any, volumes: Any) -> None:
    panel.choose(*volumes, shift=6.0, bend=True)
    first = panel.run()
    second = panel.run()
    assert second is not first and volumes[1].GetParentTransformNode() is second
    arrays = [
        slicer.util.arrayFromVolume(t.GetNodeReference("DeepRegistration.output.moved"))
        for t in (first, second)
    ]
    np.testing.assert_array_equal(*arrays)
    assert "set aside" in panel.ui.messageLabel.text
    panel.ui.undoButton.click()
    assert volumes[1].GetTransformNodeID() is None


@pytest.mark.parametrize("how", ["killed", "broken"])
def test_worker_that_dies(panel: Any, volumes: Any, scene: Any, how: str) -> None:
    panel.choose(*volumes, end=how.capitalize())
    before = ids(scene)
    assert panel.run() is None
    text = panel.ui.messageLabel.text
    assert text.endswith(".") and "\n" not in text and panel.ui.showLogButton.visible
    assert ids(scene) == before
    panel.ui.logButton.setCollapsed(True)
    panel.host.process_events(0.3)  # the last words of the worker
    panel.ui.showLogButton.click()
    assert not panel.ui.logButton.collapsed
    if how == "broken":
        assert "something broke" in panel.ui.logText.toPlainText()
    panel.set("end", "Well")
    assert panel.run() is not None


def test_killed_from_outside(panel: Any, volumes: Any, runner: Any, scene: Any) -> None:
    panel.choose(*volumes, steps=1000, pause=0.1)
    before = ids(scene)
    panel.apply()
    panel.reach("Taking steps")
    busy = [w for w in runner._workers if w.job is not None]
    os.kill(busy[0]._process.pid, signal.SIGKILL)
    panel.wait()
    assert "ended from outside" in panel.ui.messageLabel.text
    assert ids(scene) == before


def test_constant_volume_is_one_sentence(panel: Any, volumes: Any, scene: Any) -> None:
    slicer.util.updateVolumeFromArray(volumes[1], np.full((18, 20, 22), 7.0, np.float32))
    panel.choose(*volumes)
    before = ids(scene)
    assert panel.run() is None
    text = panel.ui.messageLabel.text
    assert "7" in text and text.endswith(".") and text.count(". ") == 0
    assert ids(scene) == before


def test_scene_closed_during_a_run(panel: Any, volumes: Any, scene: Any, runner: Any) -> None:
    panel.choose(*volumes, steps=1000, pause=0.1)
    panel.apply()
    panel.reach("Taking steps")
    folder = panel.panel._order.folder.path
    scene.Clear(0)
    panel.host.process_events(0.3)
    assert not panel.panel.running and not folder.exists()
    assert [w for w in runner._workers if w.job is not None and w.alive] == []
    assert panel.ui.messageLabel.text == "" and panel.ui.applyButton.text == "Apply"
    assert not panel.ui.applyButton.enabled
    assert panel.host.popups.opened == []


@pytest.mark.parametrize("kind", ["mrb", "mrml"])
def test_saved_scene_restores_the_panel(
    panel: Any, volumes: Any, scene: Any, tmp_path: Path, kind: str
) -> None:
    if scene.GetDataIOManager().GetCacheManager() is None:  # where Slicer unpacks .mrb files
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    panel.choose(*volumes)
    segments = organs(scene, volumes[1])
    panel.ui.movingSegmentationSelector.setCurrentNode(segments)
    panel.pick(panel.ui.presetBox, "Brain (MR)")
    panel.set("shift", -8.0)
    panel.set("pause", 0.01)
    panel.pick(panel.ui.deviceBox, "Processor (CPU)")
    panel.run()
    rows = panel.ui.resultTable.rowCount
    path = str(tmp_path / f"scene.{kind}")
    assert slicer.util.saveScene(path)
    scene.Clear(0)
    assert panel.ui.resultTable is not None and panel.parameters.fixed is None
    slicer.util.loadScene(path)
    panel.host.process_events(0.1)
    panel.open()
    p = panel.parameters
    assert (p.fixed.GetName(), p.moving.GetName()) == ("CT day 1", "CT day 0")
    assert (p.method, p.preset, p.device) == ("shift-for-tests", "brain-mr", "cpu")
    assert panel.panel.form.values()["shift"] == -8.0
    assert panel.panel.form.values()["steps"] == 5
    assert panel.panel.form.overrides() == {"shift": -8.0, "pause": 0.01}
    assert panel.ui.presetBox.currentText == "Brain (MR)"
    assert panel.ui.resultTable.rowCount == rows and panel.ui.resultButton.visible
    assert p.moving.GetParentTransformNode().GetName() == p.result.GetName()
    assert p.movingSegmentation.GetName() == "organs"
    if kind == "mrml":
        return  # this form of a scene has no room for segments
    moved = p.result.GetNodeReference("DeepRegistration.output.segmentation").GetSegmentation()
    assert [moved.GetNthSegment(k).GetName() for k in range(2)] == ["liver", "kidney"]
    assert moved.GetNthSegment(1).GetColor() == pytest.approx((0.1, 0.9, 0.3), abs=0.01)


def test_views_come_back(panel: Any, volumes: Any, scene: Any) -> None:
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(2)]
    for view, name in zip(views, ("Red", "Green"), strict=True):
        view.SetLayoutName(name)
        view.SetBackgroundVolumeID(volumes[1].GetID())
        view.SetForegroundOpacity(0.2)
    panel.choose(*volumes, shift=2.0)
    result = panel.run()
    assert views[0].GetBackgroundVolumeID() == volumes[1].GetID()
    panel.pick(panel.ui.viewBox, "Change of volume (Jacobian determinant)")
    jacobian = result.GetNodeReference("DeepRegistration.output.jacobian")
    assert views[1].GetForegroundVolumeID() == jacobian.GetID()
    panel.pick(panel.ui.viewBox, "Fixed and moved, one over the other")
    assert views[1].GetBackgroundVolumeID() == volumes[0].GetID()
    panel.pick(panel.ui.viewBox, "Leave the views as they are")
    for view in views:
        assert view.GetBackgroundVolumeID() == volumes[1].GetID()
        assert view.GetForegroundVolumeID() is None
        assert view.GetForegroundOpacity() == pytest.approx(0.2)


def test_reload_leaves_nothing_behind(panel: Any, volumes: Any, scene: Any, runner: Any) -> None:
    panel.choose(*volumes, steps=1000, pause=0.1)
    panel.apply()
    panel.reach("Taking steps")
    observers = sum(len(o) for o in [panel.widget.Observations]) if panel.widget.Observations else 0
    assert observers
    old = panel.widget
    slicer.util.reloadScriptedModule("DeepRegistration")
    assert old.Observations is None or len(old.Observations) == 0
    assert [w for w in runner._workers if w.alive] == []
    panel.open()
    assert panel.parameters.fixed is volumes[0]
    panel.set("steps", 2)
    panel.set("pause", 0.0)
    assert panel.run() is not None


def test_segments_are_moved_and_measured(panel: Any, volumes: Any, scene: Any) -> None:
    moving_segments, fixed_segments = (organs(scene, v) for v in (volumes[1], volumes[0]))
    panel.choose(*volumes, shift=4.0)
    panel.ui.movingSegmentationSelector.setCurrentNode(moving_segments)
    panel.ui.fixedSegmentationSelector.setCurrentNode(fixed_segments)
    result = panel.run()
    table = panel.ui.resultTable
    rows = {table.item(r, 0).text(): table.item(r, 1).text() for r in range(table.rowCount)}
    assert rows["Dice, liver"] == "1.000"
    made = result.GetNodeReference("DeepRegistration.output.segmentation")
    reference = result.GetNodeReference("DeepRegistration.output.moved")
    for name in ("liver", "kidney"):
        # onto the fixed volume: the moving one lies under the transform by now
        before = slicer.util.arrayFromSegmentBinaryLabelmap(moving_segments, name, volumes[0])
        after = slicer.util.arrayFromSegmentBinaryLabelmap(made, name, reference)
        # 4 mm along LPS x are two voxels of this grid
        np.testing.assert_array_equal(after[:, :, :-2], before[:, :, 2:])


def test_landmarks_of_one_side_are_refused(panel: Any, volumes: Any, scene: Any) -> None:
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "P")
    points.AddControlPoint([1.0, 2.0, 3.0])
    panel.choose(*volumes)
    panel.ui.fixedLandmarksSelector.setCurrentNode(points)
    assert not panel.ui.applyButton.enabled and "both volumes" in panel.ui.applyButton.toolTip
    panel.ui.movingLandmarksSelector.setCurrentNode(points)
    assert panel.ui.applyButton.enabled
    panel.run()
    rows = [panel.ui.resultTable.item(r, 0).text() for r in range(panel.ui.resultTable.rowCount)]
    assert any(row.startswith("Landmarks") for row in rows)


def test_the_module_tests_itself(slicer_host: Any, scene: Any, runner: Any, panel: Any) -> None:
    from DeepRegistrationLib.methods import registry

    if "ngf-affine" not in registry():
        pytest.skip("the method ngf-affine is not there")
    slicer.selfTests["DeepRegistration"](msec=1)
