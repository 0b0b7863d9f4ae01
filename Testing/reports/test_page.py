"""The page of one result."""

from __future__ import annotations

import copy
import itertools
import json
import re

import numpy as np
import pytest

from DeepRegistrationLib.core.errors import OutputError
from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.reports import Legend, Picture, write_measured, write_report
from DeepRegistrationLib.reports.elements import brief
from DeepRegistrationLib.reports.page import SEGMENT_COLUMNS
from DeepRegistrationLib.reports.palette import DIVERGING
from DeepRegistrationLib.reports.png import encode_png
from reports.made import METRICS, PROVENANCE, write_result, write_scans
from reports.reading import Page


def page_of(metrics=METRICS, provenance=PROVENANCE, tmp_path=None, **options) -> Page:
    html, _, _ = write_measured(tmp_path, metrics, provenance, **options)
    return Page(html.read_text(encoding="utf-8"))


def without(*keys):
    metrics = copy.deepcopy(METRICS)
    for key in keys:
        metrics[key] = {} if key == "segments" else None
    return metrics


def test_three_files_and_nothing_from_elsewhere(tmp_path):
    paths = write_report(ResultFolder(write_scans(tmp_path)))
    assert [path.name for path in paths] == ["report.html", "report.csv", "report.json"]
    source = paths[0].read_text(encoding="utf-8")
    page = Page(source)
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references())
    assert "http" not in source and "url(" not in re.sub(r"url\(#[\w-]+\)", "", source) and "@import" not in source
    assert not page.all("link") and not page.all("script") and not page.all("iframe")
    assert len(page.pictures()) == 21
    content = json.loads(paths[2].read_text(encoding="utf-8"))
    assert content["metrics"] == METRICS and content["provenance"]["seed"] == 7
    assert source.count("<h1>") == 1 and len(source) < 4_000_000


def test_the_numbers_of_the_page_are_those_of_the_metrics(tmp_path):
    page = page_of(tmp_path=tmp_path)
    head, liver, other = page.tables["Every segment"]
    assert head[1:] == [title for title, _ in SEGMENT_COLUMNS.values()]
    for name, row in (("Liver", liver), ("<script>alert(1)</script>", other)):
        assert row[0] == name
        for (key, (_, digits)), cell in zip(SEGMENT_COLUMNS.items(), row[1:], strict=True):
            value = METRICS["segments"][name][key]
            if value is None:
                assert cell == "\u2013"
            else:
                assert float(cell) == pytest.approx(value, abs=0.51 * 10 ** -(4 if digits is None else digits))
    marks = page.tables["Distance of landmarks to their partners"]
    assert marks[1] == ["Mean", "4.58", "3.12"]
    assert [row[0] for row in marks[4:]] == ["carina", "Point 2", "<b>tip</b>"]
    assert [float(row[2]) for row in marks[4:]] == [1.12, 0.75, 7.5]
    deformation = dict(row for row in page.tables["Deformation"][1:])
    assert float(deformation["Smallest Jacobian"]) == -0.21
    assert deformation["Voxels measured"] == "23256"
    assert page.tables["Values of every map"][1] == [
        "Jacobian determinant", "1.002", "1", "1.5", "1.7", "-0.21", "1.875",
    ]  # fmt: skip
    assert "0.631 \u2192 0.781" in page.text and "4.58 \u2192 3.12 mm" in page.text


def test_hostile_names_stay_text(tmp_path):
    hostile = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
    metrics = copy.deepcopy(METRICS)
    metrics["segments"][hostile] = metrics["segments"]["Liver"]
    metrics["warnings"].append(hostile)
    metrics["landmarks"]["names"][0] = hostile
    made = {**PROVENANCE, "inputs": {"fixed": hostile, "moving": hostile}, "method": hostile, "messages": [hostile]}
    made["parameters"] = {hostile: hostile}
    picture = Picture(hostile, encode_png(np.zeros((4, 4), np.uint8)), hostile, hostile)
    page = page_of(metrics, made, tmp_path, pictures=[picture], missing=[hostile])
    assert not page.all("script") and len(page.all("img")) == 1
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert page.text.count(hostile) >= 8


def test_warnings_come_first_and_notes_with_them(tmp_path):
    page = page_of(tmp_path=tmp_path)
    places = [page.text.index(words) for words in ("folds inside Liver", "worked on at 2 mm", "At a glance")]
    assert places == sorted(places)
    assert ("ul", {"class": "warnings"}) in page.elements
    assert "No measurement raises a warning" not in page.text


def test_without_warnings_nothing_is_promised(tmp_path):
    page = page_of({**METRICS, "warnings": []}, tmp_path=tmp_path)
    assert "no proof that the result is right" in page.text and not page.text.count("folds inside")


