"""The plot view: a chart node drawn by VTK's charts, as Slicer's own plot view draws it.

For the layout manager (layouts with a plot: SlicerLayoutFourUpPlotView, SlicerLayoutFourUpPlotTableView, ...):

    widget = qMRMLPlotWidget()
    widget.setMRMLScene(scene)
    widget.setMRMLPlotViewNode(node)      # the vtkMRMLPlotViewNode that the layout logic made

`plotWidget(0)` of the layout manager is this widget; `plotView()` is its picture, `screenshot.view(widget)` works.
"""

from __future__ import annotations

import math
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .mrml_views import _Followed
from .mrml_widgets import qMRMLWidget
from .render_view import ctkVTKAbstractView

_GROUND = (255, 253, 246)


class qMRMLPlotView(ctkVTKAbstractView):
    """The picture of the chart that a plot view node shows."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._chart = vtk.vtkChartXY()
        self._chart.GetBackgroundBrush().SetColor(*_GROUND)
        self._chart.SetAutoSize(True)
        self._actor = vtk.vtkContextActor()
        self._actor.GetScene().AddItem(self._chart)
        self._actor.GetScene().SetRenderer(self._renderer)
        self._renderer.AddActor(self._actor)
        self._renderer.SetBackground(*(part / 255 for part in _GROUND))
        self._view_node = _Followed(self, "_view_changed")
        self._chart_node = _Followed(self, "_fill")

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)
        self._view_changed()

    def mrmlPlotViewNode(self) -> Any:
        return self._view_node.node

    def setMRMLPlotViewNode(self, node: Any) -> None:
        events = (slicer.vtkMRMLPlotViewNode.PlotChartNodeChangedEvent,) if node is not None else ()
        self._view_node.follow(node, *events)

    def chart(self) -> Any:
        return self._chart

    def fitToContent(self) -> None:
        self._chart.RecalculateBounds()
        self.scheduleRender()

    def _view_changed(self) -> None:
        node = self._view_node.node
        chart = node.GetPlotChartNode() if node is not None and self._scene is not None else None
        if chart is self._chart_node.node:
            return
        events = (slicer.vtkMRMLPlotChartNode.PlotModifiedEvent,) if chart is not None else ()
        self._chart_node.follow(chart, *events)

    def _fill(self) -> None:
        self._chart.ClearPlots()
        node = self._chart_node.node
        if node is not None and node.GetScene() is not None:
            for index in range(node.GetNumberOfPlotSeriesNodes()):
                series = node.GetNthPlotSeriesNode(index)
                plot = _plot_of(series) if series is not None else None
                if plot is not None:
                    self._chart.AddPlot(plot)
            self._dress(node)
        self.scheduleRender()

    def _dress(self, node: Any) -> None:
        chart = self._chart
        chart.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
        chart.GetTitleProperties().SetFontSize(node.GetTitleFontSize())
        chart.SetShowLegend(node.GetLegendVisibility())
        chart.GetLegend().GetLabelProperties().SetFontSize(node.GetLegendFontSize())
        sides = vtk.vtkAxis
        for name, letter in ((sides.BOTTOM, "X"), (sides.TOP, "X"), (sides.LEFT, "Y"), (sides.RIGHT, "Y")):
            axis = chart.GetAxis(name)
            if axis is not None:
                _dress_axis(axis, node, letter)

    def _render(self) -> None:
        self._actor.GetScene().SetDirty(True)
        super()._render()


def _dress_axis(axis: Any, node: Any, letter: str) -> None:
    def of(what: str) -> Any:
        return getattr(node, f"Get{letter}Axis{what}")()

    axis.SetTitle((of("Title") or "") if of("TitleVisibility") else "")
    axis.SetLogScale(of("LogScale"))
    if of("RangeAuto"):
        axis.SetBehavior(vtk.vtkAxis.AUTO)
    else:
        axis.SetBehavior(vtk.vtkAxis.FIXED)
        axis.SetUnscaledMinimumLimit(-math.inf)
        axis.SetUnscaledMaximumLimit(math.inf)
        axis.SetUnscaledRange(*of("Range"))
    axis.Update()
    axis.SetGridVisible(node.GetGridVisibility())
    axis.GetTitleProperties().SetFontSize(node.GetAxisTitleFontSize())
    axis.GetTitleProperties().SetBold(False)
    axis.GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())


def _plot_of(series: Any) -> Any:
    """What draws a series; None, as in Slicer, where its columns are missing or hold no numbers."""
    node = series.GetTableNode()
    table = node.GetTable() if node is not None else None
    y = series.GetYColumnName()
    if table is None or not _is_numeric(table.GetColumnByName(y)):
        return None
    x = series.GetXColumnName() if series.IsXColumnRequired() else ""
    if series.IsXColumnRequired() and not _is_numeric(table.GetColumnByName(x)):
        return None
    is_line = series.GetPlotType() in (series.PlotTypeLine, series.PlotTypeScatter)
    plot = vtk.vtkPlotLine() if is_line else vtk.vtkPlotBar()
    plot.SetWidth(series.GetLineWidth())
    plot.SetColorF(*series.GetColor())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    if series.GetPlotType() != series.PlotTypeBar:
        # The numbers of Slicer's line styles are those of vtkPen.
        plot.GetPen().SetLineType(series.GetLineStyle())
    if is_line:
        plot.SetMarkerSize(series.GetMarkerSize())
        plot.SetMarkerStyle(series.GetMarkerStyle())
    labels = table.GetColumnByName(series.GetLabelColumnName()) if series.GetLabelColumnName() else None
    plot.SetIndexedLabels(labels if isinstance(labels, vtk.vtkStringArray) else None)
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(table, x or y, y)
    plot.SetLabel(series.GetName() or y)
    return plot


def _is_numeric(column: Any) -> bool:
    return isinstance(column, vtk.vtkDataArray) and not isinstance(column, vtk.vtkBitArray)


class qMRMLPlotViewControllerWidget(qMRMLWidget):
    """The bar above a plot view."""

    def __init__(self, view: qMRMLPlotView) -> None:
        super().__init__()
        self._view = view
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(7, 3, 4, 3)
        layout.addWidget(QtWidgets.QLabel("P", self))

    def fitPlotToAxes(self) -> None:
        self._view.fitToContent()


class qMRMLPlotWidget(qMRMLWidget):
    """Bar and picture of a plot view."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = qMRMLPlotView(self)
        self._controller = qMRMLPlotViewControllerWidget(self._view)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._view, 1)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._view.setMRMLScene(scene)

    def mrmlPlotViewNode(self) -> Any:
        return self._view.mrmlPlotViewNode()

    def mrmlAbstractViewNode(self) -> Any:
        return self._view.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view.setMRMLPlotViewNode(node)

    def plotView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def plotController(self) -> Any:
        return self._controller

    def controllerWidget(self) -> Any:
        return self._controller
