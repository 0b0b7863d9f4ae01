"""Makes PySide classes answer as PythonQt's do inside Slicer.

* Qt properties are attributes: `w.text`, `w.enabled = True`; never `w.text()`.
* `w.connect("clicked(bool)", f)` and `w.disconnect(...)` take signatures as strings; `f` gets as many of the
  signal's arguments as it accepts.
* `w.name` is the object name, `w.className()` the C++ class.
* Setting an attribute that the class does not have raises AttributeError: a misspelt property is found here.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from shiboken6 import getCppPointer

# Their C++ getters are virtual: a descriptor in their place would be called back by C++ without end.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}
# In a custom class a vtk object travels as a Python object.
_VTK_POINTER = re.compile(r"^(vtk\w+|QVariantMap|PyObject)\s*\*?$")

# Python allows `object.__setattr__` only below a type of C, and the lowest one here is Shiboken's.
_set_attribute = QtCore.QObject.__mro__[-2].__setattr__
_connections: dict[int, dict[tuple[str, Any], list[Any]]] = {}
# Setters of the properties of Python classes: only PySide's own __setattr__, replaced here, would find them.
_setters: dict[int, tuple[Any, Any]] = {}
_installed = False
_ignoring = False


@contextmanager
def ignoring_new_attributes() -> Iterator[None]:
    """PySide's loader of .ui files sets every widget as an attribute of its parents; PythonQt's does not."""
    global _ignoring
    _ignoring = True
    try:
        yield
    finally:
        _ignoring = False


class _QtProperty:
    """Data descriptor for one Q_PROPERTY. On the class it gives PySide's own attribute, as C++ expects."""

    def __init__(self, name: str, original: Any, writable: bool) -> None:
        self.name, self.original, self.writable = name, original, writable

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.original
        value = QtCore.QObject.property(instance, self.name)
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"property '{self.name}' of '{type(instance).__name__}' object is read-only")
        if not instance.setProperty(self.name, value):
            raise ValueError(
                f"property '{self.name}' of '{type(instance).__name__}' object cannot be set to {value!r}"
            )


class _ObjectName:
    """PythonQt's `name`, another word for Qt's objectName."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.objectName

    def __set__(self, instance: Any, value: str) -> None:
        instance.objectName = value


def qobject_classes() -> Iterator[type]:
    """Every QObject class of QtCore, QtGui and QtWidgets, base classes first."""
    found: set[type] = set()
    for module in (QtCore, QtGui, QtWidgets):
        # dir, not vars: PySide creates its types when they are first asked for.
        for name in dir(module):
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, QtCore.QObject):
                found.update(c for c in value.__mro__ if issubclass(c, QtCore.QObject))
    yield from sorted(found, key=lambda c: (len(c.__mro__), c.__name__))


def _describe_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        prop = meta.property(index)
        name = prop.name()
        if name not in _VIRTUAL:
            setattr(cls, name, _QtProperty(name, getattr(cls, name, None), prop.isWritable()))


def register_setter(found: Any, write: Callable[[Any, Any], None] | None) -> None:
    """Tell `setattr` how to write a PySide property; None makes it read-only."""
    _setters[id(found)] = (found, write)


_ABSENT = object()


def _class_attribute(cls: type, name: str) -> Any:
    return next((c.__dict__[name] for c in cls.__mro__ if name in c.__dict__), _ABSENT)


def strict_setattr(self: Any, name: str, value: Any) -> None:
    """`__setattr__` of wrapped C++ objects: properties only, as in PythonQt. Python subclasses are free."""
    cls = type(self)
    wrapped = cls.__module__.startswith(("PySide6.", "host."))
    private = name.startswith("_") and cls.__module__.startswith("host.")
    attribute = _class_attribute(cls, name)
    if id(attribute) in _setters:
        write = _setters[id(attribute)][1]
        if write is None:
            raise AttributeError(f"property '{name}' of '{cls.__name__}' object is read-only")
        write(self, value)
        return
    if wrapped and not private and attribute is _ABSENT:
        if _ignoring:
            return
        raise AttributeError(
            f"Attribute '{name}' does not exist and creating new attributes on C++ objects is not allowed"
            f" (class {cls.__name__})"
        )
    _set_attribute(self, name, value)


def split_signature(signature: str) -> tuple[str, list[str]]:
    """`"valueChanged(double)"` becomes `("valueChanged", ["double"])`."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if not match:
        raise ValueError(f"'{signature}' is not a signature such as 'clicked(bool)'")
    types = [t.strip() for t in match.group(2).split(",") if t.strip()]
    return match.group(1), [re.sub(r"^const\s+|\s*&$", "", t) for t in types]


