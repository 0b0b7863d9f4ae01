"""The numbers of a review as MRML tables: units in the heads of the columns, numbers stored as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from ..core.errors import InputError

SEGMENT, LANDMARK, CANDIDATE = "Segment", "Landmark", "Candidate"
DICE_BEFORE, DICE_AFTER = "Dice before", "Dice after"
TRE_BEFORE, TRE_AFTER = "TRE before (mm)", "TRE after (mm)"


@dataclass(frozen=True)
class _Column:
    """One column: its head, the key of the number in metrics.json, decimals that matter, and what it says."""

    title: str
    key: str
    digits: int
    help: str


_SEGMENT_COLUMNS = (
    _Column(DICE_BEFORE, "dice_before", 4, "Overlap of the two segments before the alignment: 0 none, 1 all"),
    _Column(DICE_AFTER, "dice_after", 4, "Overlap of the two segments after the alignment: 0 none, 1 all"),
    _Column("HD95 before (mm)", "hd95_before_mm", 3, "95 % of the two surfaces lay closer to each other than this"),
    _Column("HD95 after (mm)", "hd95_after_mm", 3, "95 % of the two surfaces lie closer to each other than this"),
    _Column("Surface before (mm)", "surface_distance_before_mm", 3, "Mean distance of the two surfaces before"),
    _Column("Surface after (mm)", "surface_distance_after_mm", 3, "Mean distance of the two surfaces after"),
    _Column("Volume fixed ({unit})", "volume_fixed", 3, "Volume in the fixed segmentation"),
    _Column("Volume moving ({unit})", "volume_moving", 3, "Volume in the moving segmentation"),
    _Column("Volume moved ({unit})", "volume_moved", 3, "Volume of the moving segment after the alignment"),
    _Column("Volume change (%)", "volume_change_percent", 2, "How much larger the segment is in the moving volume"),
    _Column("Jacobian mean", "jacobian_mean", 4, "Volume in moving for a unit of volume in fixed, mean inside"),
    _Column("Jacobian min", "jacobian_min", 4, "Smallest Jacobian determinant inside; at or below 0 it folds"),
    _Column("Jacobian max", "jacobian_max", 4, "Largest Jacobian determinant inside"),
    _Column("SD log Jacobian", "sd_log_jacobian", 4, "How unevenly the volume changes inside; 0 is evenly"),
    _Column("Folding (%)", "folding_percent", 4, "Share of the segment that folds"),
    _Column("Uncertainty (mm)", "uncertainty_mean_mm", 3, "Mean uncertainty inside"),
)


def segments_table(
    scene: slicer.vtkMRMLScene, metrics: Mapping[str, Any], name: str
) -> slicer.vtkMRMLTableNode:
    """One row a segment of metrics["segments"]. A column that nobody measured is left out; a single number that is
    missing is NaN, the only way for a column of numbers to stay one.

    Raises InputError where no segment was measured.
    """
    segments = metrics.get("segments") or {}
    if not segments:
        raise InputError("No segment was measured; choose a segmentation of each volume and measure again.")
    unit = metrics.get("volume_unit") or "ml"
    table = _empty(scene, name)
    _add_texts(table, SEGMENT, segments.keys(), "Name of the segment")
    for column in _SEGMENT_COLUMNS:
        values = [numbers.get(column.key) for numbers in segments.values()]
        if any(v is not None for v in values):
            _add_numbers(table, column.title.format(unit=unit), values, column.digits, column.help)
    return table


def landmarks_table(
    scene: slicer.vtkMRMLScene, metrics: Mapping[str, Any], name: str
) -> slicer.vtkMRMLTableNode:
    """One row a landmark of metrics["landmarks"]: TRE before and after, and where it lies (RAS mm, as Slicer counts).

    Raises InputError where no landmark was measured.
    """
    marks = metrics.get("landmarks") or {}
    if not marks.get("count"):
        raise InputError("No landmark was measured; choose landmarks of both volumes and measure again.")
    table = _empty(scene, name)
    _add_texts(table, LANDMARK, marks["names"], "Name of the landmark in the fixed volume")
    before, after = marks["before_mm"], marks["after_mm"]
    _add_numbers(table, TRE_BEFORE, before, 3, "Distance of the fixed point from its partner before the alignment")
    _add_numbers(table, TRE_AFTER, after, 3, "Distance of the mapped fixed point from its partner after the alignment")
    gain = [b - a for b, a in zip(before, after, strict=True)]
    _add_numbers(table, "Gain (mm)", gain, 3, "How much closer they came; negative where they came apart")
    for k, (letter, sign) in enumerate((("R", -1.0), ("A", -1.0), ("S", 1.0))):
        points = marks.get("fixed_points")
        if points:
            _add_numbers(table, f"{letter} (mm)", [sign * p[k] for p in points], 2, "Place in the fixed volume")
    return table


def candidates_table(
    scene: slicer.vtkMRMLScene, alternatives: Sequence[Mapping[str, Any]], name: str
) -> slicer.vtkMRMLTableNode:
    """One row a candidate ({"title", "scores"}), best first, with a column for every score; NaN where one lacks it."""
    table = _empty(scene, name)
    titles = [a.get("title") or str(k) for k, a in enumerate(alternatives, 1)]
    _add_texts(table, CANDIDATE, titles, "The candidates, best first")
    for score in dict.fromkeys(key for a in alternatives for key in a.get("scores") or {}):
        values = [(a.get("scores") or {}).get(score) for a in alternatives]
        add_numbers(table, score, [math.nan if v is None else float(v) for v in values], score)
    return table


def column_values(table: slicer.vtkMRMLTableNode, title: str) -> list[float]:
    """The numbers of a column; [] where the table has none of that title."""
    column = table.GetTable().GetColumnByName(title)
    return [] if column is None else [column.GetValue(k) for k in range(column.GetNumberOfValues())]


def row_names(table: slicer.vtkMRMLTableNode) -> list[str]:
    """The texts of the first column."""
    column = table.GetTable().GetColumn(0)
    return [column.GetValue(k) for k in range(column.GetNumberOfValues())]


# ---------------------------------------------------------------------- columns


def _empty(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLTableNode:
    node = slicer.vtkMRMLTableNode()
    node.SetName(scene.GenerateUniqueName(name))
    # else the heads are the first row, to be typed over
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return scene.AddNode(node)


def _add_texts(table: slicer.vtkMRMLTableNode, title: str, texts: Iterable[str], tip: str) -> None:
    column = vtk.vtkStringArray()
    column.SetName(title)
    for text in texts:
        column.InsertNextValue(str(text))
    table.AddColumn(column)
    table.SetColumnDescription(title, tip)


def _add_numbers(
    table: slicer.vtkMRMLTableNode, title: str, values: Sequence[float | None], digits: int, tip: str
) -> None:
    add_numbers(table, title, [math.nan if v is None else round(float(v), digits) for v in values], tip)


def add_numbers(table: slicer.vtkMRMLTableNode, title: str, values: Iterable[float], tip: str = "") -> None:
    """A column of numbers."""
    column = vtk.vtkDoubleArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)
    if tip:
        table.SetColumnDescription(title, tip)
