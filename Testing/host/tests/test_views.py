"""Pictures of the views show what is in the scene."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.display


@pytest.fixture
def views(slicer_host):
    import slicer

    manager = slicer.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.viewport().resize(640, 640)
    manager.viewport().show()
    slicer_host.process_events()
    return manager


def _ball():
    """A ball of radius 40 mm about the world's origin, bright on dark, in a cube of 120 mm."""
    import slicer

    x = np.arange(60) * 2.0 - 59
    inside = x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2 < 40.0**2
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -59
    return slicer.util.addVolumeFromArray(inside * 100.0 + 20, ijkToRAS=matrix, name="Ball")


def _picture(views, name="Red"):
    from host import screenshot

    return screenshot.view(views.sliceWidget(name)).astype(int)


def test_a_slice_shows_the_volume(views):
    import slicer

    ball = _ball()
    slicer.util.setSliceViewerLayers(background=ball, fit=True)
    for name in ("Red", "Yellow", "Green"):
        picture = _picture(views, name)
        height, width, _ = picture.shape
        assert picture[height // 2, width // 2].min() > 200
        assert picture[height // 2, 3].max() < 60
        # The ball fills 80 of the 120 mm of the volume's height.
        bright = (picture[:, width // 2, 0] > 150).sum()
        assert bright == pytest.approx(height * 80 / 120, abs=0.06 * height)


def test_the_offset_moves_the_slice(views):
    import slicer

    slicer.util.setSliceViewerLayers(background=_ball(), fit=True)
    logic = views.sliceWidget("Red").sliceLogic()
    logic.SetSliceOffset(0.0)
    middle = (_picture(views) > 150).sum()
    views.sliceWidget("Red").sliceController().setSliceOffsetValue(35.0)
    assert logic.GetSliceOffset() == 35.0
    assert (_picture(views) > 150).sum() < 0.4 * middle


def test_an_overlay_colours_the_slice(views):
    import slicer

    ball = _ball()
    overlay = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, ball, "Overlay")
    slicer.util.setSliceViewerLayers(background=ball, foreground=overlay, foregroundOpacity=0.0, fit=True)
    plain = _picture(views)
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRed")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 120)
    slicer.util.setSliceViewerLayers(foregroundOpacity=1.0)
    red = _picture(views)
    center = tuple(n // 2 for n in plain.shape[:2])
    assert np.ptp(plain[center]) == 0
    assert red[center][0] > 200 and red[center][1] < 30 and red[center][2] < 30


def test_a_segmentation_and_a_transform_are_drawn(views):
    import slicer
    import vtk

    ball = _ball()
    slicer.util.setSliceViewerLayers(background=ball, fit=True)
    before = _picture(views)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ball)
    segment = segmentation.GetSegmentation().AddEmptySegment("ball", "Ball", [0.0, 1.0, 0.0])
    inside = (slicer.util.arrayFromVolume(ball) > 50).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(inside, segmentation, segment, ball)
    after = _picture(views)
    assert ((after[..., 1] - after[..., 0] > 50).sum()) > 0.1 * before[..., 0].size

    segmentation.GetDisplayNode().SetVisibility(False)
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 30.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    ball.SetAndObserveTransformNodeID(transform.GetID())
    moved = _picture(views)
    # World right to left runs from left to right of the picture, so +R moves to its left.
    columns = np.arange(moved.shape[1])
    bright = [
        ((p[..., 0] > 150).sum(axis=0) * columns).sum() / (p[..., 0] > 150).sum() for p in (before, moved)
    ]
    assert bright[1] < bright[0] - 20


def test_the_three_d_view_shows_a_surface(views):
    import slicer
    import vtk

    from host import screenshot

    source = vtk.vtkSphereSource()
    source.SetRadius(50)
    source.Update()
    model = slicer.modules.models.logic().AddModel(source.GetOutput())
    model.GetDisplayNode().SetColor(1, 0, 0)
    slicer.util.resetThreeDViews()
    picture = screenshot.view(views.threeDWidget(0)).astype(int)
    center = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert center[0] > 150 and center[2] < 80


def test_layouts(views):
    import slicer

    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert views.sliceWidget("Red").visible and not views.sliceWidget("Green").visible
    with pytest.raises(NotImplementedError):
        views.setLayout(9999)


def test_layouts_with_a_plot_and_a_table(views):
    import slicer

    node = slicer.vtkMRMLLayoutNode
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    table.AddColumn().SetName("Dice")
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    views.setLayout(node.SlicerLayoutFourUpTableView)
    assert views.tableViewCount == 1 and views.tableWidget(0).visible and views.tableWidget(1) is None
    views.setLayout(node.SlicerLayoutFourUpPlotView)
    assert views.plotViewCount == 1 and views.plotWidget(0).visible and not views.tableWidget(0).visible
    shown = [n.GetLayoutName() for n in slicer.util.getNodesByClass("vtkMRMLAbstractViewNode") if n.IsMappedInLayout()]
    assert sorted(shown) == ["Green", "PlotView1", "Red", "Yellow"]
    logic = slicer.app.applicationLogic()
    logic.GetSelectionNode().SetActiveTableID(table.GetID())
    logic.GetSelectionNode().SetActivePlotChartID(chart.GetID())
    logic.PropagateTableSelection()
    logic.PropagatePlotChartSelection()
    assert views.tableWidget(0).tableView().mrmlTableNode() is table
    assert views.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()


def test_linked_views_scroll_together(views):
    import slicer

    slicer.util.setSliceViewerLayers(background=_ball(), fit=True)
    red, yellow = views.sliceWidget("Red"), views.sliceWidget("Yellow")
    yellow.mrmlSliceNode().SetOrientationToAxial()
    red.sliceController().setSliceOffsetValue(12.0)
    assert yellow.sliceLogic().GetSliceOffset() != 12.0
    red.sliceController().setSliceLink(True)
    red.sliceController().setSliceOffsetValue(20.0)
    assert yellow.sliceLogic().GetSliceOffset() == 20.0
    red.sliceController().setSliceLink(False)
    yellow.mrmlSliceNode().SetOrientationToSagittal()


def test_picture_of_the_window(slicer_host, loaded, tmp_path):
    import slicer
    from PySide6 import QtGui

    from host import screenshot

    slicer.util.setSliceViewerLayers(background=_ball(), fit=True)
    try:
        slicer_host.show(loaded)
        file = slicer_host.screenshot(tmp_path / "window.png", (1000, 700), panel_width=360)
        assert slicer.util.mainWindow().objectName == "qSlicerMainWindow"
        assert slicer.util.selectedModule() == "ExampleModule"
    finally:
        slicer_host.close_main_window()
    assert slicer.util.mainWindow() is None
    picture = screenshot.array(QtGui.QImage(str(file))).astype(int)
    assert picture.shape == (700, 1000, 3)
    panel, shown = picture[60:, :350], picture[60:, 380:]
    assert panel.mean() > 200 and panel.min() < 60  # a light panel with dark letters
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 50