def test_a_note_that_is_a_warning_stands_there_once(tmp_path):
    made = {**PROVENANCE, "messages": METRICS["warnings"]}
    assert page_of(METRICS, made, tmp_path).text.count(METRICS["warnings"][0]) == 1


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (without("landmarks"), "No landmarks were given"),
        (without("segments", "overlap"), "No segments were given"),
        (without("overlap"), "No segment is in both scans"),
        (without("inverse_consistency"), "has no inverse"),
        (without("maps"), "no map of uncertainty"),
        ({}, "no metrics.json"),
    ],
)
def test_what_was_not_measured_is_said(metrics, words, tmp_path):
    page = page_of(metrics, tmp_path=tmp_path)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    (said,) = [text for text in told["not_measured"] if words in text]
    assert said in page.text


def test_what_was_measured_is_not_said_to_be_missing(tmp_path):
    inverse = {"points": 10, "mean_mm": 0.1, "p95_mm": 0.25, "max_mm": 1.0}
    maps = {"uncertainty": {"mean": 0.5, "p50": 0.5, "p95": 1, "p99": 1, "min": 0, "max": 2}}
    page = page_of({**METRICS, "inverse_consistency": inverse, "maps": maps}, tmp_path=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["not_measured"] == []
    assert "Not measured" not in page.text
    assert page.tables["Values of every map"][1][0] == "Uncertainty (mm)"


def test_an_inverse_that_could_not_be_checked(tmp_path):
    made = {**PROVENANCE, "files": {"inverse": "inverse.nrrd"}}
    assert "stays in the moving scan" in page_of(METRICS, made, tmp_path).text


def test_similarity_is_named_for_what_it_is(tmp_path):
    page = page_of(tmp_path=tmp_path)
    assert page.tables["Similarity (not a measure of correctness)"][1][1:] == ["0.5", "0.875"]
    assert not [c for c in page.tables if "imilarity" in c and "not a measure of correctness" not in c]


def test_a_screen_reader_finds_its_way(tmp_path):
    paths = write_report(ResultFolder(write_scans(tmp_path)))
    page = Page(paths[0].read_text(encoding="utf-8"))
    assert page.all("html")[0]["lang"] == "en" and page.all("main") and page.all("title")
    assert page.all("meta")[1]["content"].startswith("width=device-width")
    alts = [a["alt"] for a in page.all("img")]
    assert all(len(alt) > 10 for alt in alts) and len(set(alts)) == len(alts)
    assert all(a.get("scope") in ("col", "row") for a in page.all("th")) and page.all("caption")
    assert all(a.get("role") == "img" and a.get("aria-label") for a in page.all("svg"))
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in page.all("div") if a.get("class") == "scroll")
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert len(names) == len(set(names))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_pictures_of_a_group_share_heading_and_legend(tmp_path):
    png = encode_png(np.zeros((20, 30), np.uint8))
    legend = Legend(DIVERGING, 0.0, 2.0, "mm", folded=True)
    group = [Picture(f"J, {k}", png, "said once", "Jacobian", legend) for k in "ab"]
    page = page_of(tmp_path=tmp_path, pictures=[Picture("alone", png, "own words"), *group])
    assert page.text.count("said once") == 1 and page.text.count("own words") == 1
    (bar,) = [a for a in page.all("svg") if a.get("class") == "legend"]
    assert bar["aria-label"] == "Colours from 0 mm to 2 mm; magenta: folded"
    assert len(page.all("stop")) + len(page.all("lineargradient")) == len(DIVERGING) + 1
    assert {(a["width"], a["height"]) for a in page.all("img")} == {("30", "20")}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.2e-13, "less than 0.001"), (0.0021, "0.0021"), (-0.284, "-0.28"), (6.87, "6.9"), (123.4, "123")],
)
def test_numbers_that_stand_alone_are_short(value, text):
    assert brief(value) == text


def test_it_can_be_written_elsewhere(tmp_path):
    folder = write_result(tmp_path / "result")
    paths = write_report(ResultFolder(folder), out=tmp_path / "new" / "place")
    assert all(path.parent == tmp_path / "new" / "place" and path.is_file() for path in paths)
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "provenance.json"}
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        write_report(ResultFolder(folder), out=tmp_path / "file")


def test_a_result_that_was_not_measured_still_has_a_page(tmp_path):
    html, csv, _ = write_report(ResultFolder(write_result(tmp_path, metrics=None)))
    assert "not measured" in Page(html.read_text(encoding="utf-8")).text
    assert csv.read_text(encoding="utf-8").splitlines() == ["group,item,measure,value"]
