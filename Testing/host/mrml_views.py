"""Widgets that show the contents of a node: tables, segments, lists with check boxes."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from shiboken6 import isValid

from .ctk_buttons import ctkCollapsibleButton
from .mrml_widgets import qMRMLWidget
from .node_combo_box import qMRMLNodeComboBox
from .widget_properties import qt_property, stored


class qMRMLCollapsibleButton(ctkCollapsibleButton):
    """A foldable section that hands the scene on to the widgets that are connected to it."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class _Followed:
    """One node that a widget follows; the widget's method is called when the node changes."""

    def __init__(self, widget: Any, method: str) -> None:
        self.node: Any = None
        self._widget, self._method, self._tags = widget, method, []

    def follow(self, node: Any, *events: Any) -> None:
        for caller, tag in self._tags:
            caller.RemoveObserver(tag)
        self._tags = []
        self.node = node
        if node is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, *events):
                self._tags.append((node, node.AddObserver(event, self._relay)))
        self._relay()

    def _relay(self, *_: Any) -> None:
        if isValid(self._widget):
            getattr(self._widget, self._method)()


class qMRMLTableView(QtWidgets.QTableView):
    """The columns of a table node."""

    mrmlSceneChanged = QtCore.Signal(object)
    transposed = stored(bool, "transposed", False)
    firstRowLocked = stored(bool, "firstRowLocked", False)
    firstColumnLocked = stored(bool, "firstColumnLocked", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._model = QtGui.QStandardItemModel(self)
        self._table = _Followed(self, "_fill")
        self.setModel(self._model)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self) -> Any:
        return self._table.node

    def setMRMLTableNode(self, node: Any) -> None:
        self._table.follow(node)

    def _fill(self) -> None:
        self._model.clear()
        node = self._table.node
        if node is None:
            return
        columns = range(node.GetNumberOfColumns())
        self._model.setHorizontalHeaderLabels([node.GetColumnName(c) for c in columns])
        for row in range(node.GetNumberOfRows()):
            self._model.appendRow([QtGui.QStandardItem(node.GetCellText(row, c)) for c in columns])


class qMRMLSegmentsTableView(qMRMLWidget):
    """The segments of a segmentation, with their colours."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    headerVisible = stored(bool, "headerVisible", True)
    readOnly = stored(bool, "readOnly", False)
    selectionMode = stored(int, "selectionMode", 3)
    visibilityColumnVisible = stored(bool, "visibilityColumnVisible", True)
    colorColumnVisible = stored(bool, "colorColumnVisible", True)
    opacityColumnVisible = stored(bool, "opacityColumnVisible", True)
    statusColumnVisible = stored(bool, "statusColumnVisible", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = QtWidgets.QTableView(self)
        self._view.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._items = QtGui.QStandardItemModel(self)
        self._view.setModel(self._items)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)
        self._followed = _Followed(self, "_fill")
        self._view.selectionModel().selectionChanged.connect(self.selectionChanged)

    def segmentationNode(self) -> Any:
        return self._followed.node

    def setSegmentationNode(self, node: Any) -> None:
        events = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved) if node else ()
        self._followed.follow(node, *events)

    def tableWidget(self) -> Any:
        return self._view

    def _ids(self) -> list[str]:
        node = self._followed.node
        return list(node.GetSegmentation().GetSegmentIDs()) if node else []

    segmentCount = qt_property(int, lambda self: len(self._ids()))

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._ids())

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        ids = self._ids()
        return tuple(ids[index.row()] for index in self._view.selectionModel().selectedRows())

    def setSelectedSegmentIDs(self, segmentIDs: Any) -> None:
        self._view.clearSelection()
        flags = QtCore.QItemSelectionModel.SelectionFlag
        for row, segment_id in enumerate(self._ids()):
            if segment_id in segmentIDs:
                index = self._items.index(row, 0)
                self._view.selectionModel().select(index, flags.Select | flags.Rows)

    def clearSelection(self) -> None:
        self._view.clearSelection()

    def _fill(self) -> None:
        self._items.clear()
        self._items.setHorizontalHeaderLabels(["Name"])
        for segment_id in self._ids():
            segment = self._followed.node.GetSegmentation().GetSegment(segment_id)
            item = QtGui.QStandardItem(segment.GetName())
            item.setData(QtGui.QColor.fromRgbF(*segment.GetColor()), QtCore.Qt.ItemDataRole.DecorationRole)
            self._items.appendRow(item)
        self._view.resizeColumnsToContents()


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Chooses a segmentation and one of its segments."""

    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentSegmentChanged = QtCore.Signal(str)
    horizontalLayout = stored(bool, "horizontalLayout", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.addEnabled = self._nodes.removeEnabled = False
        self._segments = QtWidgets.QComboBox(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._followed = _Followed(self, "_fill")
        self._nodes.currentNodeChanged[object].connect(self._node_changed)
        self._segments.currentIndexChanged.connect(
            lambda _: self.currentSegmentChanged.emit(self.currentSegmentID())
        )

    noneEnabled = qt_property(
        bool, lambda self: self._nodes.noneEnabled, lambda self, v: setattr(self._nodes, "noneEnabled", v)
    )
    segmentationNodeSelectorVisible = qt_property(
        bool, lambda self: not self._nodes.isHidden(), lambda self, v: self._nodes.setVisible(v)
    )

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._nodes.setMRMLScene(scene)

    def _node_changed(self, node: Any) -> None:
        events = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved) if node else ()
        self._followed.follow(node, *events)
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)

    def _fill(self) -> None:
        chosen = self.currentSegmentID()
        self._segments.clear()
        node = self._followed.node
        for segment_id in self.segmentIDs():
            self._segments.addItem(node.GetSegmentation().GetSegment(segment_id).GetName(), segment_id)
        if chosen:
            self.setCurrentSegmentID(chosen)

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return self._nodes.currentNodeID

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self._nodes.setCurrentNodeID(node_id)

    def segmentIDs(self) -> tuple[str, ...]:
        node = self._followed.node
        return tuple(node.GetSegmentation().GetSegmentIDs()) if node else ()

    def currentSegmentID(self) -> str:
        return self._segments.itemData(self._segments.currentIndex) or ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._segments.currentIndex = self._segments.findData(segment_id)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A node list in which several nodes can be checked."""

    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._checked: set[str] = set()

    def _nodes(self) -> list[Any]:
        return [self.nodeFromIndex(index) for index in range(self.nodeCount())]

    def checkedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes() if node.GetID() in self._checked)

    def uncheckedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes() if node.GetID() not in self._checked)

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node: Any) -> Any:
        state = QtCore.Qt.CheckState
        return state.Checked if node.GetID() in self._checked else state.Unchecked

    def setCheckState(self, node: Any, check: Any) -> None:
        before = node.GetID() in self._checked
        after = QtCore.Qt.CheckState(check) == QtCore.Qt.CheckState.Checked
        (self._checked.add if after else self._checked.discard)(node.GetID())
        if before != after:
            self.checkedNodesChanged.emit()
