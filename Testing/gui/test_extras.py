"""A user in front of a method that gives several answers, maps, a series and points, and takes settings by segment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer.util
import vtk

from DeepRegistrationLib.mrml.results import nodes_of_result


def organs(scene: Any, volume: Any, names: tuple[str, ...] = ("liver", "kidney")) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    values = slicer.util.arrayFromVolume(volume)
    for k, name in enumerate(names):
        key = node.GetSegmentation().AddEmptySegment(name, name)
        mask = (values > 250 * (k + 1)) & (values <= 250 * (k + 2))
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, key, volume)
    return node


@pytest.fixture(autouse=True)
def unpacking(scene: Any, tmp_path: Path) -> None:
    """Where Slicer unpacks .mrb files."""
    if scene.GetDataIOManager().GetCacheManager() is None:
        scene.GetDataIOManager().SetCacheManager(slicer.vtkCacheManager())
        scene.GetDataIOManager().GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))


def rows(table: Any) -> dict[str, str]:
    return {table.item(r, 0).text(): table.item(r, 2).text() for r in range(table.rowCount)}


def pick(panel: Any, number: int) -> None:
    panel.ui.candidatesTable.selectRow(number - 1)
    panel.host.process_events(0.02)


def test_candidates_are_stepped_through(panel: Any, volumes: Any, scene: Any) -> None:
    fixed, moving = volumes
    assert not panel.ui.candidatesFrame.visible
    panel.choose(fixed, moving, method="extras-for-tests")
    transform = panel.run()
    result = nodes_of_result(transform)
    table = panel.ui.candidatesTable
    assert panel.ui.candidatesFrame.visible and table.rowCount == 3
    heads = [table.horizontalHeaderItem(c).text() for c in range(table.columnCount)]
    assert heads == ["Candidate", "Similarity", "Overlap"]
    assert [table.item(r, 1).text() for r in range(3)] == ["1", "0.5", "0.3333"]
    assert "3 candidates" in panel.ui.candidatesLabel.text and "3 candidates" in panel.ui.messageLabel.text
    assert "Folding (%)" in rows(panel.ui.resultTable)
    best = slicer.util.arrayFromVolume(result.moved).copy()
    for number, shift in ((2, -6.0), (3, 10.0)):
        pick(panel, number)
        assert panel.parameters.result is transform and moving.GetParentTransformNode() is transform
        # LPS x is -R: the voxels are 2 mm
        expected = slicer.util.arrayFromVolume(moving)
        voxels = round(shift / 2)
        found = slicer.util.arrayFromVolume(result.moved)
        if voxels > 0:
            np.testing.assert_allclose(found[:, :, :-voxels], expected[:, :, voxels:], atol=0.5)
        else:
            np.testing.assert_allclose(found[:, :, -voxels:], expected[:, :, :voxels], atol=0.5)
        assert f"Candidate {number} of 3" in panel.ui.candidatesLabel.text
        for node in (result.maps["intensity_change"], result.series["images"]):
            assert node.GetName() in panel.ui.candidatesLabel.text.partition("belong to the best one")[2]
        told = rows(panel.ui.resultTable)  # nothing was measured of it
        assert "Folding (%)" not in told and "Distance between anatomies" not in told
        assert panel.ui.messageLabel.text == ""
    pick(panel, 1)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(result.moved), best, atol=0.01)
    assert "Folding (%)" in rows(panel.ui.resultTable) and "best one is shown" in panel.ui.candidatesLabel.text
    assert "belong" not in panel.ui.candidatesLabel.text
    assert panel.host.popups.opened == []


def test_a_candidate_that_cannot_be_shown_is_a_sentence(panel: Any, volumes: Any, scene: Any) -> None:
    segments = organs(scene, volumes[1])
    panel.choose(*volumes, method="extras-for-tests")
    panel.ui.movingSegmentationSelector.setCurrentNode(segments)
    panel.run()
    scene.RemoveNode(segments)
    pick(panel, 2)
    assert "segmentation of the moving volume was removed" in panel.ui.messageLabel.text
    assert panel.ui.candidatesTable.selectedItems()[0].row() == 0


def test_numbers_maps_and_series(panel: Any, volumes: Any, scene: Any) -> None:
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(2)]
    panel.choose(*volumes, method="extras-for-tests")
    result = nodes_of_result(panel.run())
    assert rows(panel.ui.resultTable)["Distance between anatomies"] == "12.5"
    titles = [panel.ui.viewBox.itemText(k) for k in range(panel.ui.viewBox.count)]
    assert titles[-1] == "Intensity change"
    panel.pick(panel.ui.viewBox, "Intensity change")
    change = result.maps["intensity_change"]
    assert [v.GetForegroundVolumeID() for v in views] == [change.GetID()] * 2
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(change)
    assert legend is not None and legend.GetVisibility()
    panel.pick(panel.ui.viewBox, "Leave the views as they are")
    assert [v.GetForegroundVolumeID() for v in views] == [None, None] and not legend.GetVisibility()
    assert result.series["images"].GetNumberOfItems() == 3
    assert "sequence browser" in panel.ui.messageLabel.text
    panel.choose(*volumes, method="shift-for-tests", shift=2.0)
    panel.run()
    assert not panel.ui.candidatesFrame.visible
    assert "Intensity change" not in [panel.ui.viewBox.itemText(k) for k in range(panel.ui.viewBox.count)]


def test_settings_of_segments_reach_the_method_and_are_saved(
    panel: Any, volumes: Any, scene: Any, tmp_path: Path
) -> None:
    panel.choose(*volumes, method="extras-for-tests")
    kernels = panel.panel.form.controls["kernels"]
    assert kernels.table.rowCount == 0
    panel.ui.fixedSegmentationSelector.setCurrentNode(organs(scene, volumes[0], ("liver", "kidney")))
    panel.ui.movingSegmentationSelector.setCurrentNode(organs(scene, volumes[1], ("kidney", "liver", "spleen")))
    names = [kernels.table.verticalHeaderItem(r).text() for r in range(kernels.table.rowCount)]
    assert names == ["liver", "kidney"]
    panel.pick(panel.ui.presetBox, "Abdomen (CT)")
    assert kernels.table.item(0, 0).text() == "60"
    kernels.table.item(1, 0).setText("10")
    coherence = panel.panel.form.controls["coherence"]
    coherence.table.item(1, 0).setText("0.5")
    assert json.loads(panel.parameters.values) == {
        "kernels": {"liver": {"bandwidth": 60.0}, "kidney": {"bandwidth": 10.0}},
        "coherence": {"kidney": {"liver": 0.5}},
    }
    result = nodes_of_result(panel.run())
    assert rows(panel.ui.resultTable)["Sum of bandwidths"] == "70"
    assert result.provenance["parameters"]["coherence"] == {"kidney": {"liver": 0.5}}
    path = str(tmp_path / "scene.mrb")
    values = panel.parameters.values
    assert slicer.util.saveScene(path)
    scene.Clear(0)
    slicer.util.loadScene(path)
    panel.host.process_events(0.1)
    panel.open()
    assert panel.parameters.values == values
    assert panel.panel.form.overrides() == json.loads(values)
    # segments that are not there any more are no mistake of the user
    panel.ui.fixedSegmentationSelector.setCurrentNode(None)
    panel.ui.movingSegmentationSelector.setCurrentNode(None)
    assert panel.run() is not None, panel.ui.messageLabel.text


def ball(scene: Any, name: str, centre: tuple[float, ...]) -> Any:
    source = vtk.vtkSphereSource()
    source.SetCenter(centre)
    source.SetRadius(6.0)
    source.Update()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(source.GetOutput())
    return node


def test_models_are_chosen_used_and_saved(panel: Any, volumes: Any, scene: Any, tmp_path: Path) -> None:
    bounds = [0.0] * 6
    volumes[0].GetRASBounds(bounds)
    centre = tuple((bounds[2 * k] + bounds[2 * k + 1]) / 2 for k in range(3))
    liver, kidney, other = (ball(scene, name, centre) for name in ("liver", "kidney", "liver"))
    panel.choose(*volumes, method="extras-for-tests")
    fixed, moving = panel.ui.fixedModelsSelector, panel.ui.movingModelsSelector
    assert fixed.enabled
    import qt

    for box, model in ((fixed, liver), (fixed, kidney), (moving, other)):
        box.setCheckState(model, qt.Qt.Checked)
    assert list(panel.parameters.fixedModels) == [liver, kidney]
    assert panel.panel.form.controls["kernels"].table.rowCount == 1  # the one on both sides
    result = nodes_of_result(panel.run())
    assert rows(panel.ui.resultTable)["Sum of bandwidths"] == "60"
    count = result.transform.GetNumberOfNodeReferences("DeepRegistration.fixed_surfaces")
    assert count == 2 and result.provenance["inputs"]["fixed_surfaces"] == "liver, kidney"
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    scene.Clear(0)
    slicer.util.loadScene(path)
    panel.host.process_events(0.1)
    panel.open()
    assert sorted(n.GetName() for n in panel.parameters.fixedModels) == ["kidney", "liver"]
    assert sorted(n.GetName() for n in panel.ui.fixedModelsSelector.checkedNodes()) == ["kidney", "liver"]
    assert [n.GetName() for n in panel.ui.movingModelsSelector.checkedNodes()] == ["liver"]
    panel.pick(panel.ui.methodBox, panel.title("shift-for-tests"))
    assert not panel.ui.fixedModelsSelector.enabled
    assert "does not use models" in panel.ui.fixedModelsSelector.toolTip


@pytest.mark.parametrize("in_process", [False, True])
def test_the_console_takes_settings_and_models_and_gives_everything(
    volumes: Any, scene: Any, runner: Any, in_process: bool
) -> None:
    import DeepRegistrationLib as dr
    from DeepRegistrationLib.core.errors import InputError

    bounds = [0.0] * 6
    volumes[0].GetRASBounds(bounds)
    centre = tuple((bounds[2 * k] + bounds[2 * k + 1]) / 2 for k in range(3))
    liver, kidney = ball(scene, "liver", centre), ball(scene, "kidney", centre)
    options: dict[str, Any] = {"method": "extras-for-tests", "in_process": in_process}
    result = dr.register(
        *volumes,
        fixed_surfaces=[liver, kidney],
        moving_surfaces=[liver],
        kernels={"liver": {"bandwidth": 12}},
        **options,
    )
    assert result.provenance["tables"]["sum of bandwidths"] == 42.0
    assert len(result.alternatives) == 3 and set(result.points) == {"fixed_correspondences", "moving_correspondences"}
    with pytest.raises(InputError, match="no segment 'livr'; did you mean 'liver'"):
        dr.register(*volumes, fixed_surfaces=liver, kernels={"livr": {"size": 1.5}}, **options)


def test_label_maps_are_searched_once_as_long_as_they_stay(
    volumes: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from DeepRegistrationLib.gui import start
    from DeepRegistrationLib.methods import registry
    from DeepRegistrationLib.mrml.inputs import InputNodes, names_in

    values = (slicer.util.arrayFromVolume(volumes[0]) > 500).astype(np.int16)
    maps = [
        slicer.util.addVolumeFromArray(values * k, nodeClassName="vtkMRMLLabelMapVolumeNode", name=f"L{k}")
        for k in (3, 3)
    ]
    looked: list[Any] = []
    monkeypatch.setattr(start, "names_in", lambda node: (looked.append(node), names_in(node))[1])
    names, spec = start.SegmentNames(), registry()["extras-for-tests"]
    nodes = InputNodes(*volumes, fixed_segmentation=maps[0], moving_segmentation=maps[1])
    first = names.of(nodes, spec)
    assert len(first) == 1
    for _ in range(3):
        assert names.of(nodes, spec) == first
    assert looked == maps
    slicer.util.updateVolumeFromArray(maps[1], values * 8)
    assert names_in(maps[1]) != list(first)
    assert names.of(nodes, spec) == () and len(looked) == 3
    assert names.of(nodes, SimpleNamespace(parameters=registry()["ngf-affine"].parameters)) == ()
    assert len(looked) == 3


def test_numbers_of_the_method_stand_before_and_after(slicer_host: Any) -> None:
    from DeepRegistrationLib.gui.numbers import result_rows

    tables = {
        "distance between anatomies": 12.3456,
        "score before": 0.25,
        "score after": 0.5,
        "surface distance before, liver (mm)": 9.0,
        "surface distance after, liver (mm)": None,
        "nothing": None,
        "left after all": 3.0,
    }
    assert result_rows({}, {"tables": tables}) == [
        ("Distance between anatomies", "", "12.35"),
        ("Score", "0.25", "0.5"),
        ("Surface distance, liver (mm)", "9", ""),
        ("Left after all", "", "3"),
    ]
    assert result_rows({}, {"tables": tables, "chosen_alternative": 2}) == []
