"""`dr.register(nodeA, nodeB)` and the module's logic without its panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer.util

import DeepRegistrationLib as dr
from DeepRegistrationLib.core.errors import InputError


def test_nodes_through_the_worker_and_in_process(volumes: Any, runner: Any, scene: Any) -> None:
    fixed, moving = volumes
    reports: list[Any] = []
    result = dr.register(
        fixed, moving, method="shift-for-tests", shift=4.0, in_process=False, progress=reports.append
    )
    assert moving.GetParentTransformNode() is result.transform
    assert reports and reports[-1].fraction <= 1.0
    assert result.provenance["method"] == "shift-for-tests" and result.metrics["deformation"]
    again = dr.register(fixed, moving, method="shift-for-tests", shift=4.0, in_process=True)
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(result.moved), slicer.util.arrayFromVolume(again.moved)
    )


def test_initial_transform_and_word(volumes: Any, runner: Any, scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
    matrix = np.eye(4)
    matrix[0, 3] = 4.0
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    result = dr.register(
        *volumes, method="shift-for-tests", initialisation="given", initial_transform=node, in_process=False
    )
    assert "A word to the user." in result.messages
    assert result.transform.GetNodeReference("DeepRegistration.initial_transform") is node


def test_failure_raises_and_leaves_the_scene(volumes: Any, runner: Any, scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="out of range"):
        dr.register(*volumes, method="shift-for-tests", shift=1000, in_process=False)
    with pytest.raises(InputError, match="give a node"):
        dr.register(volumes[0], "moving.nrrd", method="shift-for-tests")
    assert scene.GetNumberOfNodes() == before
    assert volumes[1].GetTransformNodeID() is None


def test_logic_without_panel(slicer_host: Any, panel: Any, volumes: Any) -> None:
    result = panel.widget.logic.register(*volumes, method="shift-for-tests", shift=2.0)
    assert result.moved.GetName() == "CT day 0 to CT day 1 (shift-for-tests) moved"


def test_panel_and_files_agree(panel: Any, volumes: Any, tmp_path: Path) -> None:
    """The panel's moved volume is, voxel by voxel, what the console makes of the same scans as files."""
    fixed, moving = volumes
    values = np.roll(slicer.util.arrayFromVolume(moving), 1, axis=2)
    slicer.util.updateVolumeFromArray(moving, values)
    paths = [str(tmp_path / f"{name}.nrrd") for name in ("fixed", "moving")]
    for node, path in zip(volumes, paths, strict=True):
        assert slicer.util.saveNode(node, path)
    panel.choose(fixed, moving, method="ngf-affine")
    panel.run()
    moved = panel.parameters.result.GetNodeReference("DeepRegistration.output.moved")
    console = dr.register(*paths, method="ngf-affine", in_process=True)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(moved), console.moved().data[0].numpy())
