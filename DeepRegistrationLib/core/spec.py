"""How a method declares itself, once, for panel, console, command line and docs.

Parameters are a frozen dataclass whose fields are annotated:

    @dataclass(frozen=True)
    class Parameters:
        iterations: Annotated[int, Range(1, 500), Title("Iterations"), Help("Adam steps.")] = 80

Nothing here imports torch or Slicer.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .segment_settings import PerSegment, SegmentMatrix

if TYPE_CHECKING:
    from .context import Context
    from .grid import Grid
    from .problem import RegistrationProblem
    from .result import RegistrationResult


# ---------------------------------------------------------------------- annotations of a parameter


@dataclass(frozen=True)
class Range:
    """Closed interval of allowed numbers; `step` is what a spin box moves by."""

    minimum: float
    maximum: float
    step: float | None = None


@dataclass(frozen=True)
class Choice:
    """Allowed values with the words a user reads: value -> title."""

    titles: Mapping[str, str]


@dataclass(frozen=True)
class Unit:
    """Physical unit shown behind the number: "mm", "voxels"."""

    text: str


@dataclass(frozen=True)
class Title:
    """Name of the setting as a user reads it."""

    text: str


@dataclass(frozen=True)
class Help:
    """One or two sentences on what the setting does."""

    text: str


@dataclass(frozen=True)
class Advanced:
    """Hidden until the user asks for all settings."""


@dataclass(frozen=True)
class Parameter:
    """One field of a parameter dataclass, read from its annotations."""

    name: str
    type: type
    default: Any
    title: str
    help: str = ""
    unit: str = ""
    range: Range | None = None
    choice: Choice | None = None
    advanced: bool = False
    optional: bool = False
    segments: PerSegment | SegmentMatrix | None = None

    def parse(self, value: Any) -> Any:
        """`value` (a text or a Python value) as this parameter's type, in range.

        Raises InputError that quotes the value and says what is allowed.
        """
        if self.segments is not None:
            return self.segments.parse(self.name, value)
        if self.optional and (value is None or (isinstance(value, str) and value.lower() in ("", "none"))):
            return None
        try:
            converted = self._convert(value)
        except (TypeError, ValueError):
            raise InputError(f"{self.name}={value!r} is not {self._wanted()}.") from None
        if self.choice is not None and converted not in self.choice.titles:
            raise InputError(f"{self.name}={value!r} is not one of {', '.join(self.choice.titles)}.")
        if self.range is not None and not self.range.minimum <= converted <= self.range.maximum:
            raise InputError(
                f"{self.name}={value!r} is out of range; give {self._wanted()} "
                f"between {self.range.minimum:g} and {self.range.maximum:g} {self.unit}".rstrip() + "."
            )
        return converted

    def _convert(self, value: Any) -> Any:
        if self.type is bool:
            if isinstance(value, str):
                words = {"true": True, "yes": True, "1": True, "on": True}
                words |= {"false": False, "no": False, "0": False, "off": False}
                if value.lower() not in words:
                    raise ValueError(value)
                return words[value.lower()]
            if isinstance(value, bool) or value in (0, 1):
                return bool(value)
            raise ValueError(value)
        if isinstance(value, bool):
            raise ValueError(value)
        if self.type is int:
            number = float(value)
            if not number.is_integer():
                raise ValueError(value)
            return int(number)
        if self.type is float:
            number = float(value)
            if number != number:
                raise ValueError(value)
            return number
        if self.type is str and not isinstance(value, str):
            raise ValueError(value)
        return value

    def _wanted(self) -> str:
        return {int: "a whole number", float: "a number", bool: "yes or no", str: "a text"}[self.type]


def parameters_of(declaration: type) -> tuple[Parameter, ...]:
    """The fields of a parameter dataclass, in order of declaration."""
    hints = typing.get_type_hints(declaration, include_extras=True)
    return tuple(_parameter(f.name, hints[f.name], f.default) for f in fields(declaration))


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    notes: Sequence[Any] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [t for t in typing.get_args(hint) if t is not type(None)]
        hint, optional = parts[0], True

    def note(kind: type) -> Any:
        return next((n for n in notes if isinstance(n, kind)), None)

    title, help_, unit = note(Title), note(Help), note(Unit)
    return Parameter(
        name=name,
        type=hint,
        default=default,
        title=title.text if title else name.replace("_", " ").capitalize(),
        help=help_.text if help_ else "",
        unit=unit.text if unit else "",
        range=note(Range),
        choice=note(Choice),
        advanced=note(Advanced) is not None,
        optional=optional,
        segments=note(PerSegment) or note(SegmentMatrix),
    )


# ---------------------------------------------------------------------- the method


class Need(Enum):
    REQUIRED = "required"
    OPTIONAL = "optional"
    UNUSED = "unused"


class Capability(Enum):
    TWO_D = "2-D"
    THREE_D = "3-D"
    MULTIMODAL = "multimodal"
    LINEAR = "linear"
    DEFORMABLE = "deformable"
    DIFFEOMORPHIC = "diffeomorphic"
    INVERSE = "gives inverse"
    UNCERTAINTY = "gives uncertainty"


@dataclass(frozen=True)
class Preset:
    """Settings for one kind of scan: id ("lung-ct"), the title a clinician reads, and parameter values."""

    id: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)


Run = Callable[["RegistrationProblem", Any, "Context"], "RegistrationResult"]


@dataclass(frozen=True)
class MethodSpec:
    """Everything the panel, the console, the command line and the docs know of a method.

    inputs      input name ("fixed_mask", "landmarks" ...) -> Need; what is not named is unused
    parameters  frozen dataclass; see `parameters_of`
    run         run(problem, parameters, context) -> RegistrationResult
    memory      bytes needed for (fixed grid, parameters)
    doubles     whether it computes in float64: it runs on the CPU where the device knows none
    """

    id: str
    title: str
    description: str
    family: str
    paper: str
    doi: str
    parameters: type
    run: Run
    memory: Callable[[Grid, Any], int]
    inputs: Mapping[str, Need] = field(default_factory=dict)
    capabilities: frozenset[Capability] = frozenset()
    presets: Sequence[Preset] = ()
    doubles: bool = False

    def preset(self, preset_id: str) -> Preset:
        for preset in self.presets:
            if preset.id == preset_id:
                return preset
        known = ", ".join(p.id for p in self.presets) or "none"
        raise InputError(f"Method {self.id} has no preset {preset_id!r}; its presets are {known}.")

    def need(self, name: str) -> Need:
        return self.inputs.get(name, Need.UNUSED)

    def make_parameters(self, preset: str | None = None, values: Mapping[str, Any] | None = None) -> Any:
        """The parameter dataclass: defaults, then the preset's values, then `values` (texts are converted).

        Raises InputError for an unknown name, a value of the wrong kind or out of range.
        """
        known = {p.name: p for p in parameters_of(self.parameters)}
        given: dict[str, Any] = dict(self.preset(preset).values) if preset else {}
        given.update(values or {})
        for name in given:
            if name not in known:
                close = _closest(name, known)
                raise InputError(f"Method {self.id} has no parameter {name!r}; {close}")
        return self.parameters(**{name: known[name].parse(value) for name, value in given.items()})


def _closest(name: str, known: Mapping[str, Any]) -> str:
    import difflib

    match = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {match[0]!r}?" if match else f"it has {', '.join(known)}."
