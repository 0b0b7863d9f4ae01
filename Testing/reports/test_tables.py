"""CSV and JSON."""

from __future__ import annotations

import csv
import io

from DeepRegistrationLib.reports.tables import as_csv, csv_text
from reports.made import METRICS


def test_csv_holds_lists_and_gaps():
    text = csv_text({"landmarks": {"count": 2, "after_mm": [1.5, None]}, "overlap": None})
    assert text.splitlines()[1:] == [
        "landmarks,,count,2",
        "landmarks,1,after_mm,1.5",
        "landmarks,2,after_mm,",
    ]


def test_every_number_is_in_the_csv():
    rows = list(csv.reader(io.StringIO(csv_text(METRICS))))[1:]
    found = {tuple(row[:3]): row[3] for row in rows}
    assert len(found) == len(rows)
    assert float(found["segments", "Liver", "dice_after"]) == 0.9375
    assert found["segments", "<script>alert(1)</script>", "hd95_after_mm"] == ""
    assert [float(found["landmarks", "2", f"fixed_points_{axis}"]) for axis in "xyz"] == [4.0, 5.0, 6.0]
    assert float(found["maps", "jacobian", "p99"]) == 1.7


def test_no_text_passes_for_a_formula():
    (_, row) = csv.reader(io.StringIO(as_csv(("a", "b", "c"), [("=SUM(A1)", -1.5, "plain, with comma")])))
    assert row == ["'=SUM(A1)", "-1.5", "plain, with comma"]
