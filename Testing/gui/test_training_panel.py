"""A user in front of the training panel: cases, train, stop, continue, save, look, lose the process, load the scene."""

from __future__ import annotations

import importlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util

from DeepRegistrationLib.mrml.validation_pictures import picture_nodes
from gui.conftest import blobs
from gui.helpers.user import User

HERE = Path(__file__).parent
#: s until a training has surely ended
PATIENCE = 240.0
MODULES = HERE.parents[1] / "DeepRegistration"


class Training(User):
    """A user in front of the module."""

    def setting(self, name: str, value: Any) -> None:
        widget = self.panel.setup.form.controls[name].widget
        if isinstance(value, bool):
            widget.setChecked(value)
        else:
            self.pick(widget, value) if isinstance(value, str) else widget.setValue(value)

    def start(self, steps: int = 30, **settings: Any) -> None:
        self.ui.stepsBox.setValue(steps)
        for name, value in settings.items():
            self.setting(name, value)
        assert self.ui.trainButton.enabled, self.ui.trainButton.toolTip
        self.ui.trainButton.click()

    def wait(self) -> None:
        self.host.wait_until(lambda: not self.panel.running, PATIENCE)

    def until(self, condition: Callable[[], bool]) -> None:
        self.host.wait_until(lambda: condition() or not self.panel.running, PATIENCE)
        assert condition(), self.ui.messageLabel.text

    @property
    def measured(self) -> list[dict[str, float]]:
        return self.panel.course.curve.measured()

    def series(self) -> list[str]:
        chart = self.panel.course.curve.chart
        return [chart.GetNthPlotSeriesNode(k).GetName() for k in range(chart.GetNumberOfPlotSeriesNodes())]

    def role(self, row: int, title: str) -> None:
        self.pick(self.ui.casesTable.cellWidget(row, 2), title)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's models and trainings lie."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DEEPREGISTRATION_MODELS", raising=False)
    return tmp_path / "home" / "DeepRegistration"


@pytest.fixture(autouse=True, scope="module")
def extra_recipes() -> Iterator[None]:
    """The recipe of `helpers/recipes` alone, so that tests do not depend on which others there are."""
    recipes = importlib.import_module("DeepRegistrationLib.training.recipes")
    before = list(recipes.__path__)
    recipes.__path__[:] = [str(HERE / "helpers" / "recipes")]
    recipes.recipes.cache_clear()
    yield
    recipes.__path__[:] = before
    recipes.recipes.cache_clear()


@pytest.fixture
def training(slicer_host: Any, scene: Any, runner: Any) -> Iterator[Training]:
    loaded = slicer_host.load_module(MODULES / "DeepRegistrationTraining.py")
    user = Training(slicer_host, loaded)
    user.open()
    yield user
    user.panel.abandon()
    slicer_host.wait_until(lambda: all(w.job is None for w in runner._workers if w.alive), PATIENCE)


def patient(scene: Any, number: int, segmented: bool = True) -> Any:
    """A volume with a segmentation drawn on it."""
    matrix = np.diag([-2.0, -2.0, 2.0, 1.0])
    volume = slicer.util.addVolumeFromArray(blobs(number), matrix, f"Mrs Smith {number}")
    if segmented:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"organs {number}")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        key = node.GetSegmentation().AddEmptySegment("liver", "liver")
        mask = (slicer.util.arrayFromVolume(volume) > 500).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, key, volume)
    return volume


@pytest.fixture
def patients(scene: Any) -> list[Any]:
    return [patient(scene, k) for k in (1, 2, 3)]


def test_three_cases_are_ready_at_once(training: Training, scene: Any) -> None:
    ui = training.ui
    assert "made-up" in ui.casesLabel.text and ui.trainButton.enabled
    volumes = [patient(scene, 1)]
    assert not ui.trainButton.enabled and "at least two" in ui.trainButton.toolTip
    volumes += [patient(scene, k) for k in (2, 3)]
    assert ui.trainButton.enabled
    table = ui.casesTable
    assert [table.item(r, 0).text() for r in range(table.rowCount)] == [v.GetName() for v in volumes]
    assert [table.cellWidget(r, 1).currentText for r in range(3)] == ["organs 1", "organs 2", "organs 3"]
    assert [table.cellWidget(r, 2).currentText for r in range(3)] == ["Learn from"] * 3
    scene.RemoveNode(volumes[1])
    assert table.rowCount == 2
    training.role(0, "Leave out")
    assert not ui.trainButton.enabled
    assert [row.role for row in training.panel.setup.rows] == ["leave out", "train"]


