"""`slicer.app.layoutManager()`: three slice views, a 3-D view, a plot and a table, on Slicer's own layout logic."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .plot_view import qMRMLPlotWidget
from .table_view import qMRMLTableWidget
from .widget_properties import qt_property

_NAMES = ("Red", "Yellow", "Green")
_THREE_D = "1"
_PLOT, _TABLE = "PlotView1", "TableView1"
#: what is not there from the start, with the class of its node
_OTHERS = {_PLOT: "vtkMRMLPlotViewNode", _TABLE: "vtkMRMLTableViewNode"}


def _arrangements() -> dict[int, list[tuple[str, int, int, int, int]]]:
    """Cells (view, row, column, rows, columns) of the layouts that the stand-in can show."""
    node = slicer.vtkMRMLLayoutNode
    return {
        node.SlicerLayoutConventionalView: [
            (_THREE_D, 0, 0, 1, 3),
            ("Red", 1, 0, 1, 1),
            ("Yellow", 1, 1, 1, 1),
            ("Green", 1, 2, 1, 1),
        ],
        node.SlicerLayoutFourUpView: [
            ("Red", 0, 0, 1, 1),
            (_THREE_D, 0, 1, 1, 1),
            ("Green", 1, 0, 1, 1),
            ("Yellow", 1, 1, 1, 1),
        ],
        node.SlicerLayoutSideBySideView: [("Red", 0, 0, 1, 1), ("Yellow", 0, 1, 1, 1)],
        node.SlicerLayoutFourUpPlotView: [
            ("Red", 0, 0, 1, 1),
            (_PLOT, 0, 1, 1, 1),
            ("Green", 1, 0, 1, 1),
            ("Yellow", 1, 1, 1, 1),
        ],
        node.SlicerLayoutFourUpTableView: [
            ("Red", 0, 0, 1, 1),
            (_THREE_D, 0, 1, 1, 1),
            ("Green", 1, 0, 1, 1),
            ("Yellow", 1, 1, 1, 1),
            (_TABLE, 2, 0, 1, 2),
        ],
        node.SlicerLayoutFourUpPlotTableView: [
            ("Red", 0, 0, 1, 1),
            (_PLOT, 0, 1, 1, 1),
            ("Green", 1, 0, 1, 1),
            ("Yellow", 1, 1, 1, 1),
            (_TABLE, 2, 0, 1, 2),
        ],
        node.SlicerLayoutOneUpPlotView: [(_PLOT, 0, 0, 1, 1)],
        node.SlicerLayoutOneUp3DView: [(_THREE_D, 0, 0, 1, 1)],
        node.SlicerLayoutOneUpRedSliceView: [("Red", 0, 0, 1, 1)],
        node.SlicerLayoutOneUpYellowSliceView: [("Yellow", 0, 0, 1, 1)],
        node.SlicerLayoutOneUpGreenSliceView: [("Green", 0, 0, 1, 1)],
    }


class SliceLogics:
    """The nodes and logics of the views. They are in the scene whether or not anything is drawn."""

    def __init__(self, scene: Any, application_logic: Any) -> None:
        self.layout = slicer.vtkMRMLLayoutLogic()
        self.layout.SetMRMLApplicationLogic(application_logic)
        self.layout.SetMRMLScene(scene)
        self.layout.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.slices = {}
        for name in _NAMES:
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application_logic)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(scene.GetNodeByID(f"vtkMRMLSliceNode{name}"))
            self.slices[name] = logic
            application_logic.GetSliceLogics().AddItem(logic)
        self.three_d = scene.GetNodeByID("vtkMRMLViewNode1")
        view_logic = slicer.vtkMRMLViewLogic()
        view_logic.SetMRMLApplicationLogic(application_logic)
        view_logic.SetMRMLScene(scene)
        view_logic.AddViewNode(self.three_d.GetLayoutName())
        self.view_logic = view_logic
        application_logic.GetViewLogics().AddItem(view_logic)


class qSlicerLayoutManager(QtCore.QObject):
    """The views by name, and how they are arranged."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self, logics: SliceLogics, application_logic: Any) -> None:
        super().__init__()
        from .slice_view import qMRMLSliceWidget
        from .three_d_view import qMRMLThreeDWidget

        self._logics, self._application_logic = logics, application_logic
        self._slices = {
            name: qMRMLSliceWidget(logic, application_logic) for name, logic in logics.slices.items()
        }
        self._three_d = qMRMLThreeDWidget(logics.three_d, application_logic)
        self._others: dict[str, Any] = {}  # plot and table, made when a layout first shows them
        self._viewport = QtWidgets.QWidget()
        self._viewport.objectName = "CentralWidgetLayoutFrame"
        self._viewport.styleSheet = "#CentralWidgetLayoutFrame { background: #2b2b2b; }"
        self._grid = QtWidgets.QGridLayout(self._viewport)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        for widget in (*self._slices.values(), self._three_d):
            widget.setParent(self._viewport)
        node = logics.layout.GetLayoutNode()
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._arrange())
        self._shown = -1
        self._arrange()
        # Displayable managers look for their slice logic when a batch of changes ends, as it does when Slicer
        # has started.
        slicer.mrmlScene.StartState(slicer.vtkMRMLScene.BatchProcessState)
        slicer.mrmlScene.EndState(slicer.vtkMRMLScene.BatchProcessState)

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def viewport(self) -> Any:
        return self._viewport

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> Any:
        return self._slices.get(name)

    def threeDWidget(self, index: Any) -> Any:
        return self._three_d if index in (0, _THREE_D) else None

    threeDViewCount = qt_property(int, lambda self: 1)
    tableViewCount = qt_property(int, lambda self: int(_TABLE in self._others))
    plotViewCount = qt_property(int, lambda self: int(_PLOT in self._others))

    def tableWidget(self, index: int) -> Any:
        return self._others.get(_TABLE) if index == 0 else None

    def plotWidget(self, index: int) -> Any:
        return self._others.get(_PLOT) if index == 0 else None

    def mrmlSliceLogics(self) -> Any:
        return self._application_logic.GetSliceLogics()

    def mrmlViewLogics(self) -> Any:
        return self._application_logic.GetViewLogics()

    def layoutLogic(self) -> Any:
        return self._logics.layout

    def activeMRMLThreeDViewNode(self) -> Any:
        return self._logics.three_d

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.sliceController().fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        self._three_d.threeDView().resetFocalPoint()
        self._three_d.threeDView().resetCamera()

    def setRenderPaused(self, pause: bool) -> None:
        for widget in (*self._slices.values(), self._three_d):
            widget.viewWidget().renderEnabled = not pause

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    def _layout(self) -> int:
        return self._logics.layout.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        if layout not in _arrangements():
            raise NotImplementedError(f"The test host does not show layout {layout}")
        self._logics.layout.GetLayoutNode().SetViewArrangement(layout)

    layout = qt_property(int, _layout, setLayout)

    def _arrange(self) -> None:
        layout = self._layout()
        cells = _arrangements().get(layout)
        if layout == self._shown or cells is None:
            return
        self._shown = layout
        for name, *_ in cells:
            if name in _OTHERS and name not in self._others:
                self._others[name] = self._make(name)
        widgets = {**self._slices, _THREE_D: self._three_d, **self._others}
        for widget in widgets.values():
            self._grid.removeWidget(widget)
            widget.hide()
            _view_node(widget).SetMappedInLayout(False)
        for name, row, column, rows, columns in cells:
            self._grid.addWidget(widgets[name], row, column, rows, columns)
            _view_node(widgets[name]).SetMappedInLayout(True)
            widgets[name].show()
        self.layoutChanged.emit(layout)

    def _make(self, name: str) -> Any:
        """The widget of a plot or a table; its node is there because the layout logic has made it."""
        node_class = _OTHERS[name]
        plot = name == _PLOT
        widget = qMRMLPlotWidget() if plot else qMRMLTableWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        node = slicer.mrmlScene.GetSingletonNode(name, node_class)
        (widget.setMRMLPlotViewNode if plot else widget.setMRMLTableViewNode)(node)
        widget.setParent(self._viewport)
        return widget


def _view_node(widget: Any) -> Any:
    for name in ("mrmlSliceNode", "mrmlViewNode", "mrmlPlotViewNode", "mrmlTableViewNode"):
        if hasattr(widget, name):
            return getattr(widget, name)()
    raise AttributeError(f"{widget} has no view node")
