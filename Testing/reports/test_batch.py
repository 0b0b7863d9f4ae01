"""Many results: who comes first, and why."""

from __future__ import annotations

import copy
import csv
import io
import json
import time

import numpy as np
import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.reports import collect, write_batch
from DeepRegistrationLib.reports.batch import result_folders
from DeepRegistrationLib.reports.outliers import deviations
from reports.made import METRICS, write_result
from reports.reading import Page

COUNT = 50


def ordinary(rng: np.random.Generator) -> dict:
    """A good result with the usual spread."""
    metrics = copy.deepcopy(METRICS)
    metrics["warnings"] = []
    for scores in metrics["segments"].values():
        scores["folding_percent"] = 0.0
    metrics["overlap"] |= {
        "dice_mean_before": 0.5 + rng.normal(0, 0.05),
        "dice_mean_after": 0.8 + rng.normal(0, 0.02),
        "hd95_mean_after_mm": 3 + rng.normal(0, 0.4),
    }
    metrics["landmarks"] |= {"mean_before_mm": 8 + rng.normal(0, 1), "mean_after_mm": 1.5 + rng.normal(0, 0.2)}
    metrics["deformation"] |= {
        "folding_percent": 0.0,
        "jacobian_min": 0.4 + rng.normal(0, 0.05),
        "sd_log_jacobian": 0.1 + rng.normal(0, 0.01),
        "outside_moving_percent": 1 + rng.normal(0, 0.2),
    }
    metrics["inverse_consistency"] = {"points": 9, "mean_mm": 0.1, "p95_mm": 0.3 + rng.normal(0, 0.03), "max_mm": 1}
    return metrics


@pytest.fixture
def batch(tmp_path):
    """Fifty ordinary results in folders of several depths; metrics by name, to be changed and written again."""
    rng = np.random.default_rng(3)
    names = [f"site {'ab'[k % 2]}/case {k:02d}" for k in range(COUNT)]
    found = {name: ordinary(rng) for name in names}
    for name, metrics in found.items():
        write_result(tmp_path / name, metrics)
    return tmp_path, found


def change(batch, name, group, **numbers):
    root, found = batch
    found[name][group].update(numbers)
    write_result(root / name, found[name])


def test_fifty_results_in_seconds_with_the_planted_outliers_first(batch):
    root, _ = batch
    change(batch, "site b/case 17", "deformation", folding_percent=3.1)
    change(batch, "site a/case 30", "overlap", dice_mean_after=0.31)
    start = time.perf_counter()
    cases = collect(root)
    paths = write_batch(root, cases)
    assert time.perf_counter() - start < 2
    assert len(cases) == COUNT and [path.name for path in paths] == ["index.html", "batch.csv", "batch.json"]
    first, second = cases[:2]
    assert first.name == "site b/case 17" and "folding 3.10 %, median 0.00 %" in first.reason
    assert second.name == "site a/case 30" and second.reason.startswith("Dice after 0.310, median 0.")
    assert [c.outlier for c in cases] == sorted((c.outlier for c in cases), reverse=True)
    assert all(c.outlier < 3.5 and c.reason == "" and not c.stands_out for c in cases[2:])


def test_numbers_are_taken_from_the_right_places(batch):
    root, found = batch
    found["site a/case 00"]["maps"]["uncertainty"] = {"mean": 0.75}
    change(batch, "site a/case 00", "deformation", folding_percent=0.01)
    case = next(c for c in collect(root) if c.name == "site a/case 00")
    m = found[case.name]
    assert (case.path, case.method, case.seconds) == (root / case.name, "convex-adam", 12.25)
    assert (case.dice_before, case.dice_after) == (m["overlap"]["dice_mean_before"], m["overlap"]["dice_mean_after"])
    assert (case.hd95_after, case.tre_before) == (m["overlap"]["hd95_mean_after_mm"], m["landmarks"]["mean_before_mm"])
    assert case.tre_after == m["landmarks"]["mean_after_mm"]
    d = m["deformation"]
    assert (case.folding_percent, case.jacobian_min) == (d["folding_percent"], d["jacobian_min"])
    assert (case.sd_log_jacobian, case.outside_percent) == (d["sd_log_jacobian"], d["outside_moving_percent"])
    assert (case.inverse_p95, case.uncertainty_mean) == (m["inverse_consistency"]["p95_mm"], 0.75)


def test_what_cannot_be_read_comes_first_and_then_folding_in_a_segment(batch):
    root, found = batch
    change(batch, "site a/case 30", "overlap", dice_mean_after=0.11)
    found["site b/case 21"]["segments"]["Liver"]["folding_percent"] = 0.25
    change(batch, "site b/case 21", "segments")
    (root / "site b/case 05/provenance.json").write_text("{")
    (root / "site a/case 04/provenance.json").unlink()
    (root / "cut off/.unfinished-123-x").mkdir(parents=True)
    (root / "site a/case 06/metrics.json").write_text("[1, 2]")
    (root / "site a/case 08/metrics.json").unlink()
    cases = collect(root)
    broken = {c.name: c.error for c in cases[:5]}
    assert list(broken) == ["cut off", "site a/case 04", "site a/case 06", "site a/case 08", "site b/case 05"]
    words = ("no finished result", "no finished result", "damaged", "lacks metrics.json", "cannot be read")
    for sentence, expected in zip(broken.values(), words, strict=True):
        assert expected in sentence and sentence.endswith(".")
    assert cases[5].name == "site b/case 21" and cases[5].reason == "folds inside Liver (0.25 % of it)"
    assert cases[6].name == "site a/case 30"
    assert len(cases) == COUNT + 1


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [("dice_after", 0.99, 0.6), ("folding_percent", 0.0, 2.0), ("jacobian_min", 0.9, -1.0), ("tre_after", 0.1, 9.0)],
)
def test_only_the_bad_direction_counts(key, good, bad):
    usual = {"dice_after": 0.8, "folding_percent": 0.5, "jacobian_min": 0.4, "tre_after": 2.0}[key]
    found = deviations([{key: usual + k * 1e-3} for k in range(9)] + [{key: good}, {key: bad}])
    assert found[9][0].z == 0 and found[10][0].z > 3.5
    assert found[10][0].measure.key == key