def test_training_from_begin_to_model(training: Training, patients: list[Any], scene: Any, home: Path) -> None:
    ui = training.ui
    assert not ui.saveButton.enabled and "train first" in ui.saveButton.toolTip
    assert not ui.continueButton.enabled and not ui.overlayBox.enabled and not ui.curveButton.enabled
    training.role(2, "Validate on")
    training.start(40, pause=0.02)
    assert ui.trainButton.text == "Stop" and ui.progressBar.visible and not ui.startBox.enabled
    assert "Stop the training" in ui.recipeBox.toolTip
    training.until(lambda: len(training.measured) > 2)
    assert ui.statusLabel.text.startswith("Training, ") and ui.progressBar.value > 0
    training.wait()
    assert ui.messageLabel.text.startswith("Finished") and training.host.popups.opened == []
    assert sorted(training.series()) == ["Validation score", "image", "smoothness"]
    losses = slicer.util.arrayFromTableColumn(training.panel.course.curve.losses, "Step")
    assert losses[-1] == 40 and (np.diff(losses) > 0).all()
    assert [row["Step"] for row in training.measured] == list(range(0, 41, 4))
    view = scene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode() is training.panel.course.curve.chart
    assert ui.numbersTable.item(1, 0).text() == "Squared error"
    # the example
    training.pick(ui.overlayBox, "Fixed and moved, one over the other")
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    layers = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    assert [scene.GetNodeByID(i).GetName() for i in layers] == ["Validation fixed", "Validation moved"]
    assert ui.casesTable.rowCount == 3, "the example is no case"
    ui.restoreButton.click()
    assert composite.GetForegroundVolumeID() is None and not ui.restoreButton.enabled
    # what the worker was given
    folder = training.panel.folder
    order = folder.order()
    assert [c.role for c in order.cases] == ["train", "train", "validate"]
    assert "Smith" not in json.dumps([c.name for c in order.cases]), "names of patients stay in the scene"
    # the model
    ui.titleEdit.setText("Our livers")
    assert ui.idEdit.placeholderText == "our-livers" and str(home / "Models" / "our-livers") in ui.saveButton.toolTip
    ui.saveButton.click()
    training.wait()
    assert "Our livers" in ui.messageLabel.text, ui.messageLabel.text
    card = json.loads((home / "Models" / "our-livers" / "card.json").read_text(encoding="utf-8"))
    assert (card["id"], card["title"], card["settings"]["segments"]) == ("our-livers", "Our livers", ["liver"])
    assert card["training"]["steps"] == 40 and "Smith" not in json.dumps(card)
    assert training.host.popups.opened == []


def test_slices_of_a_validation_are_shown(training: Training, patients: list[Any], scene: Any) -> None:
    from host import screenshot

    ui = training.ui
    training.start(4, slices=True)
    training.wait()
    training.pick(ui.overlayBox, "Fixed and moved in squares")
    moved = picture_nodes(scene)["moved"]
    assert moved.GetImageData().GetDimensions() == (12, 12, 1) and not ui.courseLabel.visible
    seen = screenshot.view(slicer.app.layoutManager().sliceWidget("Red"))
    assert len(np.unique(seen)) > 50, "noise in the view"
    ui.restoreButton.click()


