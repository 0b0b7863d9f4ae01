"""Job folders: private, complete, cleaned up after their owner."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time

import pytest

from DeepRegistrationLib.core.errors import InputError, OutputError
from DeepRegistrationLib.jobs import JobFolder


def owned_by(folder, pid, age=0.0):
    (folder.path / "owner.json").write_text(json.dumps({"pid": pid, "created": time.time() - age}))


def ended_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_only_the_owner_can_read_it(tmp_path):
    folder = JobFolder.create(tmp_path)
    assert folder.path.is_dir()
    if os.name != "nt":
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_the_problem_comes_back_and_paths_are_full(tmp_path):
    folder = JobFolder.create(tmp_path)
    problem = {
        "method": "m",
        "values": {"a": 1.5},
        "inputs": {"fixed": "f.nrrd", "moving": "/m.nrrd", "x": None},
    }
    folder.write_problem(problem)
    assert folder.read_problem() == problem
    assert folder.inputs() == {"fixed": str(folder.path / "f.nrrd"), "moving": os.path.abspath("/m.nrrd")}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        '{"method": "m"}',
        '{"inputs": {}}',
        '{"method": 1, "inputs": 2}',
        '{"task": "paint", "method": "m", "inputs": {}}',
        '{"task": "register", "inputs": {"transform": "t.tfm"}}',
        '{"task": "review", "method": "m", "inputs": {"fixed": "f.nrrd"}}',
        '{"task": ["review"], "inputs": {"transform": "t.tfm"}}',
    ],
)
def test_a_damaged_problem_is_a_sentence(tmp_path, text):
    folder = JobFolder.create(tmp_path)
    if text is not None:
        (folder.path / "problem.json").write_text(text)
    with pytest.raises(InputError, match="submit"):
        folder.read_problem()


def test_what_a_job_does_is_known_to_sentences_about_it(tmp_path):
    folder = JobFolder.create(tmp_path)
    assert folder.task == "registration"
    folder.write_problem({"task": "review", "inputs": {"transform": "t.tfm"}})
    assert folder.task == "review" and folder.inputs() == {"transform": str(folder.path / "t.tfm")}


def test_folders_of_ended_processes_are_removed_and_others_kept(tmp_path):
    dead, old, mine = (JobFolder.create(tmp_path) for _ in range(3))
    owned_by(dead, ended_process())
    owned_by(old, os.getpid(), age=8 * 24 * 3600)
    foreign = tmp_path / "DeepRegistration-of-somebody"
    foreign.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "owner.json").write_text(json.dumps({"pid": ended_process(), "created": 0}))
    new = JobFolder.create(tmp_path)
    assert not dead.path.exists() and not old.path.exists()
    assert all(path.is_dir() for path in (mine.path, new.path, foreign, other))


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_that_looks_like_a_stale_folder_is_not_followed(tmp_path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "owner.json").write_text(json.dumps({"pid": ended_process(), "created": 0}))
    (tmp_path / "DeepRegistration-link").symlink_to(treasure)
    JobFolder.create(tmp_path)
    assert (treasure / "owner.json").exists()


def test_no_place_for_a_folder(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        JobFolder.create(tmp_path / "nowhere")


def test_remove(tmp_path):
    folder = JobFolder.create(tmp_path)
    folder.write_problem({"method": "m", "inputs": {}})
    folder.remove()
    assert not folder.path.exists()


def test_a_folder_can_go_file_by_file(tmp_path):
    folder = JobFolder.create(tmp_path)
    (folder.path / "results" / "deep").mkdir(parents=True, exist_ok=True)
    for name in ("results/moved.nrrd", "results/deep/x", "log.txt"):
        (folder.path / name).write_text("x")
    count = sum(path.is_file() for path in folder.path.rglob("*"))
    assert len(list(folder.removal())) == count >= 3
    assert not folder.path.exists()
    assert list(folder.removal()) == []
