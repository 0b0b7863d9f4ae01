"""Saved views come back exactly, whatever was done to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

SLICES = ("Red", "Yellow", "Green")


@pytest.fixture
def views(scene: Any, slicer_host: Any) -> Iterator[Any]:
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(640, 560)
    manager.viewport().show()
    slicer_host.process_events()
    _draw()
    yield manager
    for name in SLICES:
        composite = manager.sliceWidget(name).mrmlSliceCompositeNode()
        composite.SetLinkedControl(False)
        composite.SetHotLinkedControl(False)
        composite.SetCompositing(composite.Alpha)
        manager.sliceWidget(name).mrmlSliceNode().SetOrientationToDefault()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer_host.process_events()


@pytest.fixture
def volumes(make_volume: Any) -> list[Any]:
    array = np.arange(30 * 40 * 50, dtype=np.float32).reshape(30, 40, 50)
    return [make_volume(array, np.diag([2.0, 2.0, 2.0, 1.0]), name) for name in "abcd"]


def _draw() -> None:
    import slicer

    from host import screenshot

    manager = slicer.app.layoutManager()
    for name in SLICES:
        if manager.sliceWidget(name).visible:
            screenshot.view(manager.sliceWidget(name))


def state(scene: Any) -> dict[str, Any]:
    """Everything that the views are made of, read without the library."""
    import slicer

    def number(node: Any, *names: str) -> dict[str, Any]:
        return {name: getattr(node, f"Get{name}")() for name in names}

    out: dict[str, Any] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        out[node.GetID()] = {
            **number(node, "BackgroundVolumeID", "ForegroundVolumeID", "LabelVolumeID", "ForegroundOpacity"),
            **number(node, "LabelOpacity", "Compositing", "ClipToBackgroundVolume", "LinkedControl"),
            **number(node, "HotLinkedControl"),
        }
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        out[node.GetID()] = {
            **number(node, "Orientation", "SliceOffset", "XYZOrigin", "SliceVisible", "ViewGroup"),
            "matrix": slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()).tolist(),
            "field": [round(f, 9) for f in node.GetFieldOfView()],
            "xy": np.round(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()), 9).tolist(),
            "size": node.GetDimensions(),
        }
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeDisplayNode"):
        out[node.GetID()] = number(
            node, "Window", "Level", "AutoWindowLevel", "ColorNodeID", "ApplyThreshold", "LowerThreshold"
        ) | number(node, "UpperThreshold", "Interpolate", "Visibility")
    for kind in ("vtkMRMLColorLegendDisplayNode", "vtkMRMLTransformDisplayNode"):
        for node in slicer.util.getNodesByClass(kind):
            out[node.GetID()] = number(node, "Visibility", "Visibility2D")
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    out["layout"] = layout.GetViewArrangement(), layout.GetNumberOfMaximizedViewNodes()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    out["chosen"] = number(selection, "ActiveTableID", "ActivePlotChartID")
    for kind, name in (("vtkMRMLTableViewNode", "TableNodeID"), ("vtkMRMLPlotViewNode", "PlotChartNodeID")):
        for node in slicer.util.getNodesByClass(kind):
            out[node.GetID()] = number(node, name)
    return out


def arrange(scene: Any, volumes: list[Any]) -> dict[str, Any]:
    """Views unlike the ones a scene starts with."""
    import slicer

    slicer.util.setSliceViewerLayers(
        background=volumes[0], foreground=volumes[1], foregroundOpacity=0.3, labelOpacity=0.7, fit=True
    )
    manager = slicer.app.layoutManager()
    red, yellow, green = (manager.sliceWidget(name) for name in SLICES)
    green.mrmlSliceCompositeNode().SetBackgroundVolumeID(volumes[2].GetID())
    yellow.mrmlSliceCompositeNode().SetForegroundVolumeID(None)
    red.mrmlSliceCompositeNode().SetCompositing(2)
    red.mrmlSliceCompositeNode().SetLinkedControl(True)
    green.mrmlSliceNode().SetSliceToRASByNTP(0.1, 0.3, 1.0, 1.0, 0.1, 0.0, 5.0, 6.0, 7.0, 0)
    yellow.sliceLogic().SetSliceOffset(33.25)
    field = red.mrmlSliceNode().GetFieldOfView()
    red.mrmlSliceNode().SetFieldOfView(field[0] / 3, field[1] / 3, field[2])
    red.mrmlSliceNode().SetXYZOrigin(7.0, -3.0, 0.0)
    display = volumes[0].GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1234.0, 567.0)
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volumes[1])
    legend.SetVisibility(True)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shown")
    transform.CreateDefaultDisplayNodes()
    transform.GetDisplayNode().SetVisibility(True)
    hidden = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "without display")
    tables = [scene.AddNewNodeByClass("vtkMRMLTableNode") for _ in range(2)]
    charts = [scene.AddNewNodeByClass("vtkMRMLPlotChartNode") for _ in range(2)]
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveTableID(tables[0].GetID())
    selection.SetActivePlotChartID(charts[0].GetID())
    slicer.app.applicationLogic().PropagateTableSelection()
    slicer.app.applicationLogic().PropagatePlotChartSelection()
    _draw()
    return {"transform": transform, "hidden": hidden, "tables": tables, "charts": charts, "legend": legend}


def disturb(scene: Any, volumes: list[Any], made: dict[str, Any]) -> None:
    """Change everything."""
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
    slicer.app.processEvents()
    _draw()
    slicer.util.setSliceViewerLayers(background=volumes[3], foreground=volumes[2], label=None, foregroundOpacity=1.0)
    for name in SLICES:
        widget = manager.sliceWidget(name)
        composite = widget.mrmlSliceCompositeNode()
        composite.SetCompositing(3)
        composite.SetClipToBackgroundVolume(False)
        composite.SetLinkedControl(name != "Red")
        composite.SetHotLinkedControl(True)
        composite.SetLabelOpacity(0.1)
        node = widget.mrmlSliceNode()
        node.SetOrientationToCoronal()
        widget.sliceLogic().FitSliceToBackground()
        widget.sliceLogic().SetSliceOffset(1.0)
        node.SetSliceVisible(True)
        node.SetViewGroup(4)
    display = volumes[0].GetDisplayNode()
    display.SetWindowLevel(1.0, 2.0)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRed")
    display.SetInterpolate(False)
    display.SetThreshold(3.0, 4.0)
    display.SetApplyThreshold(True)
    volumes[3].GetDisplayNode().SetAutoWindowLevel(False)
    volumes[3].GetDisplayNode().SetWindowLevel(9.0, 8.0)
    made["legend"].SetVisibility(False)
    slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volumes[3]).SetVisibility(True)
    made["transform"].GetDisplayNode().SetVisibility(False)
    made["hidden"].CreateDefaultDisplayNodes()
    made["hidden"].GetDisplayNode().SetVisibility(True)
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveTableID(made["tables"][1].GetID())
    selection.SetActivePlotChartID(made["charts"][1].GetID())
    slicer.app.applicationLogic().PropagateTableSelection()
    slicer.app.applicationLogic().PropagatePlotChartSelection()
    _draw()


@pytest.mark.display
def test_everything_comes_back(views: Any, scene: Any, volumes: list[Any], slicer_host: Any) -> None:
    import slicer

    from DeepRegistrationLib.mrml.views import SavedViews

    made = arrange(scene, volumes)
    before = state(scene)
    saved = SavedViews(scene)
    disturb(scene, volumes, made)
    during = state(scene)
    changed = {key for key in before if before[key] != during[key]}
    assert changed >= {"layout", "chosen", *(k for k in before if k.startswith("vtkMRMLSlice"))}
    assert {volumes[0].GetDisplayNodeID(), volumes[3].GetDisplayNodeID(), made["legend"].GetID()} <= changed
    saved.restore()
    slicer_host.process_events()
    _draw()
    after = state(scene)
    new = {key: after[key] for key in after if key not in before}
    assert {key: after[key] for key in before} == before
    # what came meanwhile is hidden: a legend and the display of a transform
    assert new and all(not value.get("Visibility") for value in new.values() if "Visibility" in value)
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volumes[3]).GetVisibility() == 0
    saved.restore()  # harmless
    slicer_host.process_events()
    _draw()
    assert {key: state(scene)[key] for key in before} == before


@pytest.mark.display
def test_views_of_another_size_keep_square_pixels(
    views: Any, scene: Any, volumes: list[Any], slicer_host: Any
) -> None:
    from DeepRegistrationLib.mrml.views import SavedViews

    arrange(scene, volumes)
    node = views.sliceWidget("Red").mrmlSliceNode()
    height = node.GetFieldOfView()[1]
    saved = SavedViews(scene)
    views.viewport().resize(900, 500)
    slicer_host.process_events()
    _draw()
    node.SetFieldOfView(1.0, 2.0, 1.0)
    saved.restore()
    field, size = node.GetFieldOfView(), node.GetDimensions()
    assert field[1] == pytest.approx(height)
    assert field[0] / size[0] == pytest.approx(field[1] / size[1])


@pytest.mark.display
def test_what_has_gone_is_passed_over(views: Any, scene: Any, volumes: list[Any], slicer_host: Any) -> None:
    from DeepRegistrationLib.mrml.views import SavedViews

    made = arrange(scene, volumes)
    saved = SavedViews(scene)
    gone = volumes[1].GetID()
    disturb(scene, volumes, made)
    scene.RemoveNode(volumes[1])
    scene.RemoveNode(made["transform"])
    scene.RemoveNode(made["tables"][0])
    saved.restore()
    red = views.sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == volumes[0].GetID()
    assert red.GetForegroundVolumeID() is None and scene.GetNodeByID(gone) is None


@pytest.mark.display
def test_a_stranger_with_the_same_id_is_not_shown(views: Any, scene: Any, make_volume: Any) -> None:
    import slicer

    from DeepRegistrationLib.mrml.views import SavedViews

    array = np.zeros((4, 5, 6))
    old = make_volume(array, np.eye(4), "old")
    slicer.util.setSliceViewerLayers(background=old)
    saved, key = SavedViews(scene), old.GetID()
    scene.Clear(0)
    assert make_volume(array, np.eye(4), "new").GetID() == key
    saved.restore()
    assert views.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() is None


@pytest.mark.display
def test_views_that_have_gone_are_passed_over(views: Any, scene: Any, volumes: list[Any]) -> None:
    import slicer

    from DeepRegistrationLib.mrml.views import SavedViews

    extra = slicer.vtkMRMLSliceCompositeNode()
    extra.SetLayoutName("Extra")
    scene.AddNode(extra)
    plane = slicer.vtkMRMLSliceNode()
    plane.SetLayoutName("Extra")
    scene.AddNode(plane)
    slicer.util.setSliceViewerLayers(background=volumes[0])
    saved = SavedViews(scene)
    slicer.util.setSliceViewerLayers(background=volumes[1])
    scene.RemoveNode(extra)
    scene.RemoveNode(plane)
    saved.restore()
    assert views.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() == volumes[0].GetID()


@pytest.mark.display
def test_only_touched_displays_are_put_back(views: Any, scene: Any, volumes: list[Any]) -> None:
    from DeepRegistrationLib.mrml.views import SavedViews

    for node in volumes[:2]:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(10.0, 5.0)
    saved = SavedViews(scene, touched=(volumes[0],))
    for node in volumes[:2]:
        node.GetDisplayNode().SetWindowLevel(20.0, 7.0)
    saved.restore()
    assert [n.GetDisplayNode().GetWindow() for n in volumes[:2]] == [10.0, 20.0]


@pytest.mark.display
def test_an_automatic_window_is_automatic_again(views: Any, scene: Any, volumes: list[Any]) -> None:
    from DeepRegistrationLib.mrml.views import SavedViews

    display = volumes[0].GetDisplayNode()
    display.SetAutoWindowLevel(True)
    before = display.GetWindow(), display.GetLevel()
    saved = SavedViews(scene)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1.0, 1.0)
    saved.restore()
    assert display.GetAutoWindowLevel() and (display.GetWindow(), display.GetLevel()) == pytest.approx(before)


@pytest.mark.display
def test_nothing_is_kept_alive(views: Any, scene: Any, make_volume: Any) -> None:
    import slicer
    import vtk

    from DeepRegistrationLib.mrml.views import SavedViews

    volume = make_volume(np.zeros((4, 5, 6)), np.eye(4), "short-lived")
    slicer.util.setSliceViewerLayers(background=volume)
    reference = vtk.vtkWeakReference()
    reference.Set(volume)
    saved = SavedViews(scene)
    scene.RemoveNode(volume)
    del volume
    assert reference.Get() is None
    saved.restore()


@pytest.mark.display
def test_a_maximised_view_comes_back(views: Any, scene: Any, volumes: list[Any]) -> None:
    from DeepRegistrationLib.mrml.views import SavedViews

    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    red = views.sliceWidget("Red").mrmlSliceNode()
    layout.AddMaximizedViewNode(red)
    saved = SavedViews(scene)
    layout.RemoveAllMaximizedViewNodes()
    saved.restore()
    assert layout.IsMaximizedViewNode(red) and layout.GetNumberOfMaximizedViewNodes() == 1
    layout.RemoveAllMaximizedViewNodes()
    saved = SavedViews(scene)
    layout.AddMaximizedViewNode(red)
    saved.restore()
    assert layout.GetNumberOfMaximizedViewNodes() == 0
