"""Several processes train as one does, with no change to a recipe."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.io.model_cards import read_model
from DeepRegistrationLib.io.weights import load_weights
from DeepRegistrationLib.training.distributed import Team
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.training.run_log import read_log

LAUNCHER = str(Path(__file__).with_name("with_blobs.py"))
#: what the processes compute is then the same but for the order of sums: nothing looks at the whole batch
ALONE = ["--set", "dropout=0", "--set", "norm=no"]


def by_hand(out: Path, *words: str) -> list[dict]:
    """The log of two processes, each told of the other as torchrun would do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    team = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, LAUNCHER, "train", "blobs", "--out", str(out), "--device", "cpu", *words]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **team, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [p.communicate(timeout=240) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], said
    assert "written to" in said[0][0] and said[1][0] == ""  # only the first process speaks
    return read_log(out)


def alone(out: Path, steps: int, resume: bool = False) -> list[dict]:
    settings = {"dropout": 0, "norm": False}
    run_training(TrainingRequest("blobs", out, settings, steps=steps, batch=3, device="cpu", resume=resume))
    return read_log(out)


def same(a: list[dict], b: list[dict]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert (x["step"], x["stage"]) == (y["step"], y["stage"])
        for key in ("losses", "numbers"):
            if key in x:
                assert x[key] == pytest.approx(y[key], rel=1e-4, abs=1e-6)
    assert len([e for e in a if "losses" in e]) > 5


def test_two_processes_give_the_loss_curve_of_one(blobs, tmp_path: Path) -> None:
    """Three pairs a step: the processes have two and one. One parameter is never used, some are not in the first stage;
    it goes on with another number of processes."""
    one = alone(tmp_path / "one", 12)
    two = by_hand(tmp_path / "two", *ALONE, "--batch", "3", "--steps", "12")
    same(one, two)
    first, second = (load_weights(read_model(tmp_path / n / "model")) for n in ("one", "two"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-5)
    longer = alone(tmp_path / "two", 18, resume=True)
    same(longer[: len(two)], two)
    assert longer[-1]["step"] == 18


def test_torchrun_is_stopped_with_a_checkpoint(tmp_path: Path) -> None:
    """torchrun hands a polite kill to its processes; the team ends between two steps."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", LAUNCHER]
    words = ["--device", "cpu", *ALONE, "--steps", "100000", "--checkpoint-minutes", "1000"]
    process = subprocess.Popen(
        [*torchrun, "train", "blobs", "--out", str(tmp_path), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 240
    while not [e for e in read_log(tmp_path) if e["step"] > 3]:
        assert time.monotonic() < until and process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert 3 < summary["step"] < 100000 and (tmp_path / "checkpoint.safetensors").exists()


def test_pairs_are_shared_out() -> None:
    cpu = torch.device("cpu")
    taken = [list(Team(cpu, rank, 3).numbers(7)) for rank in range(3)]
    assert taken == [[0, 3, 6], [1, 4], [2, 5]]


def test_too_few_pairs_for_the_processes_is_said() -> None:
    Team(torch.device("cpu"), 0, 4).check(4)
    with pytest.raises(InputError, match="--batch 4"):
        Team(torch.device("cpu"), 0, 4).check(3)
