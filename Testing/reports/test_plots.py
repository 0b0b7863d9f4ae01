"""Plots: lengths and places on them are those of the numbers."""

from __future__ import annotations

import re

import pytest

from DeepRegistrationLib.reports import plots
from reports.made import METRICS
from reports.reading import Page


def drawn(svg: str, tag: str, kind: str) -> list[dict[str, str]]:
    """Elements below the key of the plot."""
    found = [a for a in Page(svg).all(tag) if a.get("class") == kind]
    return [a for a in found if float(a.get("y", 99)) > 20]


def test_bars_are_as_long_as_dice():
    svg = plots.dice_bars(METRICS["segments"])
    before, after = (drawn(svg, "rect", kind) for kind in ("before", "after"))
    widths = [float(a["width"]) for a in (*before, *after)]
    values = [0.5125, 0.75, 0.9375, 0.625]
    full = widths[0] / values[0]
    assert widths == pytest.approx([v * full for v in values], abs=0.2)
    assert "0.94" in Page(svg).text and "&lt;script&gt;" in svg and "<script" not in svg


def test_landmarks_stand_with_the_worst_first():
    page = Page(plots.landmark_bars(METRICS["landmarks"]))
    assert re.findall(r"carina|Point 2|<b>tip</b>", page.text)[::2] == ["<b>tip</b>", "carina", "Point 2"]
    assert "7.5" in page.text and not page.all("b")


def test_boxes_stand_where_the_percentiles_are():
    svg = plots.jacobian_boxes(METRICS["segments"])
    box = drawn(svg, "rect", "box")[0]
    medians = drawn(svg, "line", "median")
    whisker = drawn(svg, "line", "line")[0]
    left, right = float(box["x"]), float(box["x"]) + float(box["width"])
    per_unit = (right - left) / (1.05 - 0.875)

    def x(value):
        return left + (value - 0.875) * per_unit

    assert float(medians[0]["x1"]) == pytest.approx(x(0.95), abs=1.5)
    assert float(whisker["x1"]) == pytest.approx(x(0.7), abs=1.5)
    assert float(whisker["x2"]) == pytest.approx(x(1.3), abs=3)
    (folded,) = [a for a in Page(svg).all("circle") if a["class"] == "folded"]
    assert float(folded["cx"]) == pytest.approx(x(-0.21), abs=8)
    (zone,) = drawn(svg, "rect", "zone")
    assert float(zone["x"]) + float(zone["width"]) == pytest.approx(x(0.0), abs=6)


def test_nothing_to_plot_is_no_plot():
    assert plots.dice_bars({}) == "" and plots.landmark_bars(None) == "" and plots.jacobian_boxes({}) == ""
    older = {"Liver": {"dice_before": None, "dice_after": None, "jacobian_min": 0.5}}
    assert plots.dice_bars(older) == "" and plots.jacobian_boxes(older) == ""
    assert plots.landmark_bars({"count": 0, "names": [], "before_mm": [], "after_mm": []}) == ""


def test_many_segments_are_cut_short_and_it_is_said():
    many = {f"label {k}": {"dice_before": 0.1, "dice_after": 0.5} for k in range(75)}
    svg = plots.dice_bars(many)
    assert len(drawn(svg, "rect", "after")) == 60 and "15 more" in svg


@pytest.mark.parametrize("high", [0.003, 1.0, 7.5, 43.0, 1200.0])
def test_ticks_are_few_and_round(high):
    ticks = plots._ticks(0.0, high)
    assert 4 <= len(ticks) <= 7 and ticks[0] == 0 and ticks[-1] <= high * (1 + 1e-9)
