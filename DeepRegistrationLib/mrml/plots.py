"""Charts of a review in Slicer's plot view, and the way to show them.

Slicer's charts have lines and bars, numbers along their axes and no names: the title of the axis says which number
is which segment, and the name of a bar appears under the mouse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk

from . import tables
from .tables import add_numbers, column_values, row_names

Colour = tuple[float, float, float]

BEFORE_COLOUR: Colour = (0.62, 0.65, 0.70)
AFTER_COLOUR: Colour = (0.00, 0.45, 0.70)
# told apart also by people who see red and green alike
SERIES_COLOURS: tuple[Colour, ...] = (
    (0.00, 0.45, 0.70),
    (0.90, 0.45, 0.00),
    (0.00, 0.60, 0.45),
    (0.80, 0.40, 0.65),
    (0.35, 0.70, 0.90),
    (0.55, 0.45, 0.00),
    (0.40, 0.20, 0.55),
    (0.75, 0.15, 0.15),
)
_NO_CHANGE_COLOUR: Colour = (0.25, 0.25, 0.25)
_FOLDING_COLOUR: Colour = (0.85, 0.00, 0.85)

_FONT = {"title": 18, "axis": 14, "labels": 12, "legend": 12}
# names that fit below a chart
_MOST_NAMES, _LONGEST_LINE = 12, 48
_LARGE_LEGEND = 10
# Slicer draws the legend over the top right of the chart: so much room, in parts of the rest, is left for it
_LEGEND_ROOM = 0.4

#: half the width of a box, and of the ends of its whiskers
_BOX, _WHISKER = 0.28, 0.14


def segments_chart(
    scene: slicer.vtkMRMLScene, table: slicer.vtkMRMLTableNode
) -> slicer.vtkMRMLPlotChartNode | None:
    """Dice before and after, a pair of bars for each row of `segments_table`; None where it holds no Dice."""
    titles = [t for t in (tables.DICE_BEFORE, tables.DICE_AFTER) if column_values(table, t)]
    if not titles:
        return None
    chart = _bars(scene, table, titles, "Overlap of the segments")
    chart.SetYAxisTitle("Dice (1 = same)")
    _set_range(chart, "Y", 0.0, 1.0)
    return chart


def landmarks_chart(
    scene: slicer.vtkMRMLScene, table: slicer.vtkMRMLTableNode
) -> slicer.vtkMRMLPlotChartNode | None:
    """TRE before and after, a pair of bars for each row of `landmarks_table`; None where it holds no errors."""
    titles = [tables.TRE_BEFORE, tables.TRE_AFTER]
    if not all(column_values(table, t) for t in titles):
        return None
    chart = _bars(scene, table, titles, "Landmark errors")
    chart.SetYAxisTitle("TRE (mm)")
    _set_range(chart, "Y", 0.0, 1.05 * max(1e-3, *(v for t in titles for v in column_values(table, t))))
    return chart


def _bars(
    scene: slicer.vtkMRMLScene, table: slicer.vtkMRMLTableNode, titles: Sequence[str], title: str
) -> slicer.vtkMRMLPlotChartNode:
    names = row_names(table)
    chart = new_chart(scene, title)
    for column in titles:
        series = add_series(scene, chart, table, column, AFTER_COLOUR if "after" in column else BEFORE_COLOUR)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetLabelColumnName(table.GetColumnName(0))
    chart.SetXAxisTitle(_who_is_who(names))
    _set_range(chart, "X", -0.75, _right_end(len(names)))
    return chart


def _right_end(count: int) -> float:
    return count - 0.25 + _LEGEND_ROOM * (count + 0.5)


def jacobian_chart(
    scene: slicer.vtkMRMLScene, metrics: Mapping[str, Any], name: str
) -> slicer.vtkMRMLPlotChartNode | None:
    """A box for each segment: 25 to 75 % of its Jacobian determinants, the median across it, whiskers to 5 and 95 %;
    a dashed line at 1, where nothing changes its volume, and one at 0 where boxes come near folding.

    None where the Jacobian of no segment was measured.
    """
    boxes = {}
    for segment, numbers in (metrics.get("segments") or {}).items():
        values = [numbers.get(f"jacobian_p{p}") for p in (5, 25, 50, 75, 95)]
        if None not in values:
            boxes[segment] = [float(v) for v in values]
    if not boxes:
        return None
    chart = new_chart(scene, name)
    chart.SetTitle("Change of volume in the segments")
    table = slicer.vtkMRMLTableNode()
    table.SetName(scene.GenerateUniqueName(f"{name} boxes"))
    table.SetUseColumnTitleAsColumnHeader(True)
    scene.AddNode(table)
    across = (-0.75, len(boxes) - 0.25)
    _line(scene, chart, table, "1 = keeps its volume", _level(*across, 1.0), _NO_CHANGE_COLOUR)
    lowest = min(v[0] for v in boxes.values())
    if lowest < 0.25:
        _line(scene, chart, table, "0 = folds", _level(*across, 0.0), _FOLDING_COLOUR)
    for k, (segment, values) in enumerate(boxes.items()):
        colour = SERIES_COLOURS[k % len(SERIES_COLOURS)]
        _line(scene, chart, table, segment, _box(k, values), colour, solid=True)
    chart.SetXAxisTitle(_who_is_who(list(boxes)))
    chart.SetYAxisTitle("Jacobian determinant")
    chart.SetLegendVisibility(len(boxes) <= _LARGE_LEGEND)
    _set_range(chart, "X", -0.75, _right_end(len(boxes)))
    highest = max(v[4] for v in boxes.values())
    _set_range(chart, "Y", min(lowest, 0.0 if lowest < 0.25 else 0.9) - 0.1, max(highest, 1.1) + 0.1)
    return chart


def _box(x: float, values: Sequence[float]) -> list[tuple[float, float]]:
    """One stroke that draws whiskers, box and median, going over some lines twice."""
    p5, p25, p50, p75, p95 = values
    left, right = x - _BOX, x + _BOX
    return [
        (x - _WHISKER, p5), (x + _WHISKER, p5), (x, p5), (x, p25), (left, p25), (left, p50), (right, p50), (left, p50),
        (left, p75), (x, p75), (x, p95), (x - _WHISKER, p95), (x + _WHISKER, p95), (x, p95), (x, p75), (right, p75),
        (right, p25), (x, p25),
    ]  # fmt: skip


_STROKE = len(_box(0.0, (0.0,) * 5))


def _level(first: float, last: float, y: float) -> list[tuple[float, float]]:
    return [(first + (last - first) * k / (_STROKE - 1), y) for k in range(_STROKE)]


def _line(
    scene: slicer.vtkMRMLScene,
    chart: slicer.vtkMRMLPlotChartNode,
    table: slicer.vtkMRMLTableNode,
    name: str,
    points: Sequence[tuple[float, float]],
    colour: Colour,
    solid: bool = False,
) -> None:
    add_numbers(table, f"{name}, x", [x for x, _ in points])
    add_numbers(table, name, [y for _, y in points])
    series = add_series(scene, chart, table, name, colour)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetXColumnName(f"{name}, x")
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    styles = slicer.vtkMRMLPlotSeriesNode
    series.SetLineStyle(styles.LineStyleSolid if solid else styles.LineStyleDash)
    series.SetLineWidth(2.5 if solid else 1.5)


# ---------------------------------------------------------------------- charts and series


def new_chart(scene: slicer.vtkMRMLScene, title: str) -> slicer.vtkMRMLPlotChartNode:
    """An empty chart in the letters of all charts here."""
    chart = slicer.vtkMRMLPlotChartNode()
    chart.SetName(scene.GenerateUniqueName(title))
    chart.SetTitle(title)
    chart.SetTitleFontSize(_FONT["title"])
    chart.SetAxisTitleFontSize(_FONT["axis"])
    chart.SetAxisLabelFontSize(_FONT["labels"])
    chart.SetLegendFontSize(_FONT["legend"])
    # nobody is to drag a measured value
    chart.SetEnablePointMoveAlongX(False)
    chart.SetEnablePointMoveAlongY(False)
    return scene.AddNode(chart)


def add_series(
    scene: slicer.vtkMRMLScene,
    chart: slicer.vtkMRMLPlotChartNode,
    table: slicer.vtkMRMLTableNode,
    column: str,
    colour: Colour,
) -> slicer.vtkMRMLPlotSeriesNode:
    """A series is called in the legend as its node is."""
    series = slicer.vtkMRMLPlotSeriesNode()
    series.SetName(column)
    scene.AddNode(series)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetYColumnName(column)
    series.SetColor(*colour)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


def _set_range(chart: slicer.vtkMRMLPlotChartNode, axis: str, low: float, high: float) -> None:
    getattr(chart, f"Set{axis}AxisRangeAuto")(False)
    getattr(chart, f"Set{axis}AxisRange")(low, high)


def _who_is_who(names: Sequence[str]) -> str:
    """ "0 liver, 1 spleen", in lines that a narrow chart has room for."""
    if len(names) > _MOST_NAMES:
        return "Row of the table, counted from 0"
    lines = [""]
    for k, name in enumerate(names):
        part = f"{k} {name}" + (", " if k + 1 < len(names) else "")
        if lines[-1] and len(lines[-1] + part) > _LONGEST_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


# ---------------------------------------------------------------------- into the views


def show_chart(chart: slicer.vtkMRMLPlotChartNode) -> None:
    """Bring the chart into the plot view; the layout changes to one with a plot view where it has none."""
    slicer.modules.plots.logic().ShowChartInLayout(chart)


def show_table(table: slicer.vtkMRMLTableNode) -> None:
    """Bring the table into the table view; the layout changes to one with a table view where it has none."""
    layout = table.GetScene().GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        arrangement = layout.GetViewArrangement()
        with_table = slicer.modules.tables.logic().GetLayoutWithTable(arrangement)
        if with_table != arrangement:
            layout.SetViewArrangement(with_table)
    logic = slicer.app.applicationLogic()
    logic.GetSelectionNode().SetActiveTableID(table.GetID())
    logic.PropagateTableSelection()


def parts_of(chart: slicer.vtkMRMLPlotChartNode) -> list[vtk.vtkObject]:
    """The nodes that belong to a chart alone or to its table: its series and the tables they draw. Whoever removes
    a chart removes these, too, but for tables that others show.
    """
    series = [chart.GetNthPlotSeriesNode(k) for k in range(chart.GetNumberOfPlotSeriesNodes())]
    found: list[vtk.vtkObject] = [s for s in series if s is not None]
    for one in series:
        table = one.GetTableNode() if one is not None else None
        if table is not None and table not in found:
            found.append(table)
    return found
