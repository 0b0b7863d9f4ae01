"""The table view of a layout: heads and cells as Slicer's own view of a table node shows them.

For the layout manager (layouts with a table: SlicerLayoutFourUpTableView, SlicerLayoutFourUpPlotTableView, ...):

    widget = qMRMLTableWidget()
    widget.setMRMLScene(scene)
    widget.setMRMLTableViewNode(node)     # the vtkMRMLTableViewNode that the layout logic made

`tableWidget(0)` of the layout manager is this widget; `tableView()` is the table in it.
"""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_views import _Followed
from .mrml_widgets import qMRMLWidget
from .widget_properties import stored


class qMRMLTableView(QtWidgets.QTableView):
    """The columns of the table that a table view node shows."""

    mrmlSceneChanged = QtCore.Signal(object)
    transposed = stored(bool, "transposed", False)
    firstRowLocked = stored(bool, "firstRowLocked", False)
    firstColumnLocked = stored(bool, "firstColumnLocked", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._model = QtGui.QStandardItemModel(self)
        self._sorted = QtCore.QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self.setModel(self._sorted)
        self._view_node = _Followed(self, "_view_changed")
        self._table = _Followed(self, "_fill")

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableViewNode(self) -> Any:
        return self._view_node.node

    def setMRMLTableViewNode(self, node: Any) -> None:
        self._view_node.follow(node)

    def mrmlTableNode(self) -> Any:
        return self._table.node

    def setMRMLTableNode(self, node: Any) -> None:
        self._table.follow(node)

    def sortFilterProxyModel(self) -> Any:
        return self._sorted

    def _view_changed(self) -> None:
        node = self._view_node.node
        table = node.GetTableNode() if node is not None else None
        if table is not self._table.node:
            self._table.follow(table)

    def _fill(self) -> None:
        self._model.clear()
        node = self._table.node
        table = node.GetTable() if node is not None else None
        if table is None or table.GetNumberOfColumns() == 0:
            return
        first = 1 if node.GetUseFirstColumnAsRowHeader() else 0
        titled = node.GetUseColumnTitleAsColumnHeader()
        columns = range(first, table.GetNumberOfColumns())
        if titled:
            self._model.setHorizontalHeaderLabels([_head(node, table.GetColumnName(c)) for c in columns])
        else:
            self._model.appendRow([QtGui.QStandardItem(table.GetColumnName(c)) for c in columns])
        for row in range(table.GetNumberOfRows()):
            self._model.appendRow([self._cell(node, row, c) for c in columns])
            if first:
                text = table.GetValue(row, 0).ToString()
                self._model.setVerticalHeaderItem(self._model.rowCount() - 1, QtGui.QStandardItem(text))

    @staticmethod
    def _cell(node: Any, row: int, column: int) -> QtGui.QStandardItem:
        values = node.GetTable().GetColumn(column)
        item = QtGui.QStandardItem()
        if isinstance(values, vtk.vtkBitArray):
            item.setCheckable(True)
            state = QtCore.Qt.CheckState
            item.setCheckState(state.Checked if values.GetValue(row) else state.Unchecked)
        else:
            item.setText(node.GetTable().GetValue(row, column).ToString())
        item.setEditable(not node.GetLocked())
        item.setToolTip(node.GetColumnDescription(values.GetName()))
        return item


def _head(node: Any, name: str) -> str:
    title = node.GetColumnTitle(name) or name
    unit = node.GetColumnUnitLabel(name)
    return f"{title} [{unit}]" if unit else title


class qMRMLTableViewControllerWidget(qMRMLWidget):
    """The bar above a table view."""

    def __init__(self) -> None:
        super().__init__()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(7, 3, 4, 3)
        layout.addWidget(QtWidgets.QLabel("T", self))


class qMRMLTableWidget(qMRMLWidget):
    """Bar and table of a table view."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = qMRMLTableView(self)
        self._controller = qMRMLTableViewControllerWidget()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._view, 1)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._view.setMRMLScene(scene)

    def mrmlTableViewNode(self) -> Any:
        return self._view.mrmlTableViewNode()

    def mrmlAbstractViewNode(self) -> Any:
        return self._view.mrmlTableViewNode()

    def setMRMLTableViewNode(self, node: Any) -> None:
        self._view.setMRMLTableViewNode(node)

    def tableView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def tableController(self) -> Any:
        return self._controller

    def controllerWidget(self) -> Any:
        return self._controller