def _meta_signature(name: str, types: list[str]) -> str:
    return f"{name}({','.join('PyObject' if _VTK_POINTER.match(t) else t for t in types)})"


def find_signal(sender: Any, signature: str) -> bytes:
    """The meta-object's spelling of a signal; raises ValueError where the sender has no such signal."""
    name, types = split_signature(signature)
    wanted = _meta_signature(name, types)
    meta = sender.metaObject()
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() != QtCore.QMetaMethod.MethodType.Signal:
            continue
        own_name, own_types = split_signature(method.methodSignature().data().decode())
        if _meta_signature(own_name, own_types) == wanted:
            return method.methodSignature().data()
    raise ValueError(f"{meta.className()}::connect() signal does not exist: {signature}")


def accepted_arguments(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a callable takes at most; None for any number."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _connect(sender: Any, signal: str, *target: Any) -> bool:
    """`sender.connect("signal(type)", f)` and `sender.connect("signal(type)", receiver, "slot(type)")`."""
    function = target[0] if len(target) == 1 else getattr(target[0], split_signature(target[1])[0])
    name = find_signal(sender, signal)
    most = accepted_arguments(function)
    sent = len(split_signature(signal)[1])

    # The parameters are spelt out because PySide asks the callable how many arguments it takes.
    def relay(*arguments: Any) -> None:
        given = arguments[:sent]
        function(*(given if most is None else given[:most]))

    signal_instance = _signal_instance(sender, name.decode())
    signal_instance.connect(relay)
    # A Python wrapper may come and go while the C++ object stays.
    address = getCppPointer(sender)[0]
    if address not in _connections:
        _connections[address] = {}
        sender.destroyed.connect(lambda *_: _connections.pop(address, None))
    _connections[address].setdefault((signal, function), []).append((signal_instance, relay))
    return True


def _signal_instance(sender: Any, signature: str) -> Any:
    """The bound PySide signal with exactly this signature, overloads included."""
    name, _ = split_signature(signature)
    bound = getattr(sender, name)
    types = signature[signature.index("(") + 1 : -1]
    if types and types != "PyObject":
        try:
            return bound[types]
        except (IndexError, KeyError):
            return bound
    return bound


def _disconnect(sender: Any, signal: str, *target: Any) -> bool:
    find_signal(sender, signal)
    function = target[0] if len(target) == 1 else getattr(target[0], split_signature(target[1])[0])
    pending = _connections.get(getCppPointer(sender)[0], {}).pop((signal, function), [])
    for signal_instance, relay in pending:
        signal_instance.disconnect(relay)
    return bool(pending)


def _keep_constants() -> None:
    """PySide loses a reference to True with each signal that Python emits, which ends the process in time.

    From Python 3.12 on these objects are immortal; before, a count that no test run uses up does the same.
    """
    if sys.version_info < (3, 12) and sys.implementation.name == "cpython":
        for constant in (True, False, None):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


def install() -> None:
    """Change PySide's classes, once per process."""
    global _installed
    if _installed:
        return
    _installed = True
    _keep_constants()
    classes = list(qobject_classes())
    for cls in classes:
        _describe_properties(cls)
    QtCore.QObject.name = _ObjectName()
    QtCore.QObject.className = lambda self: self.metaObject().className()
    for cls in classes:
        cls.__setattr__ = strict_setattr
        if hasattr(cls, "exec") and not hasattr(cls, "exec_"):
            cls.exec_ = lambda self, *args: self.exec(*args)
    original = QtCore.QObject.__getattribute__

    def getattribute(self: Any, name: str) -> Any:
        if name == "connect":
            return lambda *arguments: _connect(self, *arguments)
        if name == "disconnect":
            return lambda *arguments: _disconnect(self, *arguments)
        return original(self, name)

    QtCore.QObject.__getattribute__ = getattribute
