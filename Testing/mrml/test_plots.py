"""Charts draw the measured numbers, and Slicer's own way brings them into the views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from DeepRegistrationLib.mrml import plots, tables

NAMES = ("liver", "left kidney", "spleen")
P = (5, 25, 50, 75, 95)
BOXES = {
    "liver": (0.4, 0.8, 0.95, 1.1, 1.5),
    "left kidney": (0.7, 0.9, 1.0, 1.1, 1.2),
    "spleen": (-0.2, 0.3, 0.6, 1.2, 2.1),
}
DICE = {"liver": (0.4, 0.9), "left kidney": (0.5, 0.6), "spleen": (None, 0.8)}
SEGMENTS = {
    name: {f"jacobian_p{p}": v for p, v in zip(P, BOXES[name], strict=True)}
    | {"dice_before": DICE[name][0], "dice_after": DICE[name][1]}
    for name in NAMES
}
LANDMARKS = {"count": 3, "names": ["a", "b", "c"], "before_mm": [8.0, 4.0, 6.0], "after_mm": [2.0, 5.0, 1.0]}
METRICS = {"segments": SEGMENTS, "landmarks": LANDMARKS, "volume_unit": "ml"}


def series(chart: Any) -> dict[str, Any]:
    nodes = [chart.GetNthPlotSeriesNode(k) for k in range(chart.GetNumberOfPlotSeriesNodes())]
    return {n.GetName(): n for n in nodes}


def values(node: Any, axis: str = "Y") -> np.ndarray:
    name = node.GetYColumnName() if axis == "Y" else node.GetXColumnName()
    return np.array(tables.column_values(node.GetTableNode(), name))


@pytest.fixture
def plot_view(slicer_host: Any, scene: Any) -> Any:
    from host.plot_view import qMRMLPlotWidget

    widget = qMRMLPlotWidget()
    widget.setMRMLScene(scene)
    widget.setMRMLPlotViewNode(scene.AddNewNodeByClass("vtkMRMLPlotViewNode"))
    widget.resize(560, 420)
    widget.show()
    slicer_host.process_events()
    yield widget
    widget.close()


def picture(widget: Any, chart: Any) -> np.ndarray:
    from host import screenshot

    widget.mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    return screenshot.view(widget).astype(int)


def where(image: np.ndarray, colour: tuple[float, ...]) -> np.ndarray:
    return np.abs(image - np.rint(255 * np.array(colour))).max(axis=2) < 12


def to_pixels(widget: Any, height: int) -> Any:
    """(x, y) of the chart -> column and row of the picture."""
    import vtk

    chart = widget.plotView().chart()
    bottom, left = chart.GetAxis(vtk.vtkAxis.BOTTOM), chart.GetAxis(vtk.vtkAxis.LEFT)

    def along(axis: Any, value: float, k: int) -> float:
        first, last = axis.GetPoint1(), axis.GetPoint2()
        low, high = axis.GetUnscaledMinimum(), axis.GetUnscaledMaximum()
        return first[k] + (last[k] - first[k]) * (value - low) / (high - low)

    return lambda x, y: (along(bottom, x, 0), height - 1 - along(left, y, 1))


def test_dice_before_and_after_come_from_the_table(scene: Any) -> None:
    table = tables.segments_table(scene, METRICS, "numbers")
    chart = plots.segments_chart(scene, table)
    found = series(chart)
    assert list(found) == ["Dice before", "Dice after"]
    for node, key in zip(found.values(), ("dice_before", "dice_after"), strict=True):
        assert node.GetTableNode() is table and node.GetLabelColumnName() == "Segment"
        assert node.GetPlotType() == node.PlotTypeBar
        np.testing.assert_array_equal(values(node), [np.nan if s[key] is None else s[key] for s in SEGMENTS.values()])
    assert chart.GetXAxisTitle() == "0 liver, 1 left kidney, 2 spleen"
    assert chart.GetYAxisTitle() and not chart.GetYAxisRangeAuto() and tuple(chart.GetYAxisRange()) == (0.0, 1.0)


@pytest.mark.display
def test_bars_are_as_high_as_the_numbers(scene: Any, plot_view: Any) -> None:
    chart = plots.segments_chart(scene, tables.segments_table(scene, METRICS, "numbers"))
    image = picture(plot_view, chart)
    at = to_pixels(plot_view, image.shape[0])
    for shift, colour, key in ((-0.2, plots.BEFORE_COLOUR, "dice_before"), (0.2, plots.AFTER_COLOUR, "dice_after")):
        for k, numbers in enumerate(SEGMENTS.values()):
            column = where(image, colour)[:, round(at(k + shift, 0)[0])]
            height = at(0, 0)[1] - at(0, numbers[key] or 0.0)[1]
            assert column.sum() == pytest.approx(height, abs=4), (k, key)


@pytest.mark.display
def test_landmark_bars_and_their_axis(scene: Any, plot_view: Any) -> None:
    table = tables.landmarks_table(scene, METRICS, "marks")
    chart = plots.landmarks_chart(scene, table)
    found = series(chart)
    np.testing.assert_array_equal(values(found["TRE before (mm)"]), LANDMARKS["before_mm"])
    np.testing.assert_array_equal(values(found["TRE after (mm)"]), LANDMARKS["after_mm"])
    assert "mm" in chart.GetYAxisTitle()
    image = picture(plot_view, chart)
    at = to_pixels(plot_view, image.shape[0])
    column = where(image, plots.AFTER_COLOUR)[:, round(at(1.2, 0)[0])]
    assert column.sum() == pytest.approx(at(0, 0)[1] - at(0, 5.0)[1], abs=4)


@pytest.mark.display
def test_boxes_end_at_their_quartiles_and_whiskers(scene: Any, plot_view: Any) -> None:
    chart = plots.jacobian_chart(scene, METRICS, "Jacobian")
    found = series(chart)
    assert set(NAMES) < set(found) and len(found) == 5
    level = next(n for name, n in found.items() if name.startswith("1 "))
    assert set(values(level)) == {1.0}
    image = picture(plot_view, chart)
    at = to_pixels(plot_view, image.shape[0])
    for k, name in enumerate(NAMES):
        p5, p25, p50, p75, p95 = BOXES[name]
        assert sorted(set(values(found[name]))) == [p5, p25, p50, p75, p95]
        drawn = where(image, found[name].GetColor())
        column = round(at(k, 0)[0])
        rows = np.flatnonzero(drawn[:, column - 3 : column + 4].any(axis=1))
        assert rows.min() == pytest.approx(at(0, p95)[1], abs=2.5)
        assert rows.max() == pytest.approx(at(0, p5)[1], abs=2.5)
        # beside the whiskers, inside the box: its top, its median and its bottom
        inside = round(at(k + 0.22, 0)[0])
        lines = np.flatnonzero(drawn[:, inside])
        for value in (p25, p50, p75):
            assert np.abs(lines - at(0, value)[1]).min() <= 2, (name, value)
        assert not drawn[round(at(0, (p25 + p50) / 2)[1]), inside]
        # the sides of the box
        side = drawn[round(at(0, (p25 + p50) / 2)[1])]
        edges = [at(k - 0.28, 0)[0], at(k + 0.28, 0)[0]]
        assert all(side[round(e) - 2 : round(e) + 3].any() for e in edges)


def test_what_was_not_measured_has_no_chart(scene: Any) -> None:
    lone = {"liver": {"volume_fixed": 3.0, "dice_before": None, "dice_after": None}}
    table = tables.segments_table(scene, {"segments": lone}, "numbers")
    assert plots.segments_chart(scene, table) is None
    assert plots.landmarks_chart(scene, table) is None
    assert plots.jacobian_chart(scene, {"segments": lone}, "Jacobian") is None


def test_many_segments_are_counted_instead_of_named(scene: Any) -> None:
    many = {f"structure {k}": {"dice_before": 0.5, "dice_after": 0.6} for k in range(40)}
    chart = plots.segments_chart(scene, tables.segments_table(scene, {"segments": many}, "numbers"))
    assert "Row of the table" in chart.GetXAxisTitle()


@pytest.fixture
def layout(scene: Any) -> Any:
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    before = node.GetViewArrangement()
    node.SetViewArrangement(node.SlicerLayoutFourUpView)
    yield node
    node.SetViewArrangement(before)


def test_a_chart_is_shown_in_a_layout_with_a_plot(scene: Any, layout: Any) -> None:
    chart = plots.segments_chart(scene, tables.segments_table(scene, METRICS, "numbers"))
    plots.show_chart(chart)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpPlotView
    views = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert views and all(v.GetPlotChartNodeID() == chart.GetID() for v in views)


def test_a_table_is_shown_in_a_layout_with_a_table(scene: Any, layout: Any) -> None:
    table = tables.segments_table(scene, METRICS, "numbers")
    plots.show_table(table)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpTableView
    views = slicer.util.getNodesByClass("vtkMRMLTableViewNode")
    assert views and all(v.GetTableNode() is table for v in views)


def test_the_parts_of_a_chart_are_known(scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    chart = plots.jacobian_chart(scene, METRICS, "Jacobian")
    parts = plots.parts_of(chart)
    for node in (chart, *parts):
        scene.RemoveNode(node)
    assert len(parts) == 6 and scene.GetNumberOfNodes() == before
