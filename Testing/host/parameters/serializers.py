"""How a value lies in a vtkMRMLScriptedModuleNode: parameters are text, nodes are references."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

import slicer

from .annotations import IsInstance, NotNone, Validator, splitAnnotations, unannotatedType

_PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePath)


class Serializer:
    """A value under one name. Most types are one text parameter; the others override these methods."""

    validators: tuple[Validator, ...] = ()

    def __init__(self, kind: Any, default: Any, *validators: Validator) -> None:
        self.kind, self._default, self.validators = kind, default, validators

    def default(self) -> Any:
        return self._default

    def accepts(self, value: Any) -> bool:
        try:
            self.validate(value)
        except (TypeError, ValueError):
            return False
        return True

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        node.SetParameter(name, self.to_text(value))

    def read(self, node: Any, name: str) -> Any:
        return self.from_text(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)

    def to_text(self, value: Any) -> str:
        return str(value)

    def from_text(self, text: str) -> Any:
        return self.kind(text)


class BoolSerializer(Serializer):
    def from_text(self, text: str) -> bool:
        return text == "True"


class EnumSerializer(Serializer):
    def to_text(self, value: Any) -> str:
        return value.name

    def from_text(self, text: str) -> Any:
        if text not in self.kind.__members__:
            raise ValueError(f"The parameter node says '{text}', which is none of {self.kind}")
        return self.kind[text]


class NodeSerializer(Serializer):
    """A node reference, and an empty parameter that tells 'no node' from 'never set'."""

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneSerializer(Serializer):
    def validate(self, value: Any) -> None:
        if value is not None:
            raise ValueError("The value must be None")

    def to_text(self, value: Any) -> str:
        return "True"

    def from_text(self, text: str) -> None:
        return None


class UnionSerializer(Serializer):
    """Each member of the union has its own name, and only the one in use is there."""

    def __init__(self, members: list[Serializer]) -> None:
        super().__init__(None, None)
        self.members = members

    def default(self) -> Any:
        optional = len(self.members) == 2 and isinstance(self.members[1], NoneSerializer)
        return None if optional else self.members[0].default()

    def isIn(self, node: Any, name: str) -> bool:
        return any(m.isIn(node, f"{name}.{i}") for i, m in enumerate(self.members))

    def write(self, node: Any, name: str, value: Any) -> None:
        chosen = [i for i, m in enumerate(self.members) if m.accepts(value)]
        if value is None:  # "no node" is also a value of the node members
            chosen = [i for i in chosen if isinstance(self.members[i], NoneSerializer)] or chosen
        if not chosen:
            raise TypeError(f"The value {value!r} of type {type(value)} fits no member of the union")
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            self.members[chosen[0]].write(node, f"{name}.{chosen[0]}", value)

    def read(self, node: Any, name: str) -> Any:
        for i, member in enumerate(self.members):
            if member.isIn(node, f"{name}.{i}"):
                return member.read(node, f"{name}.{i}")
        raise KeyError(f"The parameter node has no value of {name}")

    def remove(self, node: Any, name: str) -> None:
        for i, member in enumerate(self.members):
            member.remove(node, f"{name}.{i}")


class TupleSerializer(Serializer):
    def __init__(self, members: list[Serializer]) -> None:
        super().__init__(tuple, None)
        self.members = members

    def default(self) -> Any:
        return tuple(m.default() for m in self.members)

    def validate(self, value: Any) -> None:
        if len(tuple(value)) != len(self.members):
            raise ValueError(f"The value must have {len(self.members)} members: {value!r}")

    def isIn(self, node: Any, name: str) -> bool:
        return self.members[0].isIn(node, f"{name}.0")

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        with slicer.util.NodeModify(node):
            for i, (member, v) in enumerate(zip(self.members, value, strict=True)):
                member.write(node, f"{name}.{i}", v)

    def read(self, node: Any, name: str) -> Any:
        return tuple(m.read(node, f"{name}.{i}") for i, m in enumerate(self.members))

    def remove(self, node: Any, name: str) -> None:
        for i, member in enumerate(self.members):
            member.remove(node, f"{name}.{i}")


class ListSerializer(Serializer):
    def __init__(self, member: Serializer) -> None:
        super().__init__(list, None)
        self.member = member

    def default(self) -> Any:
        return []

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def write(self, node: Any, name: str, value: Any) -> None:
        values = list(value)
        for v in values:
            self.member.validate(v)
        with slicer.util.NodeModify(node):
            old = self._length(node, name)
            for i, v in enumerate(values):
                self.member.write(node, f"{name}.{i}", v)
            node.SetParameter(f"{name}.len", str(len(values)))
            for i in range(len(values), old):
                self.member.remove(node, f"{name}.{i}")

    def read(self, node: Any, name: str) -> Any:
        values = [self.member.read(node, f"{name}.{i}") for i in range(self._length(node, name))]
        return _ObservedList(values, lambda v: self.write(node, name, v))

    def remove(self, node: Any, name: str) -> None:
        for i in range(self._length(node, name)):
            self.member.remove(node, f"{name}.{i}")
        node.UnsetParameter(f"{name}.len")


class DictSerializer(ListSerializer):
    """A list of pairs, which keeps the order."""

    def default(self) -> Any:
        return {}

    def write(self, node: Any, name: str, value: Any) -> None:
        super().write(node, name, value.items())

    def read(self, node: Any, name: str) -> Any:
        return _ObservedDict(dict(super().read(node, name)), lambda v: self.write(node, name, v))


class _ObservedList(MutableSequence):
    """A list that writes itself back to the node when it is changed in place."""

    def __init__(self, values: list[Any], save: Any) -> None:
        self._values, self._save = values, save

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._save(self._values)

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._save(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def insert(self, index: int, value: Any) -> None:
        self._values.insert(index, value)
        self._save(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, _ObservedList) else other)


class _ObservedDict(MutableMapping):
    """A dict that writes itself back to the node when it is changed in place."""

    def __init__(self, values: dict[Any, Any], save: Any) -> None:
        self._values, self._save = values, save

    def __getitem__(self, key: Any) -> Any:
        return self._values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values[key] = value
        self._save(self._values)

    def __delitem__(self, key: Any) -> None:
        del self._values[key]
        self._save(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, _ObservedDict) else other)


def createSerializer(annotated: Any) -> tuple[Serializer, tuple[Any, ...]]:
    """The serializer of a possibly annotated type, and the annotations that are not validators."""
    kind, notes = splitAnnotations(annotated)
    serializer = _for_type(kind)
    validators = tuple(n for n in notes if isinstance(n, Validator))
    serializer.validators = (*serializer.validators, *validators)
    return serializer, tuple(n for n in notes if not isinstance(n, Validator))


def _for_type(kind: Any) -> Serializer:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return UnionSerializer([createSerializer(a)[0] for a in arguments])
    if origin is list and arguments:
        return ListSerializer(createSerializer(arguments[0])[0])
    if origin is tuple and arguments:
        return TupleSerializer([createSerializer(a)[0] for a in arguments])
    if origin is dict and arguments:
        return DictSerializer(TupleSerializer([createSerializer(a)[0] for a in arguments]))
    if kind is int:
        return Serializer(int, 0, NotNone(), IsInstance(int))
    if kind is float:
        return Serializer(float, 0, NotNone(), IsInstance((int, float)))
    if kind is str:
        return Serializer(str, "", NotNone(), IsInstance(str))
    if kind is bool:
        return BoolSerializer(bool, False, NotNone(), IsInstance(bool))
    if kind in _PATHS:
        return Serializer(kind, kind(), NotNone(), IsInstance(kind))
    if kind is type(None):
        return NoneSerializer(None, None)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return EnumSerializer(kind, next(iter(kind)), IsInstance(kind))
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeSerializer(kind, None, IsInstance(kind))
    raise TypeError(f"A parameter node cannot hold values of type {kind}")


def _node_classes(datatype: Any) -> list[type] | None:
    """The node classes of a type that is a node or a union of nodes and None; None for any other type."""
    kind = unannotatedType(datatype)
    is_union = typing.get_origin(kind) is typing.Union or isinstance(kind, types.UnionType)
    members = [unannotatedType(a) for a in typing.get_args(kind)] if is_union else [kind]
    nodes = [m for m in members if isinstance(m, type) and issubclass(m, slicer.vtkMRMLNode)]
    others = [m for m in members if m not in nodes and m is not type(None)]
    return nodes if nodes and not others else None


def isNodeOrUnionOfNodes(datatype: Any) -> bool:
    return _node_classes(datatype) is not None


def getNodeTypes(datatype: Any) -> tuple[str, ...]:
    classes = _node_classes(datatype)
    if classes is None:
        raise TypeError(f"{datatype} is no type of node")
    return tuple(cls.__name__ for cls in classes)
