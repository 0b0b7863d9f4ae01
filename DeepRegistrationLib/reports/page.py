"""A result to read and keep: report.html for people, report.csv for tables, report.json for programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import elements, plots
from .picture import Picture
from .sentences import headline, no_warning, not_measured, notes, warnings
from .tables import csv_text, json_text
from .writing import write_texts

if TYPE_CHECKING:
    from ..jobs.results import ResultFolder

#: key in metrics.json -> head of the column, digits after the point (None: four significant ones)
SEGMENT_COLUMNS: dict[str, tuple[str, int | None]] = {
    "dice_before": ("Dice before", 3),
    "dice_after": ("Dice after", 3),
    "hd95_before_mm": ("HD95 before (mm)", 2),
    "hd95_after_mm": ("HD95 after (mm)", 2),
    "surface_distance_before_mm": ("Mean surface distance before (mm)", 2),
    "surface_distance_after_mm": ("Mean surface distance after (mm)", 2),
    "volume_change_percent": ("Volume change (%)", 1),
    "jacobian_mean": ("Mean Jacobian", 2),
    "jacobian_min": ("Smallest Jacobian", 2),
    "folding_percent": ("Folding (%)", None),
    "uncertainty_mean_mm": ("Mean uncertainty (mm)", 2),
}
_DEFORMATION_ROWS = {
    "region": "Measured in",
    "voxels": "Voxels measured",
    "folding_percent": "Folding (%)",
    "sd_log_jacobian": "SDlogJ, the spread of the logarithm of the Jacobian",
    "jacobian_min": "Smallest Jacobian",
    "jacobian_max": "Largest Jacobian",
    "jacobian_mean": "Mean Jacobian",
    "displacement_mean_mm": "Mean displacement (mm)",
    "displacement_p95_mm": "Displacement, 95th percentile (mm)",
    "displacement_max_mm": "Largest displacement (mm)",
    "outside_moving_percent": "Mapped outside the moving scan (%)",
    "outside_moving_percent_before": "Outside the moving scan before (%)",
}
_INVERSE_ROWS = {
    "points": "Points looked at",
    "mean_mm": "Mean error there and back (mm)",
    "p95_mm": "95th percentile (mm)",
    "max_mm": "Largest (mm)",
}
_LANDMARK_ROWS = {"mean": "Mean", "p95": "95th percentile", "max": "Largest"}
_MAP_COLUMNS = {"mean": "Mean", "p50": "Median", "p95": "95 %", "p99": "99 %", "min": "Smallest", "max": "Largest"}


def write_report(
    folder: ResultFolder, pictures: Sequence[Picture] | None = None, out: Path | None = None
) -> list[Path]:
    """Write report.html, report.csv and report.json; their paths.

    pictures  what the page shows; drawn from the files of the result (see pictures.py) where None
    out       where to write; the folder of the result itself where None
    Raises InputError where the result cannot be read, OutputError where the place refuses.
    """
    missing: list[str] = []
    if pictures is None:
        from .pictures import result_pictures

        pictures, missing = result_pictures(folder)
    return write_measured(out or folder.path, folder.metrics, folder.provenance, pictures, missing)


def write_measured(
    out: Path,
    metrics: Mapping[str, Any],
    provenance: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    missing: Sequence[str] = (),
) -> list[Path]:
    """The same three files for numbers that are at hand, as metrics.json and provenance.json hold them.

    missing   sentences on what could not be drawn
    Raises OutputError where the place refuses.
    """
    content = {
        "metrics": metrics,
        "provenance": provenance,
        "not_measured": not_measured(metrics, provenance),
    }
    return write_texts(
        Path(out),
        {
            "report.html": html(metrics, provenance, pictures, missing),
            "report.csv": csv_text(metrics),
            "report.json": json_text(content),
        },
    )


def html(
    metrics: Mapping[str, Any],
    made: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    missing: Sequence[str] = (),
) -> str:
    """The page; see `write_measured`."""
    body = [
        "<header><h1>Registration report</h1>",
        elements.paragraph(headline(made)),
        "</header><main>",
        _first(metrics, made),
        _tiles(metrics),
        elements.section("Not measured", elements.bullets(not_measured(metrics, made))),
        elements.section("Pictures", elements.figures(pictures), elements.bullets(missing, "notes")),
        _segments(metrics.get("segments")),
        _landmarks(metrics.get("landmarks")),
        _named("Deformation", metrics.get("deformation"), _DEFORMATION_ROWS),
        _named("Inverse consistency", metrics.get("inverse_consistency"), _INVERSE_ROWS),
        _maps(metrics.get("maps")),
        _similarity(metrics.get("similarity")),
        _made(made),
        "</main>",
        "<footer>The transform maps fixed to moving points in LPS millimetres. For research, not for diagnosis."
        "</footer>",
    ]
    return elements.document(f"Registration report: {_scan(made, 'moving')} onto {_scan(made, 'fixed')}", body)


def _scan(made: Mapping[str, Any], side: str) -> str:
    return os.path.basename(str((made.get("inputs") or {}).get(side) or "")) or side


def _first(metrics: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """What to read before anything else."""
    found = warnings(metrics)
    parts = [elements.bullets(found, "warnings")]
    if not found:
        parts.append(elements.paragraph(no_warning(metrics), "notes"))
    said = notes(metrics, made)
    if said:
        parts += [elements.paragraph("What the program noted on the way:"), elements.bullets(said, "notes")]
    return elements.section("Warnings" if found else "Read this first", *parts)


# ---------------------------------------------------------------------- numbers


def _tiles(metrics: Mapping[str, Any]) -> str:
    """The few numbers that say most."""
    entries: list[tuple[str, str, str]] = []
    marks, overlap = metrics.get("landmarks") or {}, metrics.get("overlap") or {}
    deformation, inverse = metrics.get("deformation") or {}, metrics.get("inverse_consistency") or {}

    def change(title: str, source: Mapping[str, Any], key: str, unit: str, form: str, remark: str) -> None:
        before, after = (source.get(key.format(when)) for when in ("before", "after"))
        if after is not None:
            start = elements.DASH if before is None else form.format(before)
            entries.append((title, f"{start} \u2192 {form.format(after)}{unit}", remark))

    def one(title: str, source: Mapping[str, Any], key: str, unit: str, remark: str) -> None:
        if source.get(key) is not None:
            entries.append((title, f"{elements.brief(source[key])}{unit}", remark))

    count = overlap.get("count") or 0
    change("Dice", overlap, "dice_mean_{}", "", "{:.3f}", f"mean of {count} segments")
    change("HD95", overlap, "hd95_mean_{}_mm", " mm", "{:.2f}", f"mean of {count} segments")
    change("TRE", marks, "mean_{}_mm", " mm", "{:.2f}", f"mean of {marks.get('count')} landmarks")
    one("Folding", deformation, "folding_percent", " %", f"of the {deformation.get('region')}")
    one("Smallest Jacobian", deformation, "jacobian_min", "", "1 keeps the volume, 0 or less folds")
    one("SDlogJ", deformation, "sd_log_jacobian", "", "0 is no change of volume anywhere")
    one("Displacement", deformation, "displacement_mean_mm", " mm", "mean")
    one("There and back", inverse, "p95_mm", " mm", "error of the inverse, 95th percentile")
    return elements.section("At a glance", elements.tiles(entries))


def _landmarks(landmarks: Mapping[str, Any] | None) -> str:
    rows: list[tuple[Any, ...]] = list(plots.landmark_rows(landmarks))
    if not rows or landmarks is None:
        return ""
    summary = [
        (title, landmarks.get(f"{key}_before_mm"), landmarks.get(f"{key}_after_mm"))
        for key, title in _LANDMARK_ROWS.items()
    ]
    heads = ("", "TRE before (mm)", "TRE after (mm)")
    return elements.section(
        "Landmarks",
        elements.paragraph("TRE: how far a moved fixed landmark ends from its partner in the moving scan."),
        elements.beside(
            plots.landmark_bars(landmarks),
            elements.table("Distance of landmarks to their partners", heads, summary + rows, (2, 2)),
        ),
    )


def _segments(segments: Mapping[str, Any] | None) -> str:
    if not segments:
        return ""
    # a column nobody filled says nothing; that it is missing stands under "Not measured"
    columns = {
        key: column
        for key, column in SEGMENT_COLUMNS.items()
        if any(scores.get(key) is not None for scores in segments.values())
    }
    rows = [(name, *(scores.get(key) for key in columns)) for name, scores in segments.items()]
    return elements.section(
        "Segments",
        elements.beside(
            elements.plot(
                "Overlap (Dice)", "1: the segments of both scans cover each other.", plots.dice_bars(segments)
            ),
            elements.plot(
                "Change of volume (Jacobian)",
                "Box: the middle half of the voxels. Line: 5 to 95 % of them. Stroke: median. Dot: smallest.",
                plots.jacobian_boxes(segments),
            ),
        ),
        elements.table(
            "Every segment",
            ("", *(title for title, _ in columns.values())),
            rows,
            [digits for _, digits in columns.values()],
        ),
    )


def _named(title: str, values: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    """Numbers under their names in words; further ones under their own."""
    if not values:
        return ""
    order = [key for key in names if key in values] + [key for key in values if key not in names]
    rows = [(names.get(key, key.replace("_", " ")), values[key]) for key in order]
    return elements.section(title, elements.table(title, ("", "Value"), rows, caption_hidden=True))


def _maps(maps: Mapping[str, Any] | None) -> str:
    if not maps:
        return ""
    from ..metrics.map_kinds import map_kind

    rows = []
    for map_id, values in maps.items():
        kind = map_kind(map_id)
        name = f"{kind.title} ({kind.unit})" if kind.unit and kind.unit not in kind.title else kind.title
        rows.append((name, *(values.get(key) for key in _MAP_COLUMNS)))
    return elements.section(
        "Maps", elements.table("Values of every map", ("", *_MAP_COLUMNS.values()), rows, caption_hidden=True)
    )


def _similarity(values: Mapping[str, Any] | None) -> str:
    rows = [
        (title, (values or {}).get(f"{key}_before"), (values or {}).get(f"{key}_after"))
        for key, title in (("ncc", "Correlation (NCC), 1 at the most"), ("nmi", "Mutual information (NMI), 1 to 2"))
    ]
    if all(cell is None for row in rows for cell in row[1:]):
        return ""
    return elements.section(
        "Similarity: not a measure of correctness",
        elements.paragraph("How alike the grey values are. A wrong deformation can make scans look alike."),
        elements.table("Similarity (not a measure of correctness)", ("", "Before", "After"), rows, caption_hidden=True),
    )


# ---------------------------------------------------------------------- provenance


def _made(made: Mapping[str, Any]) -> str:
    run = {
        "Method": made.get("method"),
        "Start": made.get("initialisation"),
        "Seed": made.get("seed"),
        "Device": made.get("device"),
        "Seconds": made.get("seconds"),
        "Weights (SHA-256)": made.get("weights_sha256"),
        "Transform": made.get("transform_maps"),
    }
    tables = [
        _values("Run", {name: value for name, value in run.items() if value not in (None, "")}),
        _values("Settings", made.get("parameters")),
        _values("Further numbers of the method", made.get("tables")),
        _values("Inputs", made.get("inputs")),
        _values("Files of the result", made.get("files")),
        _values("Grid of the fixed scan", made.get("fixed_grid")),
        _values("Grid of the moving scan", made.get("moving_grid")),
        _values("Versions", made.get("versions")),
    ]
    return elements.section("How it was made", *tables)


def _values(title: str, values: Mapping[str, Any] | None) -> str:
    if not isinstance(values, Mapping) or not values:
        return ""
    rows = [(str(key).replace("_", " "), value) for key, value in values.items()]
    return elements.table(title, ("", "Value"), rows)
