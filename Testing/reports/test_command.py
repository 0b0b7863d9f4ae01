"""`report` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from DeepRegistrationLib.cli import main
from reports.made import METRICS, write_result, write_scans
from reports.reading import Page

FILES = {"report.html", "report.csv", "report.json"}
TABLE = {"index.html", "batch.csv", "batch.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_result_gets_its_page(tmp_path, capsys):
    folder = write_scans(tmp_path / "out")
    assert main(["report", str(folder)]) == 0
    assert names(folder) >= FILES and not names(folder) & TABLE
    assert "report.html" in capsys.readouterr().out
    assert len(Page((folder / "report.html").read_text(encoding="utf-8")).pictures()) == 21


def test_it_can_be_written_elsewhere_and_said_as_json(tmp_path, capsys):
    folder = write_result(tmp_path / "out")
    assert main(["report", str(folder), "--out", str(tmp_path / "there"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and {Path(file).name for file in said["files"]} == FILES
    assert names(tmp_path / "there") == FILES and not names(folder) & FILES


def test_a_folder_of_results_gets_a_table(tmp_path, capsys):
    for name in ("a", "b"):
        write_result(tmp_path / "all" / name)
    assert main(["report", str(tmp_path / "all")]) == 0
    assert names(tmp_path / "all") == TABLE and not names(tmp_path / "all" / "a") & FILES
    capsys.readouterr()
    assert main(["report", str(tmp_path / "all"), "--each", "--json", "--out", str(tmp_path / "there")]) == 0
    assert {Path(file).name for file in json.loads(capsys.readouterr().out)["files"]} == TABLE
    links = Page((tmp_path / "there" / "index.html").read_text(encoding="utf-8")).references()
    assert links == ["../all/a/report.html", "../all/b/report.html"]
    assert all((tmp_path / "there" / link).is_file() for link in links)


def test_a_damaged_result_does_not_stop_the_others(tmp_path, capsys):
    for name in ("a", "b"):
        write_result(tmp_path / name)
    (tmp_path / "a" / "metrics.json").write_text("{")
    assert main(["report", str(tmp_path), "--each"]) == 0
    assert "No report of a: " in capsys.readouterr().err
    assert names(tmp_path / "b") >= FILES and "cannot be read" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["empty", "gone"])
def test_nothing_to_report_on_is_one_sentence(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err.strip()
    assert name in said and said.endswith(".") and "\n" not in said


def test_a_table_loads_neither_torch_nor_simpleitk(tmp_path):
    write_result(tmp_path / "a", METRICS)
    code = (
        "import io, sys\nfrom DeepRegistrationLib.cli import main\nsys.stdout = io.StringIO()\n"
        f"assert main(['report', {str(tmp_path)!r}]) == 0\nsys.stdout = sys.__stdout__\n"
        "print([m for m in ('torch', 'SimpleITK', 'slicer', 'scipy') if m in sys.modules])"
    )
    checkout = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