def test_saved_model_is_a_method_and_a_start(
    training: Training, patients: list[Any], slicer_host: Any, home: Path
) -> None:
    align = User(slicer_host, slicer_host.load_module(MODULES / "DeepRegistration.py"))
    align.open()
    titles = lambda: [align.ui.methodBox.itemText(k) for k in range(align.ui.methodBox.count)]  # noqa: E731
    assert "Our own" not in titles()
    training.start(12, channels=3)
    training.wait()
    training.ui.titleEdit.setText("Our own")
    training.ui.saveButton.click()
    training.wait()
    align.widget.parent.enter()
    assert "Our own" in titles()
    # fine-tuning: choosing the model is enough
    ui = training.ui
    training.pick(ui.recipeBox, "Tiny (tests)")
    ui.stepsBox.setValue(7)
    training.pick(ui.startBox, "Our own")
    assert ui.stepsBox.value == 60 and ui.titleEdit.placeholderText == "Our own (fine-tuned)"
    assert training.panel.setup.form.values()["channels"] == 3, "the settings of the model"
    training.start(6)
    training.wait()
    assert ui.messageLabel.text.startswith("Finished"), ui.messageLabel.text
    ui.saveButton.click()
    training.wait()
    cards = [json.loads(p.read_text(encoding="utf-8")) for p in (home / "Models").glob("*/card.json")]
    tuned = next(c for c in cards if c["id"] == "our-own-fine-tuned")
    assert tuned["training"]["start"]["id"] == "our-own" and tuned["settings"]["network"]["channels"] == 3
    ui.idEdit.setText("our-own")
    assert not ui.saveButton.enabled and "already" in ui.saveButton.toolTip
    ui.idEdit.setText("Our own!")
    assert not ui.saveButton.enabled and "our-own" in ui.saveButton.toolTip


def test_stop_and_continue(training: Training, patients: list[Any]) -> None:
    ui = training.ui
    training.start(40, pause=0.05)
    training.until(lambda: len(training.measured) > 1)
    ui.trainButton.click()
    assert not ui.trainButton.enabled and "written down" in ui.trainButton.toolTip
    training.wait()
    assert ui.messageLabel.text.startswith("Stopped after"), ui.messageLabel.text
    standing = training.panel.folder.standing()
    assert 4 <= standing.step < 40 and standing.can_continue
    assert ui.continueButton.enabled and f"step {standing.step} " in ui.continueButton.toolTip
    assert ui.saveButton.enabled
    ui.stepsBox.setValue(3)  # of the next new one
    ui.continueButton.click()
    training.wait()
    assert ui.messageLabel.text.startswith("Finished"), ui.messageLabel.text
    steps = slicer.util.arrayFromTableColumn(training.panel.course.curve.losses, "Step")
    assert steps[-1] == 40 and (np.diff(steps) > 0).all()
    assert [row["Step"] for row in training.measured] == list(range(0, 41, 4))
    assert not ui.continueButton.enabled and "more steps" in ui.continueButton.toolTip
    ui.stepsBox.setValue(48)
    assert ui.continueButton.enabled
    ui.continueButton.click()
    training.wait()
    assert training.panel.folder.standing().step == 48


