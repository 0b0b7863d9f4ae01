"""The curve of a training: lines by name, gaps, rows that are forgotten, and what a saved scene gives back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from DeepRegistrationLib.mrml.training_curve import TrainingCurve


@pytest.fixture
def curve(scene: Any) -> TrainingCurve:
    return TrainingCurve.new(scene, "Mine")


def lines(curve: TrainingCurve) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of each line -> what it is drawn from."""
    found = {}
    for k in range(curve.chart.GetNumberOfPlotSeriesNodes()):
        series = curve.chart.GetNthPlotSeriesNode(k)
        columns = (series.GetXColumnName(), series.GetYColumnName())
        table = series.GetTableNode()
        found[series.GetName()] = tuple(np.array(slicer.util.arrayFromTableColumn(table, c)) for c in columns)
    return found


def test_a_line_for_each_loss_and_the_score(curve: TrainingCurve) -> None:
    assert lines(curve) == {}
    curve.add_losses(1, {"image": 3.0, "smooth": 0.5})
    assert lines(curve) == {}, "a line has two points"
    curve.add_losses(5, {"image": 2.0, "smooth": 0.25})
    curve.add_validation(0, -1.0, {"Dice": 0.4})
    curve.add_validation(5, -0.5, {"Dice": 0.6, "TRE (mm)": None})
    drawn = lines(curve)
    assert set(drawn) == {"image", "smooth", "Validation score"}
    np.testing.assert_array_equal(drawn["image"], ([1, 5], [3, 2]))
    np.testing.assert_array_equal(drawn["Validation score"], ([0, 5], [-1, -0.5]))
    colours = {tuple(curve.chart.GetNthPlotSeriesNode(k).GetColor()) for k in range(3)}
    assert len(colours) == 3
    low, high = curve.chart.GetYAxisRange()
    assert low < -1 and high > 3.5, "there is room for the legend"
    assert curve.measured() == [
        {"Step": 0, "Score": -1, "Dice": 0.4},
        {"Step": 5, "Score": -0.5, "Dice": 0.6},
    ]


def test_losses_that_come_and_go_leave_gaps(curve: TrainingCurve) -> None:
    for step in (1, 2):
        curve.add_losses(step, {"a": 1.0})
    for step in (3, 4):
        curve.add_losses(step, {"b": 2.0, "a": None})
    drawn = lines(curve)
    np.testing.assert_array_equal(drawn["a"][1], [1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(drawn["b"][1], [np.nan, np.nan, 2, 2])


def test_what_did_not_happen_is_forgotten(curve: TrainingCurve) -> None:
    for step in range(1, 11):
        curve.add_losses(step, {"a": float(step)})
        curve.add_validation(step, float(step), {})
    curve.forget_from(6)
    curve.add_losses(7, {"a": 70.0})
    np.testing.assert_array_equal(lines(curve)["a"][1], [1, 2, 3, 4, 5, 6, 70])
    assert [row["Step"] for row in curve.measured()] == [1, 2, 3, 4, 5, 6]


def test_a_long_curve_is_thinned(curve: TrainingCurve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegistrationLib.mrml.training_curve._MOST_ROWS", 10)
    for step in range(1, 41):
        curve.add_losses(step, {"a": float(step)})
    steps, values = lines(curve)["a"]
    assert len(steps) <= 11 and steps[0] == 1 and steps[-1] >= 39
    np.testing.assert_array_equal(steps, values)


def test_a_change_reaches_the_view(curve: TrainingCurve) -> None:
    heard = []
    curve.chart.AddObserver(slicer.vtkMRMLPlotChartNode.PlotModifiedEvent, lambda *_: heard.append(1))
    for step in (1, 2):
        curve.add_losses(step, {"a": 1.0})
    before = len(heard)
    curve.add_losses(3, {"a": 1.0})
    assert len(heard) > before


def test_nothing_is_left_of_a_removed_curve(scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    curve = TrainingCurve.new(scene, "Mine")
    for step in (1, 2):
        curve.add_losses(step, {"a": 1.0})
        curve.add_validation(step, 1.0, {})
    curve.remove()
    assert scene.GetNumberOfNodes() == before and not curve.alive()
