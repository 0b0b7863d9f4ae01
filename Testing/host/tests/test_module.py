"""A scripted module runs: panel, node pickers, parameter node, saving and closing of the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import host

EXAMPLE = Path(__file__).parent / "ExampleModule" / "ExampleModule.py"


@pytest.fixture
def panel():
    slicer_host = host.start()
    slicer_host.clear()
    loaded = slicer_host.load_module(EXAMPLE)
    loaded.representation.enter()
    yield loaded.widget
    loaded.representation.exit()
    slicer_host.clear()


@pytest.fixture
def volume(panel):
    import slicer

    return slicer.util.addVolumeFromArray(np.arange(1000.0).reshape(10, 10, 10), name="Ramp")


def test_apply_is_enabled_once_a_volume_is_picked(panel, volume):
    assert panel.ui.inputSelector.currentNode() is None
    assert not panel.ui.applyButton.enabled
    panel.ui.inputSelector.setCurrentNode(volume)
    assert panel._parameterNode.inputVolume is volume
    assert panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "Threshold the volume"


def test_apply_makes_a_volume(panel, volume):
    import slicer

    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.thresholdSlider.value = 400
    panel.ui.applyButton.click()
    result = slicer.util.arrayFromVolume(slicer.util.getNode("Thresholded"))
    assert result.sum() == 600
