"""The private folder of one job: what to do, the volumes, later the results and the log."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InputError, OutputError
from .processes import is_alive

#: value of "task" in problem.json -> what a user calls it
TASKS = {"register": "registration", "review": "review", "train": "training"}
_PREFIX = "DeepRegistration-"
_OWNER = "owner.json"
_STOP = "stop"
#: a folder this old is stale even where its owner's process number is in use again
_STALE_SECONDS = 7 * 24 * 3600.0


class JobFolder:
    """`path` holds problem.json and, after the run, `results` and log.txt. Only its owner can read it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, base: str | os.PathLike[str] | None = None) -> JobFolder:
        """A new folder (0700) in `base` or the system's folder for temporary files; stale ones there are
        removed.

        Raises OutputError where it cannot be made.
        """
        parent = Path(base) if base is not None else Path(tempfile.gettempdir())
        remove_stale(parent)
        try:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            owner = {"pid": os.getpid(), "created": time.time()}
            (path / _OWNER).write_text(json.dumps(owner), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"No folder for the job could be made in {str(parent)!r} ({error.strerror or error}); "
                "free some space or choose another folder for temporary files."
            ) from error
        return cls(path)

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def write_problem(self, problem: Mapping[str, Any]) -> None:
        """problem.json. A registration has method, preset, values, device, seed, threads; a review has "task":
        "review" and what review.request_of reads, a training "train" and what training.order_of reads. Each has
        inputs: name -> relative or full path.
        """
        text = json.dumps(problem, indent=2, allow_nan=False)
        (self.path / "problem.json").write_text(text + "\n", encoding="utf-8")

    def read_problem(self) -> dict[str, Any]:
        """Raises InputError where there is none or it is damaged."""
        try:
            found = json.loads((self.path / "problem.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"The job in {str(self.path)!r} cannot be read ({error}); submit it again."
            ) from None
        lacking = _lacking(found)
        if lacking:
            raise InputError(f"problem.json in {str(self.path)!r} {lacking}; submit the job again.")
        content: dict[str, Any] = found
        return content

    def ask_to_stop(self) -> None:
        """The worker shall end the job by itself when it next reports progress, as if it was cancelled."""
        with contextlib.suppress(OSError):
            (self.path / _STOP).touch()

    def asked_to_stop(self) -> bool:
        return (self.path / _STOP).exists()

    @property
    def task(self) -> str:
        """What a user calls the work ordered here, for sentences about it."""
        try:
            return TASKS[task_of(self.read_problem())]
        except InputError:
            return TASKS[task_of({})]

    def inputs(self) -> dict[str, str]:
        """Input name -> full path; those that are null are left out."""
        given = self.read_problem()["inputs"]
        return {name: str(self.path / path) for name, path in given.items() if path}

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def removal(self) -> Generator[str, None, None]:
        """`remove`, yielding after every file: the disk takes its time with large ones."""
        for path in sorted(self.path.rglob("*"), reverse=True):
            if not path.is_dir():
                with contextlib.suppress(OSError):
                    path.unlink()
                yield "Tidying up"
        self.remove()


def task_of(problem: Mapping[str, Any]) -> str:
    """A key of TASKS; what a problem asks for that says nothing is a registration."""
    return str(problem.get("task") or "register")


def _lacking(problem: Any) -> str:
    """What is wrong with the content of problem.json; "" where nothing is."""
    inputs = problem.get("inputs") if isinstance(problem, dict) else None
    if not isinstance(inputs, dict):
        return "lacks 'inputs'"
    task = task_of(problem)
    if task not in TASKS:
        return f"asks for {task!r}, but a worker can do {' and '.join(TASKS)}"
    if task == "register" and "method" not in problem:
        return "lacks 'method'"
    if task == "review" and not inputs.get("transform"):
        return "lacks the input 'transform'"
    if task == "train" and not (problem.get("recipe") and problem.get("out")):
        return "lacks 'recipe' or 'out'"
    return ""


def remove_stale(base: Path) -> None:
    """Remove job folders of ours whose process has ended, or that are a week old."""
    for path in _own_folders(base):
        try:
            owner = json.loads((path / _OWNER).read_text(encoding="utf-8"))
            alive = is_alive(int(owner["pid"]))
            age = time.time() - float(owner["created"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not one of ours, or being made at this moment
        if not alive or age > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _own_folders(base: Path) -> Iterator[Path]:
    uid = getattr(os, "getuid", lambda: None)()
    with contextlib.suppress(OSError):
        for entry in os.scandir(base):
            if not entry.name.startswith(_PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            if uid is None or entry.stat(follow_symlinks=False).st_uid == uid:
                yield Path(entry.path)
