"""The numbers of a result for tables and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = Sequence[Any]

#: what makes a spreadsheet take a text for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AXES = "xyz"


def csv_text(metrics: Mapping[str, Any]) -> str:
    """Every number of `metrics` as one row: group, item, measure, value."""
    return as_csv(("group", "item", "measure", "value"), _rows(metrics))


def _rows(metrics: Mapping[str, Any]) -> Iterator[Row]:
    for group, content in metrics.items():
        if not isinstance(content, Mapping):
            continue
        for name, value in content.items():
            if isinstance(value, Mapping):
                yield from ((group, name, measure, v) for measure, v in value.items())
            elif isinstance(value, list):
                for number, v in enumerate(value, start=1):
                    yield from _listed(group, number, name, v)
            else:
                yield group, "", name, value


def _listed(group: str, number: int, name: str, value: Any) -> Iterator[Row]:
    if isinstance(value, list):  # the coordinates of a point
        yield from ((group, number, f"{name}_{axis}", v) for axis, v in zip(_AXES, value, strict=False))
    else:
        yield group, number, name, value


def as_csv(heads: Sequence[str], rows: Iterable[Row]) -> str:
    """Comma-separated text; None is an empty cell, and no text can pass for a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(heads)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value  # names come from files of others
    return value


def json_text(content: Mapping[str, Any]) -> str:
    """Indented JSON."""
    return json.dumps(content, indent=2) + "\n"
