"""`slicer.modules`, `slicer.moduleNames` and the module manager of the application."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widgets import qSlicerWidget
from .widget_properties import qt_property, stored


class qSlicerCoreModule(QtCore.QObject):
    """A module of Slicer that is written in C++; only its logic is here."""

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__()
        self._name, self._logic = name, logic

    name = qt_property(str, lambda self: self._name)
    title = qt_property(str, lambda self: self._name)

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """A module in Python: what its class fills in, and its panel once somebody asks for it."""

    title = stored(str, "title", "")
    helpText = stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    hidden = stored(bool, "hidden", False)
    index = stored(int, "index", -1)
    categories = stored("QStringList", "categories", [])
    contributors = stored("QStringList", "contributors", [])
    dependencies = stored("QStringList", "dependencies", [])
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    icon = stored(QtGui.QIcon, "icon", QtGui.QIcon())
    widgetRepresentationCreationEnabled = stored(bool, "widgetRepresentationCreationEnabled", True)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path
        self._python: Any = None
        self._representation: Any = None
        logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        logic.SetMRMLScene(slicer.mrmlScene)
        self._logic = logic

    name = qt_property(str, lambda self: self._file.stem)
    path = qt_property(str, lambda self: str(self._file))

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def widgetRepresentation(self) -> Any:
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self) -> Any:
        representation = qSlicerScriptedLoadableModuleWidget(self._file)
        representation.setMRMLScene(slicer.mrmlScene)
        representation.reload()
        return representation


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The widget that the application shows for a module in Python."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file, self._entered, self._self = path, False, None
        QtWidgets.QVBoxLayout(self)

    isEntered = qt_property(bool, lambda self: self._entered)

    def self(self) -> Any:
        return self._self

    def reload(self) -> None:
        name = self._file.stem + "Widget"
        self._self = getattr(sys.modules[self._file.stem], name)(self)
        setattr(slicer.modules, name, self._self)
        self._self.setup()

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._self, "enter"):
            self._self.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._self, "exit"):
            self._self.exit()


class qSlicerModuleFactoryManager(QtCore.QObject):
    """Knows the names of the loaded modules."""

    def __init__(self, names: Callable[[], tuple[str, ...]]) -> None:
        super().__init__()
        self._names = names

    def loadedModuleNames(self) -> tuple[str, ...]:
        return self._names()


class qSlicerModuleManager(QtCore.QObject):
    """Modules by name."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}
        self._factory = qSlicerModuleFactoryManager(self.modulesNames)

    def factoryManager(self) -> Any:
        return self._factory

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def _add(self, module: Any) -> None:
        name = module.name
        self._modules[name] = module
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.moduleNames, name, name)
        self.moduleLoaded.emit(name)

    def _remove(self, name: str) -> None:
        self.moduleAboutToBeUnloaded.emit(name)
        del self._modules[name]
        for attribute in (name.lower(), name + "Widget", name + "Instance"):
            vars(slicer.modules).pop(attribute, None)
        vars(slicer.moduleNames).pop(name, None)


def prepare_namespaces() -> None:
    slicer.modules = SimpleNamespace()
    slicer.moduleNames = SimpleNamespace()


def load_scripted(manager: qSlicerModuleManager, path: Path) -> qSlicerScriptedLoadableModule:
    """Import a module's file as Slicer does, run the class that describes it, and make it known."""
    name = path.stem
    # A module imports its neighbours by their bare names.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source
    spec.loader.exec_module(source)
    module = qSlicerScriptedLoadableModule(path)
    module._python = getattr(source, name)(module)
    setattr(slicer.modules, name + "Instance", module._python)
    manager._add(module)
    return module
