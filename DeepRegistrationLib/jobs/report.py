"""A result to read and keep: report.html for people, report.csv for tables, report.json for programs."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .outputs import writing_failed
from .results import ResultFolder

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}th,td{padding:.25em .8em;border-bottom:1px solid "
    "#ddd;"
    "text-align:left}td+td,th+th{text-align:right}.warning{background:#fff3cd;padding:.5em 1em;margin:.3em 0}"
    "footer{color:#666;font-size:.85em}"
)

_SEGMENT_COLUMNS = {
    "dice_before": "Dice before",
    "dice_after": "Dice after",
    "hd95_before_mm": "HD95 before (mm)",
    "hd95_after_mm": "HD95 after (mm)",
    "surface_distance_after_mm": "Mean surface distance (mm)",
    "volume_change_percent": "Volume change (%)",
    "folding_percent": "Folding (%)",
}
_LANDMARK_ROWS = {"mean": "Mean", "p95": "95th percentile", "max": "Largest"}

Row = Sequence[Any]


def write_report(folder: ResultFolder) -> list[Path]:
    """Write the three files into the folder; their paths. Raises InputError, OutputError."""
    contents = {
        "report.html": html(folder),
        "report.csv": csv_text(folder.metrics),
        "report.json": json.dumps({"metrics": folder.metrics, "provenance": folder.provenance}, indent=2)
        + "\n",
    }
    return [_write(folder.path / name, text) for name, text in contents.items()]


def _write(path: Path, text: str) -> Path:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, encoding="utf-8", newline=""
        ) as file:
            temporary = file.name
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise writing_failed(path.parent, error) from error
    return path


def csv_text(metrics: Mapping[str, Any]) -> str:
    """Every number of `metrics` as one row: group, item, measure, value."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["group", "item", "measure", "value"])
    for group, content in metrics.items():
        if not isinstance(content, Mapping):
            continue
        for name, value in content.items():
            if isinstance(value, Mapping):
                writer.writerows([group, name, measure, _cell(v)] for measure, v in value.items())
            elif isinstance(value, list):
                writer.writerows([group, number + 1, name, _cell(v)] for number, v in enumerate(value))
            else:
                writer.writerow([group, "", name, _cell(value)])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else value


def html(folder: ResultFolder) -> str:
    """One page without anything from elsewhere, so that it can be mailed and archived."""
    metrics, made = folder.metrics, folder.provenance
    warnings = [*made.get("messages", ()), *metrics.get("warnings", ())]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Registration report</title>",
        f"<style>{_STYLE}</style><h1>Registration report</h1>",
        f"<p>{escape(_headline(made))}</p>",
        *(f"<p class=warning>{escape(text)}</p>" for text in warnings),
        _landmarks(metrics.get("landmarks")),
        _segments(metrics.get("segments")),
        _numbers("Deformation", metrics.get("deformation")),
        _numbers("Inverse consistency", metrics.get("inverse_consistency")),
        _numbers("Similarity (not a measure of correctness)", metrics.get("similarity")),
        _numbers("Further numbers of the method", made.get("tables")),
        _numbers("Settings", made.get("parameters")),
        _numbers("Files", made.get("files")),
        _numbers("Inputs", made.get("inputs")),
        _numbers("Versions", made.get("versions")),
        "<footer>The transform maps fixed to moving points in LPS millimetres. For research, not for "
        "diagnosis.",
        "</footer></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _headline(made: Mapping[str, Any]) -> str:
    inputs = made.get("inputs", {})
    names = [os.path.basename(inputs.get(side, "")) or f"the {side} image" for side in ("moving", "fixed")]
    return (
        f"{names[0]} was moved onto {names[1]} with {made.get('method', 'an unknown method')} in "
        f"{made.get('seconds', 0.0):.1f} s on {made.get('device', 'an unknown device')}, using "
        f"{made.get('peak_memory_bytes', 0) / 1024**2:.0f} MB of memory (seed {made.get('seed', 0)})."
    )


def _landmarks(landmarks: Mapping[str, Any] | None) -> str:
    if not landmarks or not landmarks.get("count"):
        return ""
    rows = [
        (title, landmarks.get(f"{key}_before_mm"), landmarks.get(f"{key}_after_mm"))
        for key, title in _LANDMARK_ROWS.items()
    ]
    names = landmarks.get("names") or []
    before, after = landmarks.get("before_mm", []), landmarks.get("after_mm", [])
    for k, (b, a) in enumerate(zip(before, after, strict=True)):
        rows.append((names[k] if k < len(names) and names[k] else f"Point {k + 1}", b, a))
    return _table("Landmarks: distance to their partner", ("", "TRE before (mm)", "TRE after (mm)"), rows)


def _segments(segments: Mapping[str, Any] | None) -> str:
    if not segments:
        return ""
    rows = [(name, *(scores.get(key) for key in _SEGMENT_COLUMNS)) for name, scores in segments.items()]
    return _table("Segments", ("", *_SEGMENT_COLUMNS.values()), rows)


def _numbers(title: str, values: Mapping[str, Any] | None) -> str:
    if not values:
        return ""
    rows = [(key.replace("_", " "), value) for key, value in values.items() if key != "note"]
    return _table(title, ("", "Value"), rows)


def _table(title: str, heads: Sequence[str], rows: Iterable[Row]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(_shown(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
