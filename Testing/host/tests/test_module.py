"""A scripted module runs: panel, parameter node, saving and closing of the scene, errors."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_apply_is_enabled_once_a_volume_is_picked(panel, ramp):
    assert panel.ui.inputSelector.currentNode() is None
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "Choose an input volume"
    panel.ui.inputSelector.setCurrentNode(ramp)
    assert panel._parameterNode.inputVolume is ramp
    assert panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "Threshold the volume"


def test_apply_makes_a_volume(panel, ramp):
    import slicer

    panel.ui.inputSelector.setCurrentNode(ramp)
    panel.ui.thresholdSlider.value = 400
    panel.ui.applyButton.click()
    result = slicer.util.arrayFromVolume(slicer.util.getNode("Thresholded"))
    assert result.sum() == 600


def test_module_is_known_to_slicer(loaded):
    import slicer

    assert slicer.util.getModule("ExampleModule") is slicer.modules.examplemodule
    assert slicer.util.getModuleWidget("ExampleModule") is loaded.widget
    assert slicer.util.getModuleLogic("ExampleModule") is loaded.widget.logic
    assert slicer.modules.ExampleModuleWidget is loaded.widget
    assert slicer.modules.examplemodule.title == "Example module"
    assert slicer.modules.examplemodule.categories == ["Registration"]
    assert Path(slicer.modules.examplemodule.path).name == "ExampleModule.py"


def test_defaults_of_parameters(panel):
    parameters = panel._parameterNode
    assert (parameters.threshold, parameters.iterations, parameters.invert) == (100, 10, False)
    assert (parameters.preset, parameters.title, parameters.folder) == ("brain", "a title", Path())
    assert parameters.speed.name == "SLOW"
    assert list(parameters.notes) == [] and dict(parameters.table) == {}
    assert parameters.inputVolume is None and parameters.anyVolume is None


def test_panel_follows_parameters_and_parameters_follow_panel(panel):
    parameters, ui = panel._parameterNode, panel.ui
    parameters.iterations = 33
    parameters.preset = "lung"
    parameters.invert = True
    assert (ui.iterationsBox.value, ui.presetBox.currentText, ui.invertBox.checked) == (33, "lung", True)
    ui.speedBox.currentText = "fast"
    ui.titleEdit.text = "another"
    ui.folderEdit.currentPath = "/somewhere"
    assert parameters.speed.name == "FAST"
    assert (parameters.title, parameters.folder) == ("another", Path("/somewhere"))


def test_disconnected_panel_is_left_alone(loaded, panel):
    parameters = panel._parameterNode
    loaded.representation.exit()
    parameters.iterations = 44
    panel.ui.titleEdit.text = "unheard"
    assert panel.ui.iterationsBox.value == 10
    assert parameters.title == "a title"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("threshold", 501.0, ValueError),
        ("iterations", 2.5, TypeError),
        ("preset", "liver", ValueError),
        ("title", None, ValueError),
    ],
)
def test_wrong_values_are_refused(panel, name, value, error):
    before = panel._parameterNode.getValue(name)
    with pytest.raises(error):
        panel._parameterNode.setValue(name, value)
    assert panel._parameterNode.getValue(name) == before


def test_lists_and_tables_write_themselves_back(panel):
    parameters = panel._parameterNode
    parameters.notes = ["a", "b", "c"]
    parameters.notes.append("d")
    del parameters.notes[0]
    parameters.table["x"] = 5
    again = panel.logic.getParameterNode()
    assert list(again.notes) == ["b", "c", "d"]
    assert dict(again.table) == {"x": 5}


def test_saving_and_loading_the_scene_restores_the_panel(slicer_host, panel, ramp, tmp_path):
    import slicer

    panel.ui.inputSelector.setCurrentNode(ramp)
    panel._parameterNode.anyVolume = ramp
    panel._parameterNode.threshold = 123.5
    panel._parameterNode.notes = ["kept"]
    file = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(file)

    slicer.mrmlScene.Clear(0)
    assert panel.ui.inputSelector.currentNode() is None
    assert panel.ui.thresholdSlider.value == 100

    slicer.util.loadScene(file)
    assert panel._parameterNode.threshold == 123.5
    assert list(panel._parameterNode.notes) == ["kept"]
    assert panel.ui.thresholdSlider.value == 123.5
    assert panel.ui.inputSelector.currentNode().GetName() == "Ramp"
    assert panel._parameterNode.anyVolume.GetName() == "Ramp"
    assert slicer.util.arrayFromVolume(panel._parameterNode.inputVolume).max() == 999


def test_closing_the_scene_makes_a_new_parameter_node(panel, ramp):
    import slicer

    panel.ui.inputSelector.setCurrentNode(ramp)
    panel._parameterNode.title = "before"
    slicer.mrmlScene.Clear(0)
    assert panel._parameterNode.inputVolume is None
    assert panel._parameterNode.title == "a title"
    assert not panel.ui.applyButton.enabled


def test_an_error_is_shown_in_a_window_only_where_there_is_a_main_window(slicer_host, panel, ramp, caplog):
    panel.ui.inputSelector.setCurrentNode(ramp)
    panel._parameterNode.threshold = 500.0
    import slicer

    slicer.util.updateVolumeFromArray(ramp, slicer.util.arrayFromVolume(ramp) * 0)
    with pytest.raises(ValueError, match="No voxel of Ramp"), slicer.util.tryWithErrorDisplay("Failed."):
        panel.logic.process(ramp, 500.0)
    assert slicer_host.popups.opened == []
    assert "No voxel of Ramp" in caplog.text

    slicer_host.main_window()
    try:
        with pytest.raises(ValueError), slicer.util.tryWithErrorDisplay("Failed."):
            panel.logic.process(ramp, 500.0)
    finally:
        slicer_host.close_main_window()
    assert len(slicer_host.popups.opened) == 1
    assert "No voxel of Ramp" in slicer_host.popups.opened[0].text


def test_reload_builds_the_panel_anew(loaded, ramp):
    import slicer

    before = loaded.widget
    before._parameterNode.title = "kept"
    before.onReload()
    after = loaded.widget
    assert after is not before
    assert after.ui.titleEdit.text == "kept"
    assert slicer.modules.ExampleModuleWidget is after


def test_self_test_of_the_module_runs(loaded):
    import slicer

    slicer.selfTests["ExampleModule"]()