def test_process_that_dies_loses_nothing(
    training: Training, patients: list[Any], runner: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui = training.ui
    training.start(40, pause=0.05)
    training.until(lambda: len(training.measured) > 1)
    ui.trainButton.click()
    training.wait()
    before = training.panel.folder.standing()
    ui.continueButton.click()
    training.until(lambda: "step" in ui.statusLabel.text)
    busy = [w for w in runner._workers if w.job is not None]
    os.kill(busy[0]._process.pid, signal.SIGKILL)
    training.wait()
    assert "ended from outside" in ui.messageLabel.text and "Continue" in ui.messageLabel.text
    assert ui.showLogButton.visible and training.panel.folder.standing() == before
    # a new scene, as after a crash of the application: the training is in the list
    scene.Clear(0)
    training.open()
    assert training.panel.folder is None and not ui.continueButton.enabled
    named = next(t for t in (ui.trainingsBox.itemText(k) for k in range(ui.trainingsBox.count)) if "/40: " in t)
    training.pick(ui.trainingsBox, named)
    assert ui.continueButton.enabled and len(training.measured) > 1
    ui.continueButton.click()
    training.wait()
    assert ui.messageLabel.text.startswith("Finished"), ui.messageLabel.text


def test_bad_ends_are_sentences(training: Training, patients: list[Any], scene: Any) -> None:
    ui = training.ui
    training.start(10, end="Bad input")
    training.wait()
    assert ui.messageLabel.text == "The cases are of no use; choose others."
    assert not ui.continueButton.enabled
    training.start(10, end="Killed")
    training.wait()
    assert "ended from outside" in ui.messageLabel.text and training.host.popups.opened == []
    patient(scene, 4, segmented=False)
    other = scene.GetFirstNodeByName("organs 1")
    other.GetSegmentation().GetSegment("liver").SetName("heart")
    training.start(10, end="Well")
    training.wait()
    assert "no segment name in common" in ui.messageLabel.text


def test_a_training_can_be_deleted(
    training: Training, patients: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, answers = training.ui, [False, True]
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: answers.pop(0))
    assert not ui.deleteButton.enabled and "Choose" in ui.deleteButton.toolTip
    training.start(4)
    training.wait()
    folder = training.panel.folder.path
    assert list((folder / "cases").glob("*.nrrd"))
    ui.deleteButton.click()
    assert folder.exists()
    ui.deleteButton.click()
    assert not folder.exists() and not ui.deleteButton.enabled and not ui.saveButton.enabled
    assert ui.trainingsBox.currentText == "A new one"


def test_stop_before_anything_was_learned(training: Training, patients: list[Any], home: Path) -> None:
    training.start(40)
    training.ui.trainButton.click()
    training.wait()
    assert "before anything" in training.ui.messageLabel.text
    assert list((home / "Trainings").glob("*")) == [] and training.ui.trainButton.enabled


def test_scene_keeps_the_setup(training: Training, patients: list[Any], scene: Any, tmp_path: Path) -> None:
    training.role(0, "Validate on")
    training.pick(training.ui.casesTable.cellWidget(1, 1), "(none)")
    training.start(8, channels=3)
    training.wait()
    training.ui.titleEdit.setText("Mine")
    if scene.GetDataIOManager().GetCacheManager() is None:  # where Slicer unpacks .mrb files
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    scene.Clear(0)
    training.open()
    assert training.ui.casesTable.rowCount == 0
    slicer.util.loadScene(path)
    training.open()
    ui = training.ui
    rows = training.panel.setup.rows
    assert [row.role for row in rows] == ["validate", "train", "train"]
    names = [row.segmentation.GetName() if row.segmentation else None for row in rows]
    assert names == ["organs 1", None, "organs 3"]
    assert ui.titleEdit.text == "Mine" and ui.stepsBox.value == 8
    assert training.panel.setup.form.values()["channels"] == 3
    assert len(training.measured) == 9 and ui.saveButton.enabled
    ui.curveButton.click()
    view = scene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode() is training.panel.course.curve.chart


def test_cases_of_a_folder(training: Training, tmp_path: Path) -> None:
    import SimpleITK as sitk

    for k in (1, 2, 3):
        case = tmp_path / "cases" / f"pt_{k}"
        case.mkdir(parents=True)
        image = sitk.GetImageFromArray(blobs(k))
        sitk.WriteImage(image, str(case / "ct.nii.gz"))
        sitk.WriteImage(sitk.Cast(image > 500, sitk.sitkUInt8), str(case / "labels.nii.gz"))
    ui = training.ui
    assert not ui.forgetFilesButton.visible
    training.host.popups.answer_next(str(tmp_path / "nothing"), str(tmp_path / "cases"))
    ui.addFolderButton.click()
    assert ui.messageLabel.text.endswith(".") and "nothing" in ui.messageLabel.text
    ui.addFolderButton.click()
    assert ui.casesTable.rowCount == 3 and ui.forgetFilesButton.visible and not ui.messageFrame.visible
    assert ui.casesTable.item(0, 0).text() == "pt_1/ct.nii.gz"
    training.role(0, "Learn from")
    training.role(1, "Learn from")
    training.start(4)
    training.wait()
    assert ui.messageLabel.text.startswith("Finished"), ui.messageLabel.text
    ui.forgetFilesButton.click()
    assert ui.casesTable.rowCount == 0


def test_leaving_puts_the_views_back_and_trains_on(training: Training, patients: list[Any], scene: Any) -> None:
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    before = layout.GetViewArrangement()
    training.start(40, pause=0.05)
    training.until(lambda: len(training.measured) > 1)
    assert layout.GetViewArrangement() != before
    training.widget.parent.exit()
    assert layout.GetViewArrangement() == before and training.panel.running
    training.widget.parent.enter()
    assert layout.GetViewArrangement() != before
    folder = training.panel.folder
    scene.Clear(0)
    assert not training.panel.running
    training.host.wait_until(lambda: folder.standing().began, PATIENCE)


def test_the_training_module_tests_itself(slicer_host: Any, scene: Any, runner: Any, training: Training) -> None:
    slicer.selfTests["DeepRegistrationTraining"](msec=1)
