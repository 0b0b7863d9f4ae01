"""Tables hold the measured numbers, as numbers, under heads that say the unit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import slicer.util
import vtk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml import tables

SEGMENTS = {
    "liver": {
        "label": 1, "dice_before": 0.71234567, "dice_after": 0.9, "hd95_before_mm": 12.3456789, "hd95_after_mm": 3.0,
        "surface_distance_before_mm": 4.5, "surface_distance_after_mm": 0.75, "volume_fixed": 1500.25,
        "volume_moving": 1400.0, "volume_moved": 1490.0, "volume_change_percent": -7.5, "jacobian_mean": 0.925,
        "jacobian_min": -0.125, "jacobian_max": 2.5, "sd_log_jacobian": 0.2, "folding_percent": 0.0123,
        "uncertainty_mean_mm": None,
    },
    "left kidney": {
        "label": 2, "dice_before": None, "dice_after": 0.8, "hd95_before_mm": None, "hd95_after_mm": 5.0,
        "surface_distance_before_mm": 2.5, "surface_distance_after_mm": 1.0, "volume_fixed": 150.0,
        "volume_moving": 160.0, "volume_moved": 155.0, "volume_change_percent": 6.0, "jacobian_mean": 1.06,
        "jacobian_min": 0.5, "jacobian_max": 1.5, "sd_log_jacobian": 0.1, "folding_percent": 0.0,
        "uncertainty_mean_mm": None,
    },
}  # fmt: skip
LANDMARKS = {
    "count": 2,
    "names": ["carina", "apex"],
    "before_mm": [10.0, 4.0],
    "after_mm": [1.25, 5.5],
    "fixed_points": [[10.0, -20.0, 30.0], [1.0, 2.0, 3.0]],
}


def heads(node: Any) -> list[str]:
    return [node.GetColumnName(k) for k in range(node.GetNumberOfColumns())]


def test_a_row_for_each_segment_and_units_in_the_heads(scene: Any) -> None:
    node = tables.segments_table(scene, {"segments": SEGMENTS, "volume_unit": "ml"}, "numbers")
    assert tables.row_names(node) == ["liver", "left kidney"]
    lengths = [h for h in heads(node) if "HD95" in h or "Surface" in h]
    assert len(lengths) == 4 and all(h.endswith("(mm)") for h in lengths)
    assert [h for h in heads(node) if "Volume" in h] == [
        "Volume fixed (ml)", "Volume moving (ml)", "Volume moved (ml)", "Volume change (%)"
    ]  # fmt: skip
    for title, key in (
        ("Dice after", "dice_after"), ("HD95 before (mm)", "hd95_before_mm"), ("Surface after (mm)",
        "surface_distance_after_mm"), ("Volume change (%)", "volume_change_percent"), ("Jacobian min", "jacobian_min"),
        ("Jacobian mean", "jacobian_mean"), ("Folding (%)", "folding_percent"), ("Volume moved (ml)", "volume_moved"),
    ):  # fmt: skip
        measured = [math.nan if s[key] is None else s[key] for s in SEGMENTS.values()]
        np.testing.assert_allclose(tables.column_values(node, title), measured, atol=6e-4)
        assert node.GetColumnDescription(title)


def test_numbers_are_numbers_and_nothing_stands_for_what_was_not_measured(scene: Any) -> None:
    node = tables.segments_table(scene, {"segments": SEGMENTS, "volume_unit": "mm^2"}, "numbers")
    for k, title in enumerate(heads(node)):
        assert isinstance(node.GetTable().GetColumn(k), vtk.vtkStringArray if k == 0 else vtk.vtkDoubleArray), title
    assert not any("Uncertainty" in h for h in heads(node))  # of no segment
    assert math.isnan(tables.column_values(node, "Dice before")[1])
    assert "Volume fixed (mm^2)" in heads(node)
    # the order of numbers, not of letters
    assert sorted(slicer.util.arrayFromTableColumn(node, "Volume fixed (mm^2)")) == [150.0, 1500.25]


def test_the_view_shows_heads_and_rounded_cells(slicer_host: Any, scene: Any) -> None:
    from host.table_view import qMRMLTableWidget

    node = tables.segments_table(scene, {"segments": SEGMENTS, "volume_unit": "ml"}, "numbers")
    view = scene.AddNewNodeByClass("vtkMRMLTableViewNode")
    widget = qMRMLTableWidget()
    widget.setMRMLScene(scene)
    widget.setMRMLTableViewNode(view)
    view.SetTableNodeID(node.GetID())
    model = widget.tableView().model()
    shown = [model.headerData(k, slicer_qt().Horizontal) for k in range(model.columnCount())]
    assert shown == heads(node)
    row = {head: model.index(0, k).data() for k, head in enumerate(shown)}
    assert row["Segment"] == "liver" and row["Dice before"] == "0.7123" and row["HD95 before (mm)"] == "12.346"
    assert row["Folding (%)"] == "0.0123"


def slicer_qt() -> Any:
    from PySide6 import QtCore

    return QtCore.Qt.Orientation


def test_landmarks_with_gain_and_place(scene: Any) -> None:
    node = tables.landmarks_table(scene, {"landmarks": LANDMARKS}, "marks")
    assert tables.row_names(node) == ["carina", "apex"]
    assert tables.column_values(node, "TRE before (mm)") == [10.0, 4.0]
    assert tables.column_values(node, "TRE after (mm)") == [1.25, 5.5]
    assert tables.column_values(node, "Gain (mm)") == [8.75, -1.5]
    # where Slicer's data probe says it is: right, anterior, superior
    assert [tables.column_values(node, f"{axis} (mm)")[0] for axis in "RAS"] == [-10.0, 20.0, 30.0]


def test_nothing_measured_makes_no_table(scene: Any) -> None:
    count = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="segmentation"):
        tables.segments_table(scene, {"segments": {}}, "none")
    with pytest.raises(InputError, match="landmark"):
        tables.landmarks_table(scene, {"landmarks": None}, "none")
    assert scene.GetNumberOfNodes() == count
