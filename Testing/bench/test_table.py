"""Ratios and goals from made-up records whose answer is known; the runner on tools made for the test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench import environments, phantom, run, table
from bench.cases import CASES, PHANTOM, Case
from bench.tools import DEFAULT, TOOLS, Job, Tool

MB = 2.0**20


def record(dice: float, wall: float, peak_mb: float, folding: float = 0.0) -> dict[str, Any]:
    scores = {"dice": dice, "dice_before": 0.5, "folding_percent": folding, "sdlogj": 0.1}
    return {"wall_s": wall, "cpu_s": 2 * wall, "peak_bytes": peak_mb * MB, "scores": scores}


def head_neck() -> list[Case]:
    return [case for case in CASES if case.group == "headneck"][:2]


def test_a_row_takes_medians_of_costs_and_means_of_scores() -> None:
    made = table.row(
        "c", "ours", [record(0.7, 9.0, 100), record(0.8, 1.0, 300), {"error": "no"}, record(0.9, 2.0, 200)]
    )
    assert made.runs == 3 and not made.error
    assert made.values["wall_s"] == 2.0 and made.values["peak_mb"] == 200 and made.values["cpu_s"] == 4.0
    assert made.values["dice"] == pytest.approx(0.8) and made.values["dice_before"] == 0.5
    assert table.row("c", "ours", [{"error": "no memory"}]).error == "no memory"


def test_ratios_are_in_our_favour_when_we_are_better() -> None:
    ours, peer = (
        table.row("c", "ours", [record(0.8, 10, 500)]),
        table.row("c", "elastix", [record(0.7, 40, 1000)]),
    )
    assert table.ratios(ours, peer) == pytest.approx({"speed_up": 4.0, "memory_ratio": 0.5, "dice_gain": 0.1})


def test_goals_take_the_group_mean_for_accuracy_and_the_worst_case_for_cost() -> None:
    cases, peers = head_neck(), ["convexadam"]
    first, second = (case.id for case in cases)
    rows = [
        table.row(first, "ours-diffeomorphic", [record(0.695, 10, 500)]),
        table.row(second, "ours-diffeomorphic", [record(0.78, 10, 500, folding=1e-5)]),
        table.row(first, "ours", [record(0.70, 10, 500)]),
        table.row(second, "ours", [record(0.80, 10, 500, folding=0.2)]),
        table.row(first, "convexadam", [record(0.72, 15, 400)]),
        table.row(second, "convexadam", [record(0.60, 60, 600)]),
    ]
    found = {v.text: v.reached for v in table.verdicts(rows, cases, peers)}
    accuracy = next(text for text in found if "dice 0" in text)
    assert found[accuracy] and "0.7500" in accuracy and "0.6600" in accuracy
    assert [found[t] for t in found if "folding_percent" in t] == [True, False]
    assert [found[t] for t in found if "diffeomorphic folding" in t] == [True, False]
    assert [found[t] for t in found if "diffeomorphic costs" in t] == [True, False]
    speed = next(text for text in found if "as fast" in text)
    assert not found[speed] and "3.00x" in speed and "1.50x" in speed
    memory = next(text for text in found if "memory" in text)
    assert not found[memory] and "1.25" in memory
    text = table.markdown(rows, cases, peers, ["a note"])
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1 and "MISSED" in text and "(before)" in text


def test_every_peer_has_pins_and_every_default_tool_exists() -> None:
    needed = {tool.environment for tool in TOOLS.values() if tool.environment}
    assert needed == set(environments.names()) and set(DEFAULT) <= set(TOOLS)
    assert all("==" in line for name in needed for line in environments.pins(name))
    assert environments.pins("convexadam")[0].startswith("torch==")


DRIVER = """
import json, sys, pathlib, shutil
out = pathlib.Path({out!r})
shutil.copy({truth!r}, out / "field.nrrd")
(out / "record.json").write_text(json.dumps(
    {{"wall_s": 1.0, "cpu_s": 2.0, "peak_bytes": 1048576.0, "transform": "field.nrrd"}}))
"""


def write_truth(folder: Path) -> Path:
    import SimpleITK as sitk

    from bench.judge import Lattice

    fixed = sitk.ReadImage(str(folder / "fixed.nii.gz"))
    field = sitk.GetImageFromArray(
        phantom.motion(Lattice.of(fixed).world(0, fixed.GetSize()[2])), isVector=True
    )
    field.CopyInformation(fixed)
    sitk.WriteImage(field, str(folder / "truth.nrrd"))
    return folder / "truth.nrrd"


def test_the_runner_starts_judges_and_reports_failures(tmp_path: Path) -> None:
    phantom.write(tmp_path / "case")
    truth = write_truth(tmp_path / "case")
    job = Job(PHANTOM, PHANTOM.paths(tmp_path / "case"), tmp_path / "out", threads=1, seed=0)
    perfect = Tool("perfect", "", lambda job: ["-c", DRIVER.format(out=str(job.out), truth=str(truth))])
    good = run.run_once(perfect, Path(sys.executable), job, timeout=60)
    assert good["scores"]["tre"] < 0.1 and good["wall_s"] == 1.0
    broken = Tool("broken", "", lambda job: ["-c", "raise SystemExit('the disk is full')"])
    assert (
        run.run_once(broken, Path(sys.executable), job, timeout=60)["error"]
        == "exit code 1: the disk is full"
    )
    slow = Tool("slow", "", lambda job: ["-c", "import time; time.sleep(30)"])
    assert run.run_once(slow, Path(sys.executable), job, timeout=0.5)["error"].startswith("stopped after")
