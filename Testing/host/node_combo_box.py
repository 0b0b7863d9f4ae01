"""Slicer's node picker."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from . import dialogs
from .scene_observer import SceneObserver
from .widget_properties import qt_property, stored

_NODE_ROLE = QtCore.Qt.ItemDataRole.UserRole
_ACTION_ROLE = QtCore.Qt.ItemDataRole.UserRole + 1


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A list of the scene's nodes of some types, kept up to date with the scene.

    As in Slicer nothing is selected by itself, and removing the selected node selects its neighbour.
    """

    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAddedByUserAction = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    nodeAboutToBeEdited = QtCore.Signal(object)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "Singleton")
    sizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 0)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._hidden_types: list[str] = []
        self._flags: dict[str, Any] = {
            "showHidden": False,
            "showChildNodeTypes": True,
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "noneDisplay": "None",
        }
        self._base_names: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._attributes: list[tuple[str, str, Any]] = []
        self._actions: list[Any] = []
        self._requested = ""
        self._current = ""
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._combo.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._observer = SceneObserver(self)
        self._combo.activated.connect(self._activated)
        self._combo.currentIndexChanged.connect(self._index_changed)
        self.enabled = False

    # What is offered

    def _flag(name: str, kind: Any = bool) -> Any:
        def write(self: Any, value: Any) -> None:
            self._flags[name] = value
            self._rebuild()

        return qt_property(kind, lambda self: self._flags[name], write)

    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    editEnabled = _flag("editEnabled")
    renameEnabled = _flag("renameEnabled")
    noneDisplay = _flag("noneDisplay", str)

    def _get_types(self) -> tuple[str, ...]:
        return tuple(self._types)

    def _set_types(self, types: Any) -> None:
        self._types = [t for t in types if t]
        self._rebuild()

    def _get_hidden_types(self) -> tuple[str, ...]:
        return tuple(self._hidden_types)

    def _set_hidden_types(self, types: Any) -> None:
        self._hidden_types = [t for t in types if t]
        self._rebuild()

    def _get_base_name(self) -> str:
        return self._base_names.get("", "")

    def _set_base_name(self, name: str) -> None:
        self._base_names[""] = name

    nodeTypes = qt_property("QStringList", _get_types, _set_types)
    hideChildNodeTypes = qt_property("QStringList", _get_hidden_types, _set_hidden_types)
    baseName = qt_property(str, _get_base_name, _set_base_name)

    def addAttribute(self, nodeType: str, attributeName: str, attributeValue: Any = None) -> None:
        self._attributes.append((nodeType, attributeName, attributeValue))
        self._rebuild()

    def removeAttribute(self, nodeType: str, attributeName: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (nodeType, attributeName)]
        self._rebuild()

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label
        self._rebuild()

    def nodeTypeLabel(self, nodeType: str) -> str:
        if nodeType in self._labels:
            return self._labels[nodeType]
        scene = self._observer.scene
        return (scene.GetTypeDisplayNameByClassName(nodeType) if scene and nodeType else "") or "node"

    def addMenuAction(self, action: Any) -> None:
        self._actions.append(action)
        self._rebuild()

    # What is selected

    def mrmlScene(self) -> Any:
        return self._observer.scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._observer.scene:
            return
        requested = self._requested or self._current
        self._observer.watch(scene)
        self._rebuild()
        self.enabled = scene is not None
        self._requested = ""
        if requested:
            self.setCurrentNodeID(requested)

    def nodeCount(self) -> int:
        return len(self._node_rows())

    def nodeFromIndex(self, index: int) -> Any:
        rows = self._node_rows()
        return self._node_at(rows[index]) if 0 <= index < len(rows) else None

    def currentNode(self) -> Any:
        return self._node_at(self._combo.currentIndex)

    def _get_current_id(self) -> str:
        node = self.currentNode()
        return node.GetID() if node else ""

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        node_id = node_id or ""
        if self._observer.scene is None:
            self._requested = node_id
            return
        row = self._combo.findData(node_id, _NODE_ROLE) if node_id else -1
        self._combo.currentIndex = row if row >= 0 else self._nothing()

    def setCurrentNodeIndex(self, index: int) -> None:
        rows = self._node_rows()
        self._combo.currentIndex = rows[index] if 0 <= index < len(rows) else self._nothing()

    currentNodeID = qt_property(str, _get_current_id, setCurrentNodeID, notify=currentNodeIDChanged)

    # What a user does with the scene

    def addNode(self, nodeType: str | None = None) -> Any:
        nodeType = nodeType or (self._types[0] if self._types else None)
        if nodeType not in self._types or self._observer.scene is None:
            return None
        node = self._observer.scene.CreateNodeByClass(nodeType)
        node.UnRegister(None)
        for wanted_type, name, value in self._attributes:
            if wanted_type == nodeType:
                node.SetAttribute(name, "" if value is None else str(value))
        base = self._base_names.get("")
        node = (
            self._observer.scene.AddNewNodeByClass(nodeType, base)
            if base and not self._attributes
            else (self._observer.scene.AddNode(node))
        )
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._observer.scene.RemoveNode(self.currentNode())

    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self.currentNode())

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        if node is None:
            return
        name = dialogs.QInputDialog.getText(self, "Rename", "New name:", None, node.GetName())
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)

    # Keeping up with the scene

    def accepts(self, node: Any) -> bool:
        """Whether the node is of a type, visibility and attributes that are offered."""
        if node.GetHideFromEditors() and not self._flags["showHidden"]:
            return False
        return any(self._accepts_as(node, t) for t in self._types)

    def _accepts_as(self, node: Any, node_type: str) -> bool:
        if not node.IsA(node_type):
            return False
        if not self._flags["showChildNodeTypes"] and node.GetClassName() != node_type:
            return False
        if any(node.IsA(t) and t != node_type for t in self._hidden_types):
            return False
        for wanted_type, name, value in self._attributes:
            if wanted_type == node_type:
                found = node.GetAttribute(name)
                if found is None or (value is not None and found != str(value)):
                    return False
        return True

    def _nothing(self) -> int:
        return 0 if self._flags["noneEnabled"] else -1

    def _node_rows(self) -> list[int]:
        return [row for row in range(self._combo.count) if self._combo.itemData(row, _NODE_ROLE)]

    def _node_at(self, row: int) -> Any:
        node_id = self._combo.itemData(row, _NODE_ROLE) if row >= 0 else None
        return self._observer.scene.GetNodeByID(node_id) if node_id and self._observer.scene else None

    def _rebuild(self, without: Any = None) -> None:
        """Fill the list anew; `without` is a node that is about to leave the scene."""
        combo, scene = self._combo, self._observer.scene
        rows = self._node_rows()
        position = rows.index(combo.currentIndex) if combo.currentIndex in rows else -1
        blocked = combo.blockSignals(True)
        combo.clear()
        if self._flags["noneEnabled"]:
            combo.addItem(self._flags["noneDisplay"])
        count = 0
        for node in slicer.util.getNodesByClass("vtkMRMLNode", scene) if scene else []:
            if node is not without and self.accepts(node):
                combo.addItem(node.GetName() or "", node.GetID())
                count += 1
        self._add_actions()
        combo.placeholderText = f"Select a {self.nodeTypeLabel(self._types[0] if self._types else '')}"
        row = combo.findData(self._current, _NODE_ROLE) if self._current else -1
        if row < 0 and without is not None and position >= 0 and count:
            row = self._node_rows()[min(position, count - 1)]
        combo.currentIndex = row if row >= 0 else self._nothing()
        combo.blockSignals(blocked)
        self._index_changed()

    def _add_actions(self) -> None:
        combo, label = self._combo, self.nodeTypeLabel(self._types[0] if len(self._types) == 1 else "")
        entries = []
        if self._flags["renameEnabled"]:
            entries.append((f"Rename current {label}", self.renameCurrentNode))
        if self._flags["editEnabled"]:
            entries.append((f"Edit current {label}", self.editCurrentNode))
        if self._flags["addEnabled"]:
            for t in self._types:
                entries.append((f"Create new {self.nodeTypeLabel(t)}", lambda t=t: self._create(t)))
        if self._flags["removeEnabled"]:
            entries.append((f"Delete current {label}", self.removeCurrentNode))
        entries.extend((action.text, action.trigger) for action in self._actions)
        if entries:
            combo.insertSeparator(combo.count)
        for text, function in entries:
            combo.addItem(text)
            combo.setItemData(combo.count - 1, function, _ACTION_ROLE)

    def _create(self, node_type: str) -> None:
        node = self.addNode(node_type)
        if node is not None:
            self.setCurrentNode(node)
            self.nodeAddedByUserAction.emit(node)

    def _activated(self, row: int) -> None:
        action = self._combo.itemData(row, _ACTION_ROLE)
        if action is not None:
            before = self._combo.findData(self._current, _NODE_ROLE) if self._current else self._nothing()
            self._combo.currentIndex = before
            action()
            return
        self.nodeActivated.emit(self._node_at(row))

    def _index_changed(self, *_: Any) -> None:
        row = self._combo.currentIndex
        if row >= 0 and self._combo.itemData(row, _ACTION_ROLE) is not None:
            return
        node_id = self._get_current_id()
        if node_id != self._current:
            self._current = node_id
            node = self.currentNode()
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node_id)

    def sceneNodeAdded(self, node: Any) -> None:
        if self.accepts(node):
            self._rebuild()
            self.nodeAdded.emit(node)

    def sceneNodeAboutToBeRemoved(self, node: Any) -> None:
        if self._combo.findData(node.GetID(), _NODE_ROLE) >= 0:
            self.nodeAboutToBeRemoved.emit(node)
            self._rebuild(without=node)

    def sceneNodeModified(self, node: Any) -> None:
        row = self._combo.findData(node.GetID(), _NODE_ROLE)
        if (row >= 0) != self.accepts(node) or (row >= 0 and self._combo.itemText(row) != node.GetName()):
            self._rebuild()

    def sceneChanged(self) -> None:
        self._rebuild()
