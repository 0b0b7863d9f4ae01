"""Life of a scripted module's panel: its parameter node, the closing of the scene, entering and leaving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin


class Panel(ABC):
    """What a module shows and does."""

    @abstractmethod
    def show(self, parameters: Any) -> None:
        """Show a parameter node; None: the scene goes away, and with it what a running job is about."""

    @abstractmethod
    def refresh(self, caller: Any = None, event: Any = None) -> None:
        """Make every widget agree with the parameter node; also called by VTK when that is modified."""

    @abstractmethod
    def close(self) -> None:
        """The application closes or the module is reloaded: nothing stays behind."""

    def enter(self) -> None:  # noqa: B027
        """The user has opened the module; its parameter node is shown already."""

    def leave(self) -> None:  # noqa: B027
        """The user goes to another module."""


class ModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin, ABC):
    """Base of the modules' widgets: loads `UI/<module>.ui`, makes logic and panel, and keeps the panel at the
    scene's parameter node. `ui`, `logic` and `panel` are there after `setup`.
    """

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.panel: Any = None
        self._parameterNode: Any = None
        self._parameterNodeGuiTag: Any = None

    @abstractmethod
    def makeLogic(self) -> Any:
        """The logic of the module; its `getParameterNode` gives the wrapped parameter node."""

    @abstractmethod
    def makePanel(self) -> Panel:
        """The panel, made when `ui` and `logic` are there."""

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = self.makeLogic()
        self.panel = self.makePanel()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes or the module is reloaded: nothing stays behind."""
        if self.panel is not None:
            self.panel.close()
            self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the user opens another module."""
        self.panel.leave()

    def onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        """The parameter node goes away, and with it what a running job is about."""
        self.setParameterNode(None)

    def onSceneEndClose(self, _caller: Any, _event: Any) -> None:
        """Where the module is shown, it needs a new parameter node at once."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that the parameter node exists and is observed."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, inputParameterNode: Any) -> None:
        """Show another parameter node, or none."""
        old, new = self._parameterNode, inputParameterNode
        if old and new and old.parameterNode is new.parameterNode:
            self.panel.refresh()
            return
        if old:
            old.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(old, vtk.vtkCommand.ModifiedEvent, self.panel.refresh)
        self._parameterNode = new
        if new:
            self._parameterNodeGuiTag = new.connectGui(self.ui)
            self.addObserver(new, vtk.vtkCommand.ModifiedEvent, self.panel.refresh)
        self.panel.show(new)
