"""`train` and `models` as they are typed, and the same from the console."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

import DeepRegistrationLib as dr
from DeepRegistrationLib import io
from DeepRegistrationLib.cli import main
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.io.model_cards import ENVIRONMENT, find_models
from DeepRegistrationLib.training.run_log import read_log

QUICK = ["train", "blobs", "--device", "cpu", "--steps", "6", "--out"]


@pytest.fixture(autouse=True)
def _own_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees or touches the user's models."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def test_recipes_are_listed_and_described(blobs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert "Shifted blobs" in capsys.readouterr().out
    assert main(["train", "blobs", "--describe"]) == 0
    said = capsys.readouterr().out
    assert "channels = 4" in said and "10 steps of 2: Head, All" in said


def test_it_trains_tells_and_draws(blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--set", "channels=5", "--batch", "3", "--id", "mine", "--title", "My blobs", "--learning-rate", "0.01"]
    assert main([*QUICK, str(tmp_path / "run"), *words]) == 0
    said = capsys.readouterr()
    assert "0 of 6  Head: Error (voxels)" in said.out and "6 of 6  All" in said.out and "loss shift" in said.out
    assert "before" in said.out and "Model 'mine' (My blobs) written to" in said.out and said.err == ""
    pictures = sorted(p.name for p in (tmp_path / "run" / "pictures").iterdir())
    assert pictures == ["best.png", "first.png", "latest.png"]
    assert main(["models", "--folder", str(tmp_path / "run")]) == 0
    listed = capsys.readouterr().out
    assert "mine: My blobs" in listed and "Error (voxels):" in listed and " after" in listed and "6 steps" in listed
    command = next(line for line in listed.splitlines() if "Command" in line)
    assert "--set channels=5" in command and "--batch 3" in command and "--learning-rate 0.01" in command


def test_the_command_of_the_card_trains_the_same(
    blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*QUICK, str(tmp_path / "run"), "--set", "channels=3", "--seed", "4", "--half", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    card = json.loads((Path(told["folder"]) / "card.json").read_text(encoding="utf-8"))
    words = card["training"]["command"].split()
    assert words[:3] == ["python", "-m", "DeepRegistrationLib"]
    assert main([str(tmp_path / "again") if w == "OUT" else w for w in words[3:]]) == 0
    again = json.loads((tmp_path / "again" / "model" / "card.json").read_text(encoding="utf-8"))
    assert again["sha256"] == card["sha256"] and again["results"] == card["results"] == told["results"]


def test_an_installed_model_is_found_and_tuned(blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*QUICK, str(tmp_path / "a"), "--install", "--id", "mine"]) == 0
    assert [m.id for m in find_models("blobs")] == ["mine"]
    assert [m.id for m in dr.models("blobs")] == ["mine"]
    assert main([*QUICK, str(tmp_path / "b"), "--start", "mine", "--id", "tuned"]) == 0
    capsys.readouterr()
    assert main(["models", "--json", "--folder", str(tmp_path / "b")]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert card["training"]["start"]["id"] == "mine" and "--start mine" in card["training"]["command"]


def test_bad_models_are_told_apart(blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("good", "changed", "pickled", "cardless"):
        model = ["--model", str(tmp_path / "models" / name), "--id", name]
        assert main([*QUICK, str(tmp_path / "runs" / name), *model]) == 0
    weights = {n: tmp_path / "models" / n / "model.safetensors" for n in ("changed", "pickled")}
    content = bytearray(weights["changed"].read_bytes())
    content[-1] ^= 1
    weights["changed"].write_bytes(content)
    torch.save({"a": torch.zeros(1)}, weights["pickled"])
    (tmp_path / "models" / "cardless" / "card.json").write_text("{}")
    capsys.readouterr()
    where = ["--folder", str(tmp_path / "models")]
    assert main(["models", *where, "--problems"]) == 2
    problems = capsys.readouterr().out.splitlines()
    assert len(problems) == 3
    for word in ("cardless", "SHA-256", "is a pickle"):
        assert sum(word in line for line in problems) == 1
    assert main(["models", *where]) == 0
    assert "1 more cannot be read" in capsys.readouterr().out
    for name, words in {"changed": "SHA-256", "pickled": "is a pickle"}.items():
        start = ["--start", str(tmp_path / "models" / name)]
        assert main([*QUICK, str(tmp_path / "tuned"), *start]) == 2
        assert words in capsys.readouterr().err
    assert main(["models", "--folder", str(tmp_path / "models" / "good"), "--problems"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "blob"], "did you mean 'blobs'"),
        (["train", "blobs"], "--out DIR"),
        ([*QUICK, "OUT", "--set", "channels"], "name=value"),
        ([*QUICK, "OUT", "--set", "chanels=3"], "did you mean 'channels'"),
        ([*QUICK, "OUT", "--cases", "nowhere"], "nowhere"),
        ([*QUICK, "OUT", "--names", "1=x"], "--cases"),
        ([*QUICK, "OUT", "--install", "--model", "x"], "--install"),
        ([*QUICK, "OUT", "--save"], "no training"),
    ],
)
def test_bad_orders_are_one_sentence(
    words: list[str], said: str, blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([str(tmp_path / "out") if w == "OUT" else w for w in words]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and len(error.strip().splitlines()) == 1


def test_ctrl_c_saves_and_resume_goes_on(blobs, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    long = ["train", "blobs", "--device", "cpu", "--out", str(tmp_path), "--steps"]

    def press() -> None:
        while not [e for e in read_log(tmp_path) if e["step"] > 5]:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    assert main([*long, "100000"]) == 130
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert "goes on from there when resumed" in capsys.readouterr().err
    done = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["step"]
    assert main([*long, "100000", "--save", "--model", str(tmp_path / "so far")]) == 0
    assert main([*long, str(done + 3), "--resume"]) == 0
    assert f"after {done} of {done + 3}" in capsys.readouterr().out
    steps = [e["step"] for e in read_log(tmp_path) if "losses" in e]
    assert steps == list(range(1, done + 4))


def test_from_the_console(blobs, tmp_path: Path) -> None:
    image = Image(torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)), Grid((4, 4), (1.0, 1.0)))
    for name in ("a", "b", "c"):
        io.write_image(image, tmp_path / f"{name}.nrrd")
    heard: list[object] = []
    model = dr.train(
        "blobs", tmp_path / "run", cases=tmp_path, steps=3, channels=3, device="cpu", id="x", report=heard.append
    )
    assert model.id == "x" and model.settings["network"]["channels"] == 3 and heard
    assert len(model.card["training"]["cases"]) == 2 and len(model.card["training"]["held_out"]) == 1
