"""Settings that a user makes segment by segment, or for pairs of segments. Importing this loads nothing heavy.

A parameter of this kind is a `dict | None`, None for "all defaults", annotated with what may stand in it:

    coherence: Annotated[dict | None, SegmentMatrix(Range(0, 1), 0.0, 1.0), Title("Coherence")] = None

Only what the user set is kept, as {"liver": {"bandwidth": 30.0}} or, for pairs, {"liver": {"spleen": 0.2}} with
each pair once, so that it survives JSON. A text is read as JSON.
"""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .spec import Range

Settings = dict[str, dict[str, float]]
#: differences of a number that was written down and read again
_SAME = 1e-9


@dataclass(frozen=True)
class Column:
    """One number that every segment has.

    title    as a user reads it
    range    closed interval of allowed values
    default  for segments of which nothing was said
    unit     "mm", or "" for a number without one
    """

    title: str
    range: Range
    default: float
    unit: str = ""
    help: str = ""


@dataclass(frozen=True)
class PerSegment:
    """A table: one row a segment, `columns` by id."""

    columns: Mapping[str, Column]

    def parse(self, name: str, given: Any) -> Settings | None:
        """What was set, from a mapping or its JSON text; None where that is nothing.

        Raises InputError, which begins with the `name` of the parameter.
        """
        read: Settings = {}
        for segment, row in _rows(name, given, f'{{"liver": {{"{next(iter(self.columns))}": 1}}}}'):
            for key, value in row.items():
                if key not in self.columns:
                    known = ", ".join(self.columns)
                    raise InputError(f"{name}: {segment!r} has {key!r}, but what can be set for a segment is {known}.")
                column = self.columns[key]
                read.setdefault(segment, {})[key] = _number(
                    f"{name}: {key} of {segment!r}", value, column.range, column.unit
                )
        return read or None

    def value(self, settings: Mapping[str, Mapping[str, float]] | None, segment: str, column: str) -> float:
        """The number of one segment: what was set, or the default."""
        return float(((settings or {}).get(segment) or {}).get(column, self.columns[column].default))


@dataclass(frozen=True)
class SegmentMatrix:
    """A symmetric matrix: one row and one column a segment, `diagonal` where both are the same segment.

    range    closed interval of allowed values
    default  for pairs of which nothing was said
    """

    range: Range
    default: float
    diagonal: float

    def parse(self, name: str, given: Any) -> Settings | None:
        """What was set, each pair once; from a mapping or its JSON text; None where that is nothing.

        Raises InputError, which begins with the `name` of the parameter, also where a pair was given twice with
        different numbers or the diagonal is not what it has to be.
        """
        pairs: dict[tuple[str, str], float] = {}
        for segment, row in _rows(name, given, f'{{"liver": {{"spleen": {self.range.maximum:g}}}}}'):
            for other, value in row.items():
                number = _number(f"{name}: {segment!r} with {other!r}", value, self.range)
                if other == segment:
                    if abs(number - self.diagonal) > _SAME:
                        raise InputError(
                            f"{name}: {segment!r} with itself is {number:g}, but that is always {self.diagonal:g}; "
                            "leave it out."
                        )
                    continue
                pair = (min(segment, other), max(segment, other))
                if abs(pairs.setdefault(pair, number) - number) > _SAME:
                    raise InputError(
                        f"{name}: {pair[0]!r} with {pair[1]!r} was given as {pairs[pair]:g} and as {number:g}, but "
                        "both are the same pair; give it once."
                    )
        read: Settings = {}
        for (first, second), number in pairs.items():
            read.setdefault(first, {})[second] = number
        return read or None

    def value(self, settings: Mapping[str, Mapping[str, float]] | None, a: str, b: str) -> float:
        """The number of one pair, whichever is named first: what was set, or the default."""
        if a == b:
            return self.diagonal
        found = ((settings or {}).get(a) or {}).get(b)
        if found is None:
            found = ((settings or {}).get(b) or {}).get(a, self.default)
        return float(found)

    def array(
        self, settings: Mapping[str, Mapping[str, float]] | None, names: Sequence[str]
    ) -> NDArray[np.float64]:
        """(K, K) symmetric, rows and columns in the order of `names`."""
        import numpy as np

        return np.array([[self.value(settings, a, b) for b in names] for a in names], dtype=np.float64)


def segments_named(settings: Mapping[str, Mapping[str, float]] | None, pairs: bool) -> list[str]:
    """The segments that settings speak of, in their order; `pairs`: those of a SegmentMatrix."""
    rows = settings or {}
    columns = [other for row in rows.values() for other in row] if pairs else []
    return list(dict.fromkeys([*rows, *columns]))


def check_segment_names(
    name: str, settings: Mapping[str, Mapping[str, float]] | None, known: Iterable[str], *, pairs: bool = False
) -> None:
    """Raises InputError for a segment in the settings `name` that is not one of `known`."""
    there = list(dict.fromkeys(known))
    for segment in segments_named(settings, pairs):
        if segment not in there:
            match = difflib.get_close_matches(segment, there, n=1)
            hint = f"did you mean {match[0]!r}?" if match else f"the segments are {', '.join(there) or 'none'}."
            raise InputError(f"{name}: there is no segment {segment!r}; {hint}")


def only_known(
    settings: Mapping[str, Mapping[str, float]] | None, known: Iterable[str], *, pairs: bool = False
) -> Settings | None:
    """The settings without what they say of segments that are not `known`."""
    there = set(known)
    kept = {
        segment: {key: value for key, value in row.items() if not pairs or key in there}
        for segment, row in (settings or {}).items()
        if segment in there
    }
    return {segment: row for segment, row in kept.items() if row} or None


def _rows(name: str, given: Any, example: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    read = _read_text(given) if isinstance(given, str) else given
    if read is None:
        return
    if not isinstance(read, Mapping):
        raise InputError(f"{name}={given!r} is not a table of segments; write for example {name}='{example}'.")
    for segment, row in read.items():
        if not isinstance(segment, str) or not isinstance(row, Mapping):
            raise InputError(
                f"{name}: {segment!r} has {row!r} where a table of numbers is wanted; write for example "
                f"{name}='{example}'."
            )
        yield segment, row


def _read_text(text: str) -> Any:
    """JSON, or what Python prints for a dictionary; the text itself where it is neither."""
    if text.strip().lower() in ("", "none", "null"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _number(what: str, value: Any, allowed: Range, unit: str = "") -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise InputError(f"{what} is {value!r}, which is not a number; give one.")
    if not allowed.minimum <= number <= allowed.maximum:
        raise InputError(
            f"{what} is {number:g}, which is out of range; give a number between {allowed.minimum:g} and "
            f"{allowed.maximum:g} {unit}".rstrip()
            + "."
        )
    return number
