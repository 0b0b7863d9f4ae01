"""The course of a training as a chart: a line for every loss by name, and one for the score of the validations.

The numbers lie in two tables, so that they are saved with the scene and can be exported: one row a point of the losses,
one row a validation with everything that was measured then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .plots import SERIES_COLOURS, Colour, add_series, new_chart

STEP, SCORE, SCORE_SERIES = "Step", "Score", "Validation score"
_SCORE_COLOUR: Colour = (0.10, 0.10, 0.10)
_ROLES = {"losses": "DeepRegistration.losses", "validations": "DeepRegistration.validations"}
#: rows of the losses; where there are more, every other one goes
_MOST_ROWS = 4000
#: parts of the height of the curves that are left free below and above them
_MARGIN, _LEGEND_ROOM = 0.05, 0.4


class TrainingCurve:
    """Draws on `chart`, a node that `new` made, also in a scene that was loaded."""

    def __init__(self, chart: slicer.vtkMRMLPlotChartNode) -> None:
        self.chart = chart

    @classmethod
    def new(cls, scene: slicer.vtkMRMLScene, name: str) -> TrainingCurve:
        """An empty chart with its tables in the scene."""
        chart = new_chart(scene, name)
        chart.SetTitle("Course of the training")
        chart.SetXAxisTitle(STEP)
        chart.SetYAxisTitle("Loss, validation score")
        for what, role in _ROLES.items():
            table = slicer.vtkMRMLTableNode()
            table.SetName(scene.GenerateUniqueName(f"{name} {what}"))
            scene.AddNode(table)
            table.SetUseColumnTitleAsColumnHeader(True)
            _set(table, {STEP: np.zeros(0)})
            chart.SetNodeReferenceID(role, table.GetID())
        return cls(chart)

    @property
    def losses(self) -> slicer.vtkMRMLTableNode:
        return self.chart.GetNodeReference(_ROLES["losses"])

    @property
    def validations(self) -> slicer.vtkMRMLTableNode:
        return self.chart.GetNodeReference(_ROLES["validations"])

    def alive(self) -> bool:
        """False once the chart or a table has left the scene."""
        return self.chart.GetScene() is not None and None not in (self.losses, self.validations)

    def add_losses(self, step: int, losses: Mapping[str, float | None]) -> None:
        """One more point of each line; a loss that is None or not named has a gap there."""
        self._add(self.losses, step, losses)
        columns = _columns(self.losses)
        if len(columns[STEP]) > _MOST_ROWS:
            _set(self.losses, {name: values[::2] for name, values in columns.items()})

    def add_validation(self, step: int, score: float | None, numbers: Mapping[str, float | None]) -> None:
        """One more point of the score, and a row with everything that was measured."""
        self._add(self.validations, step, {SCORE: score, **numbers})

    def forget_from(self, step: int) -> None:
        """A training goes on from an earlier state: what came after `step` did not happen."""
        for table in (self.losses, self.validations):
            columns = _columns(table)
            kept = columns[STEP] <= step
            if not kept.all():
                _set(table, {name: values[kept] for name, values in columns.items()})

    def measured(self) -> list[dict[str, float]]:
        """Every validation in order: STEP, SCORE and what was measured by name; numbers that are none are left out."""
        columns = _columns(self.validations)
        rows = [{name: float(values[k]) for name, values in columns.items()} for k in range(len(columns[STEP]))]
        return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]

    def remove(self) -> None:
        """Chart, lines and tables leave the scene."""
        scene = self.chart.GetScene()
        if scene is None:
            return
        series = [self.chart.GetNthPlotSeriesNode(k) for k in range(self.chart.GetNumberOfPlotSeriesNodes())]
        for node in (*series, self.losses, self.validations, self.chart):
            if node is not None:
                scene.RemoveNode(node)

    def _add(self, table: slicer.vtkMRMLTableNode, step: int, values: Mapping[str, float | None]) -> None:
        rows = table.GetTable().GetNumberOfRows()
        for name in values:
            if table.GetTable().GetColumnByName(name) is None:
                _set(table, {**_columns(table), name: np.full(rows, math.nan)})
        known = {STEP: float(step), **values}
        for k in range(table.GetTable().GetNumberOfColumns()):
            column = table.GetTable().GetColumn(k)
            value = known.get(column.GetName())
            column.InsertNextValue(math.nan if value is None else float(value))
            column.Modified()
        table.GetTable().Modified()
        self._draw(table, values)
        self._leave_room()

    def _draw(self, table: slicer.vtkMRMLTableNode, names: Mapping[str, Any]) -> None:
        """A line for what has none yet, from two points on: VTK complains of a line of one."""
        scores = table is self.validations
        lines = {SCORE: SCORE_SERIES} if scores else {name: name for name in names}
        drawn = {self.chart.GetNthPlotSeriesNode(k).GetName() for k in range(self.chart.GetNumberOfPlotSeriesNodes())}
        if set(lines.values()) <= drawn:
            return
        columns = _columns(table)
        for column, name in lines.items():
            if name in drawn or np.isfinite(columns[column]).sum() < 2:
                continue
            colour = _SCORE_COLOUR if scores else SERIES_COLOURS[len(drawn - {SCORE_SERIES}) % len(SERIES_COLOURS)]
            series = add_series(self.chart.GetScene(), self.chart, table, column, colour)
            series.SetName(name)
            series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            series.SetXColumnName(STEP)
            kinds = slicer.vtkMRMLPlotSeriesNode
            series.SetMarkerStyle(kinds.MarkerStyleCircle if scores else kinds.MarkerStyleNone)
            series.SetLineStyle(kinds.LineStyleDash if scores else kinds.LineStyleSolid)
            series.SetLineWidth(2.0)
            drawn.add(name)


    def _leave_room(self) -> None:
        """Slicer draws the legend over the top of the chart: no line is to go below it."""
        columns = [v for name, v in _columns(self.losses).items() if name != STEP]
        shown = np.concatenate([*columns, _columns(self.validations).get(SCORE, np.zeros(0)), np.zeros(0)])
        shown = shown[np.isfinite(shown)]
        if shown.size:
            low, high = float(shown.min()), float(shown.max())
            span = max(high - low, 1e-6)
            self.chart.SetYAxisRangeAuto(False)
            self.chart.SetYAxisRange(low - _MARGIN * span, high + _LEGEND_ROOM * span)


def _columns(table: slicer.vtkMRMLTableNode) -> dict[str, NDArray[np.float64]]:
    """Copies of the columns by name. A table that was read from a file has its numbers as texts."""
    found = {}
    for k in range(table.GetTable().GetNumberOfColumns()):
        column = table.GetTable().GetColumn(k)
        if isinstance(column, vtk.vtkDataArray):
            values = vtk_to_numpy(column).astype(np.float64) if column.GetNumberOfTuples() else np.zeros(0)
        else:
            values = np.array([_number(column.GetValue(r)) for r in range(column.GetNumberOfValues())])
        found[column.GetName()] = values
    return found


def _number(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _set(table: slicer.vtkMRMLTableNode, columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Replace the content of the table."""
    content = vtk.vtkTable()
    for name, values in columns.items():
        array = numpy_to_vtk(np.ascontiguousarray(values, np.float64), deep=True)
        array.SetName(name)
        content.AddColumn(array)
    table.SetAndObserveTable(content)
