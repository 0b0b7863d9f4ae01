"""What may stand in `Annotated[type, ...]`: default, limits, steps."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Annotated, Any


class Default:
    """The value of a parameter that the node does not have yet."""

    def __init__(self, value: Any = None, *, generator: Any = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


class Decimals:
    """Digits after the point that a spin box or a slider shows."""

    def __init__(self, value: int) -> None:
        self.value = value


class SingleStep:
    """Step of a spin box or a slider."""

    def __init__(self, value: float) -> None:
        self.value = value


class Validator:
    """Something a value must satisfy before it is written."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say what is valid")


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("The value must not be None")


class IsInstance(Validator):
    def __init__(self, classtype: Any) -> None:
        self.classtype = classtype

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"The value must be of type {self.classtype}, not {type(value)} ({value!r})")


class Minimum(Validator):
    def __init__(self, minimum: Any) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"The value must be at least {self.minimum}, not {value}")


class Maximum(Validator):
    def __init__(self, maximum: Any) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"The value must be at most {self.maximum}, not {value}")


class WithinRange(Validator):
    def __init__(self, minimum: Any, maximum: Any) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"The value must be within {self.minimum} and {self.maximum}, not {value}")


class Choice(Validator):
    def __init__(self, choices: Any) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"The value must be one of {self.choices}, not {value!r}")


class Exclude(Validator):
    def __init__(self, excludedValues: Any) -> None:
        self.excludedValues = excludedValues

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"The value must not be one of {self.excludedValues}, but it is {value!r}")


def splitAnnotations(possiblyAnnotatedType: Any) -> tuple[Any, tuple[Any, ...]]:
    """The bare type, and what stands beside it in `Annotated`."""
    # One more annotation makes every type an annotated one, and nested ones flatten.
    bare, *notes = typing.get_args(Annotated[possiblyAnnotatedType, None])
    return bare, tuple(notes[:-1])


def unannotatedType(possiblyAnnotatedType: Any) -> Any:
    return splitAnnotations(possiblyAnnotatedType)[0]


def findFirstAnnotation(annotationsList: Iterable[Any], annotationType: type) -> Any:
    return next((a for a in annotationsList if isinstance(a, annotationType)), None)