def test_z_is_robust_and_as_described():
    values = [1.0, 1.5, 2.0, 2.5, 3.0, 50.0]
    found = deviations([{"tre_after": v} for v in values])
    # the median is 2.25 and the distances from it are 1.25 0.75 0.25 0.25 0.75 47.75, their median 0.75
    assert found[5][0].z == pytest.approx((50 - 2.25) / (1.4826 * 0.75))
    assert found[5][0].median == 2.25
    tiny = deviations([{"tre_after": v} for v in (1.0, 1.0, 1.0, 1.01)])
    assert tiny[3][0].z == pytest.approx(0.01 / 0.5)  # equal numbers do not make 0.01 mm an outlier


def test_numbers_that_are_missing_do_not_count():
    found = deviations([{"tre_after": 1.0}, {"tre_after": None}, {"tre_after": float("nan")}, {}, {"tre_after": 1.0}])
    assert [len(each) for each in found] == [1, 0, 0, 0, 1]
    assert found[0][0].median == 1.0


def test_a_fall_of_dice_stands_out_even_where_the_value_is_usual(batch):
    change(batch, "site a/case 10", "overlap", dice_mean_before=0.95)
    first = collect(batch[0])[0]
    assert first.name == "site a/case 10" and "Dice lost" in first.reason


def test_numbers_of_the_wrong_kind_are_no_numbers(batch):
    root, found = batch
    found["site a/case 02"]["segments"] = ["no", "table"]
    change(batch, "site a/case 02", "overlap", dice_mean_after="high", hd95_mean_after_mm=True)
    case = next(c for c in collect(root) if c.name == "site a/case 02")
    assert case.dice_after is None and case.hd95_after is None and case.error == ""


def test_folders_without_results_are_none(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scan.nrrd").write_text("")
    write_result(tmp_path / ".hidden" / "result")
    assert list(result_folders(tmp_path)) == [] and collect(tmp_path) == []
    with pytest.raises(InputError, match="no folder"):
        collect(tmp_path / "gone")


def test_a_result_itself_is_a_batch_of_one(tmp_path):
    (case,) = collect(write_result(tmp_path / "one"))
    assert case.name == "one" and case.outlier == 0


def test_the_page(batch):
    root, found = batch
    change(batch, "site b/case 17", "deformation", folding_percent=3.1)
    hostile = 'x" onclick="alert(1)"><script>alert(2)</script> #%'.replace("/", "\u2215")
    write_result(root / hostile, found["site a/case 00"])
    (root / hostile / "report.html").write_text("there")
    (root / "site a/case 04/provenance.json").unlink()
    page = Page(write_batch(root, collect(root))[0].read_text(encoding="utf-8"))
    (rows,) = page.tables.values()
    head, body, medians = rows[0], rows[1:-1], rows[-1]
    assert [row[0] for row in body[:2]] == ["site a/case 04", "site b/case 17"] and len(body) == COUNT + 1
    assert "no finished result" in body[0][1] and "folding 3.10 %" in body[1][1]
    dice = head.index("Dice after")
    known = [float(row[dice]) for row in body if row[dice] != "\u2013"]
    assert medians[0] == "Median" and float(medians[dice]) == pytest.approx(np.median(known), abs=1e-3)
    assert body[1][head.index("Folding (%)")].startswith("3.100")
    assert "1 cannot be used, 1 stands out by a number." in page.text
    # one script of ours, one link, to the report that is there, safe in an address
    assert len(page.all("script")) == 1 and not [a for _, a in page.elements if "onclick" in a]
    (link,) = page.references()
    assert link.endswith("/report.html") and not set(link) & set('"<># ') and "%22" in link
    # heads are buttons, cells hold what to sort by
    assert len(page.all("button")) == len(head)
    assert all("data-value" in a for a in page.all("td")[: len(head) - 1])
    assert len([a for a in page.all("td") if "odd" in a.get("class", "")]) >= 2


def test_csv_and_json(batch):
    root, _ = batch
    cases = collect(root)
    _, table, content = write_batch(root / "new", cases)
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert [row["name"] for row in rows] == [case.name for case in cases]
    assert float(rows[3]["dice_after"]) == cases[3].dice_after
    read = json.loads(content.read_text(encoding="utf-8"))["cases"]
    assert read[3]["tre_after"] == cases[3].tre_after and read[0]["path"] == str(cases[0].path)
