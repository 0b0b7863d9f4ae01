"""The class decorator `parameterNodeWrapper`."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import qt
import slicer
import vtk

from .annotations import Default
from .connectors import GuiConnector, createGuiConnector
from .serializers import Serializer, createSerializer

SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass(frozen=True)
class _Parameter:
    name: str
    annotated: Any
    serializer: Serializer
    default: Default


def isParameterNodeWrapper(classOrObj: Any) -> bool:
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    for child in widget.findChildren(qt.QWidget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None


def _parameters(cls: type) -> dict[str, _Parameter]:
    found = {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        try:
            serializer, notes = createSerializer(annotated)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{name}: {error}") from error
        defaults = [n for n in notes if isinstance(n, Default)]
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        else:
            default = defaults[0] if defaults else Default(serializer.default())
        found[name] = _Parameter(name, annotated, serializer, default)
    return found


class _Wrapper:
    """What every wrapped class gets. Names are Slicer's."""

    allParameters: dict[str, _Parameter]
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._connectors: dict[int, dict[str, GuiConnector]] = {}
        self._observers: dict[int, int] = {}
        self._next_tag = 0
        self._updating = False
        for parameter in self.allParameters.values():
            if not parameter.serializer.isIn(parameterNode, self._prefix + parameter.name):
                parameter.serializer.write(
                    parameterNode, self._prefix + parameter.name, parameter.default.value
                )

    def _find(self, name: str) -> _Parameter:
        if name not in self.allParameters:
            known = ", ".join(self.allParameters)
            raise ValueError(f"Cannot find a param with the given name: {name} (there are {known})")
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        parameter, full = self._find(name), self._prefix + name
        if not parameter.serializer.isIn(self.parameterNode, full):
            parameter.serializer.write(self.parameterNode, full, parameter.default.value)
        return parameter.serializer.read(self.parameterNode, full)

    def setValue(self, name: str, value: Any) -> None:
        self._find(name).serializer.write(self.parameterNode, self._prefix + name, value)

    def default(self, name: str) -> Default:
        return self._find(name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        if name not in cls.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return cls.allParameters[name].annotated

    def connectGui(self, gui: Any) -> int:
        """Join the parameters with the widgets that carry their name in the property SlicerParameterName."""
        is_widget = isinstance(gui, qt.QWidget)
        widgets = gui.findChildren(qt.QWidget) if is_widget else gui.__dict__.values()
        named = {w.property(SlicerParameterNamePropertyName): w for w in widgets}
        return self.connectParametersToGui({name: w for name, w in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        for name in mapping:
            self._find(name)
        connectors = {
            name: w if isinstance(w, GuiConnector) else createGuiConnector(w, self.dataType(name))
            for name, w in mapping.items()
        }
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._connectors[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(lambda name=name, connector=connector: self._gui_changed(name, connector))
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update_gui())
        return tag

    def disconnectGui(self, guiTag: Any) -> None:
        for connector in self._connectors.pop(guiTag, {}).values():
            connector.onChanged(None)
        if guiTag in self._observers:
            self.RemoveObserver(self._observers.pop(guiTag))

    def _gui_changed(self, name: str, connector: GuiConnector) -> None:
        with slicer.util.NodeModify(self):
            if not self._updating:
                self.setValue(name, connector.read())

    def _update_gui(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in list(self._connectors.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: Any) -> Any:
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _wrap(cls: type) -> type:
    parameters = _parameters(cls)
    for name in parameters:
        setattr(cls, name, _property(name))
    for name, value in vars(_Wrapper).items():
        if name.startswith("__") and name != "__init__":
            continue
        if name != "__init__" and hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, value)
    cls.allParameters = parameters
    return cls


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Turn the annotations of a class into properties that live in a vtkMRMLScriptedModuleNode."""
    return _wrap if classtype is None else _wrap(classtype)
