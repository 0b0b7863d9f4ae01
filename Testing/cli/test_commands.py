"""The command line as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
from DeepRegistrationLib import io
from DeepRegistrationLib.cli import main
from DeepRegistrationLib.commands.terminal import duration, line
from DeepRegistrationLib.core.progress import ProgressReport
from DeepRegistrationLib.core.spec import parameters_of
from DeepRegistrationLib.methods import registry

CHECKOUT = Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, str(CHECKOUT / "Testing/jobs/with_tiny.py"), "-m", "DeepRegistrationLib"]


@pytest.fixture
def command(tiny_method, image_files):
    """Words of a registration up to --out."""
    flags = [word for name, path in image_files.items() for word in (f"--{name}", path)]
    return ["register", *flags, "--method", "tiny", "--out"]


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "DeepRegistrationLib", "--version"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0 and done.stdout.startswith("DeepRegistration ")


@pytest.mark.parametrize("said", [{}, {"OMP_WAIT_POLICY": "ACTIVE", "PYTORCH_ENABLE_MPS_FALLBACK": "0"}])
def test_torch_is_told_how_to_wait_and_what_to_do_for_apples_cards(said: dict[str, str]) -> None:
    """Before it is loaded, and unless the user said otherwise."""
    wanted = {"OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_ENABLE_MPS_FALLBACK": "1", **said}
    code = (
        "import os, runpy, sys\n"
        "sys.argv = ['DeepRegistrationLib', '--version']\n"
        "try: runpy.run_module('DeepRegistrationLib', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print([os.environ.get(name) for name in {list(wanted)}], 'torch' in sys.modules)\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in wanted}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, env={**clean, **said}
    )
    assert done.stdout.splitlines()[-1] == f"{list(wanted.values())} False", done.stderr


def test_methods_and_describe_show_every_declaration(tiny_method, capsys):
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert main(["methods", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in data] == [spec.id for spec in registry()]
    assert main(["methods", "--markdown"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(registry()) and len({row.count(" | ") for row in table}) == 1
    for spec in registry():
        assert spec.id in listed
        assert main(["describe", spec.id]) == 0
        text = capsys.readouterr().out
        assert text.strip() == dr.describe(spec.id)
        for parameter in parameters_of(spec.parameters):
            assert parameter.name in text and parameter.title in text
        assert all(preset.title in text for preset in spec.presets)


def test_register_tells_what_it_did(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*command, str(out), "--preset", "fast", "--set", "seconds=0.1", "--seed", "4"]) == 0
    said = capsys.readouterr()
    assert "moving.nii.gz onto fixed.nii.gz with tiny" in said.out and str(out) in said.out
    assert said.err == ""  # no bar without a terminal
    made = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert made["parameters"]["shift"] == 1.0 and made["parameters"]["seconds"] == 0.1 and made["seed"] == 4


def test_register_as_json_is_one_line(command, tmp_path, capsys):
    assert main([*command, str(tmp_path / "out"), "--json"]) == 0
    (text,) = capsys.readouterr().out.splitlines()
    told = json.loads(text)
    assert told["ok"] and told["files"]["transform"] == "transform.tfm"
    assert (Path(told["folder"]) / told["files"]["moved"]).is_file()
    assert told["metrics"] == json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))


def test_apply_gives_what_register_wrote(command, image_files, tmp_path, capsys):
    out = tmp_path / "out"
    main([*command, str(out)])
    files = ["--fixed", image_files["fixed"], "--moving", image_files["moving"]]
    for transform in (out, out / "transform.tfm"):
        target = tmp_path / "again.nii.gz"
        assert main(["apply", "--transform", str(transform), *files, "--out", str(target)]) == 0
        assert torch.equal(io.read_image(target).data, io.read_image(out / "moved.nii.gz").data)


def test_apply_keeps_labels(command, image_files, tmp_path):
    out = tmp_path / "out"
    main([*command, str(out)])
    scan = sitk.ReadImage(image_files["moving"])
    labels = sitk.Cast((scan > 20) * 3, sitk.sitkUInt8)
    sitk.WriteImage(labels, str(tmp_path / "labels.nrrd"))
    words = ["--fixed", image_files["fixed"], "--moving", str(tmp_path / "labels.nrrd"), "--labels"]
    assert main(["apply", "--transform", str(out), *words, "--out", str(tmp_path / "moved.nrrd")]) == 0
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "moved.nrrd")))
    assert set(np.unique(values)) == {0, 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--transform": "no.tfm"}, "no.tfm"),
        ({"--out": "moved.xyz"}, "moved.xyz"),
        ({"--moving": "no.nii"}, "no.nii"),
    ],
)
def test_apply_with_bad_input(command, image_files, tmp_path, capsys, changes, words):
    out = tmp_path / "out"
    main([*command, str(out)])
    capsys.readouterr()
    options = {"--transform": str(out), "--out": str(tmp_path / "m.nrrd")}
    options |= {f"--{name}": path for name, path in image_files.items()} | changes
    assert main(["apply", *(word for pair in options.items() for word in pair)]) == 2
    assert words in capsys.readouterr().err


def test_evaluate_a_folder_and_files(command, image_files, tmp_path, capsys):
    out = tmp_path / "out"
    main([*command, str(out)])
    capsys.readouterr()
    assert main(["evaluate", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "metrics.json").read_text(encoding="utf-8"))

    for side, x in (("fixed", 10), ("moving", 12)):
        (tmp_path / f"{side}.txt").write_text(f"{x} 20 12\n{x} 22 12\n")
    marks = [f"--{side}-landmarks={tmp_path / side}.txt" for side in ("fixed", "moving")]
    assert main(["evaluate", str(out), *marks]) == 0
    assert "Landmarks (2): TRE 2.00 ->" in capsys.readouterr().out

    files = [f"--fixed={image_files['fixed']}", f"--moving={image_files['moving']}"]
    assert main(["evaluate", "--transform", str(out / "transform.tfm"), *files, *marks, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["landmarks"]["mean_before_mm"] == pytest.approx(2.0)
    assert main(["evaluate"]) == 2
    assert "nothing to evaluate" in capsys.readouterr().err


def test_evaluate_leaves_a_folder_that_can_be_reported(command, image_files, tmp_path, capsys):
    out, seen = tmp_path / "out", tmp_path / "seen"
    main([*command, str(out)])
    files = [f"--fixed={image_files['fixed']}", f"--moving={image_files['moving']}"]
    capsys.readouterr()
    words = ["evaluate", "--transform", str(out / "transform.tfm"), "--inverse", str(out / "inverse.tfm"), *files]
    assert main([*words, "--out", str(seen), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((seen / "metrics.json").read_text(encoding="utf-8"))
    there = {path.name for path in seen.iterdir()}
    maps = ("jacobian", "log-jacobian", "displacement", "inverse-consistency", "moved")
    assert there == {f"{name}.nii.gz" for name in maps} | {"metrics.json", "provenance.json"}
    shift = sitk.GetArrayFromImage(sitk.ReadImage(str(seen / "displacement.nii.gz")))
    step = sitk.ReadTransform(str(out / "transform.tfm")).TransformPoint((0.0, 0.0, 0.0))
    np.testing.assert_allclose(shift, np.linalg.norm(step), atol=1e-4)

    assert main(["evaluate", str(out), "--out", str(tmp_path / "again")]) == 0
    assert f"Written to {tmp_path / 'again'}" in capsys.readouterr().out
    again = json.loads((tmp_path / "again/metrics.json").read_text(encoding="utf-8"))
    assert again == told
    assert json.loads((tmp_path / "again/provenance.json").read_text(encoding="utf-8"))["method"] == "tiny"
    assert main(["evaluate", str(seen), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deformation"] == told["deformation"]
    assert main([*words, "--moving=no.nii", "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


def test_report_leaves_three_files(command, tmp_path, capsys):
    out = tmp_path / "out"
    main([*command, str(out)])
    assert main(["report", str(out)]) == 0
    assert all((out / f"report.{kind}").is_file() for kind in ("html", "csv", "json"))
    assert main(["report", str(tmp_path)]) == 0, "a folder of results is a table over them"
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2


def test_an_error_of_the_program_is_code_1_with_its_traceback(command, tmp_path, capsys):
    assert main([*command, str(tmp_path / "out"), "--set", "fail=bug"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and "a bug on purpose" in said.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another thing there")
def test_ctrl_c_is_code_130_and_leaves_nothing(command, tmp_path):
    out = tmp_path / "out"
    words = [*LAUNCH, *command, str(out), "--set", "seconds=30"]
    # what shells start in the background ignores Ctrl-C, and so would this process
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, preexec_fn=heard)
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=10)[1].decode()
    assert process.returncode == 130 and said.strip() == "The registration was cancelled."
    assert not out.exists()


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_a_terminal_sees_stage_and_time_left(command, tmp_path):
    import pty

    ours, theirs = pty.openpty()
    words = [*LAUNCH, *command, str(tmp_path / "out"), "--set", "seconds=1.5"]
    with subprocess.Popen(words, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # what Linux says at the end of a pseudo-terminal
        told = process.stdout.read()
    os.close(ours)
    assert b"Moving" in shown and b"%" in shown and b"left" in shown and b"\r" in shown
    assert b"\r" not in told and process.returncode == 0


def test_words_of_the_bar():
    assert (
        line(ProgressReport("Measuring", 0.5, 65.2))
        == f"{'Measuring':<20} [{'#' * 12}{'-' * 12}]  50%  1 min 05 s left"
    )
    assert line(ProgressReport("Measuring", 1.0, None)).endswith("] 100%")
    assert [duration(s) for s in (0, 59.6, 61, 3600, 7805)] == [
        "0 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 10 min",
    ]


def test_the_console_function_is_not_replaced_by_the_folder_of_the_same_name():
    code = (
        "import DeepRegistrationLib as dr\n"
        "import DeepRegistrationLib.methods.pipeline\n"
        "from DeepRegistrationLib.methods import registry\n"
        "assert [m.id for m in dr.methods()] == [s.id for s in registry()]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT)
