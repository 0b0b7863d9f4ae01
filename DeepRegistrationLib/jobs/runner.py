"""Starts worker processes and brings back what they say. Standard library only, no Qt, no torch.

A process that has finished its job waits for the next one. `poll` never blocks: two threads a process read
its output into a queue.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from .events import END_OF_LOG, Event, decode, error_event
from .failures import cancelled, describe_exit, oom_kills
from .folder import JobFolder
from .processes import end_tree, start

#: the folder that holds the library
_LIBRARY_PARENT = str(Path(__file__).resolve().parents[2])
#: s to wait for the last words of a process that has ended
_LAST_WORDS = 1.0
#: lines of a log kept in memory; the file keeps all
_LOG_LINES = 20_000


class RunningJob:
    """One submitted job. `finished` becomes True once `poll` has handed out its last event."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self._events: deque[Event] = deque()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._lock = threading.Lock()
        self._closed = False
        self._finished = False
        self._worker: _Worker | None = None

    @property
    def finished(self) -> bool:
        return self._finished

    def poll(self) -> list[Event]:
        """What happened since the last call, in order; never blocks."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            self._finished = self._finished or any(e.is_last for e in events)
        return events

    def cancel(self) -> None:
        """End the process tree in less than a second; the last event is then an error of category
        "cancelled".

        Does nothing to a job whose last event was polled.
        """
        with self._lock:
            if self._finished:
                return
            running = not self._closed
            self._events = deque(e for e in self._events if not e.is_last)
            self._closed = True
            self._events.append(error_event("cancelled", cancelled(self.folder.task)))
        if running and self._worker is not None:
            self._worker.end()

    def ask_to_stop(self) -> None:
        """The worker ends the job by itself, soon: a training writes a checkpoint first. Its last event is that of
        `cancel`."""
        self.folder.ask_to_stop()

    def log_text(self) -> str:
        """What the process wrote besides events, so far."""
        with self._lock:
            return "".join(self._log)

    def _receive(self, event: Event) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = event.is_last
            self._events.append(event)

    def _receive_log(self, line: str) -> None:
        with self._lock:
            self._log.append(line if line.endswith("\n") else line + "\n")
            if not self._closed:
                self._events.append(Event("log", text=line.rstrip("\r\n")))
        # a folder that was removed meanwhile needs no log
        with contextlib.suppress(OSError), open(self.folder.log, "a", encoding="utf-8") as file:
            file.write(line if line.endswith("\n") else line + "\n")


class Runner:
    """Submits jobs to worker processes and keeps one of them warm.

    python       command of the interpreter; PythonSlicer inside the Slicer application, else this interpreter
    environment  of the processes; this process's where not given
    """

    def __init__(
        self, python: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = list(python) if python else default_python()
        self._environment = worker_environment(os.environ if environment is None else environment)
        self._workers: list[_Worker] = []

    def warm_up(self) -> None:
        """Start a process now, so that the first job need not wait for torch to load."""
        with contextlib.suppress(OSError):
            self._idle_worker()

    def submit(self, folder: JobFolder) -> RunningJob:
        """Start the job of `folder`, in the idle process where there is one; what fails is an event."""
        job = RunningJob(folder)
        for _ in range(2):  # an idle process may just have died
            try:
                worker = self._idle_worker()
            except OSError as error:
                said = f"Python could not be started ({self._python[0]!r}: {error.strerror or error})"
                job._receive(error_event("crash", f"{said}; check the installation and run again."))
                return job
            if worker.give(job):
                return job
        said = f"The {folder.task} process ended before it could start; run again."
        job._receive(error_event("crash", said))
        return job

    def close(self) -> None:
        """End every process; a job that still runs is cancelled."""
        for worker in self._workers:
            job = worker.job
            if job is not None:
                job.cancel()
            worker.end()
        self._workers.clear()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _idle_worker(self) -> _Worker:
        self._workers = [w for w in self._workers if w.alive]
        idle = [w for w in self._workers if w.job is None]
        for spare in idle[1:]:
            spare.end()
        if idle:
            return idle[0]
        command = [*self._python, "-m", "DeepRegistrationLib", "worker"]
        worker = _Worker(start(command, self._environment, _LIBRARY_PARENT))
        self._workers.append(worker)
        return worker


class _Worker:
    """One process and the job it is on."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._ended = False
        self._kills_before = oom_kills()
        # what was said before the first job (a failed import) belongs to that job's log
        self._early: list[str] = []
        self.job: RunningJob | None = None
        self._log_ended = threading.Event()
        self._errors = threading.Thread(target=self._read_log, daemon=True)
        self._errors.start()
        threading.Thread(target=self._read_events, daemon=True).start()

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def give(self, job: RunningJob) -> bool:
        """False where the process cannot take it any more."""
        with self._lock:
            if self._ended:
                return False
            self.job, job._worker = job, self
            self._kills_before = oom_kills()
            early, self._early = self._early, []
        for line in early:
            job._receive_log(line)
        try:
            stdin = _pipe(self._process.stdin)
            stdin.write(f"{job.folder.path}\n".encode())
            stdin.flush()
        except OSError:
            # the reader of its output reports why it ended, unless it had done so before the job came
            return not self._take_back(job)
        return True

    def end(self) -> None:
        self._ended = True
        end_tree(self._process)

    def _take_back(self, job: RunningJob) -> bool:
        with self._lock:
            mine = self._ended and self.job is job
            if mine:
                self.job = None
            return mine

    def _read_events(self) -> None:
        for raw in _pipe(self._process.stdout):
            line = raw.decode("utf-8", errors="replace")
            said = decode(line)
            if said is None:
                self._log_line(line)
                continue
            job = self.job
            if job is None or said[0] != str(job.folder.path):
                continue
            if said[1].is_last:
                self._log_ended.wait(_LAST_WORDS)
                self._log_ended.clear()
                self.job = None  # idle before the owner hears of it, so that a new job finds it so
            job._receive(said[1])
        self._finish()

    def _read_log(self) -> None:
        for raw in _pipe(self._process.stderr):
            ended = raw.endswith(END_OF_LOG)
            line = raw.removesuffix(END_OF_LOG).decode("utf-8", errors="replace")
            if line:
                self._log_line(line)
            if ended:
                self._log_ended.set()

    def _log_line(self, line: str) -> None:
        with self._lock:
            job = self.job
            if job is None:
                self._early.append(line)
        if job is not None:
            job._receive_log(line)

    def _finish(self) -> None:
        """The process has closed its output: tell the job it was on."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS)
        self._errors.join(_LAST_WORDS)
        with self._lock:
            self._ended = True
            job, self.job = self.job, None
        if job is not None:
            ran_out = oom_kills() > self._kills_before
            said = describe_exit(self._process.poll(), job.log_text(), ran_out, job.folder.task)
            job._receive(error_event(*said))


def default_python() -> list[str]:
    """PythonSlicer inside the Slicer application, which has it on its path; else this interpreter."""
    if getattr(sys.modules.get("slicer"), "app", None) is not None:
        found = shutil.which("PythonSlicer")
        if found:
            return [found]
    return [sys.executable]


def worker_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` as it is, with the library findable and output unbuffered."""
    environment = dict(base)
    there = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (_LIBRARY_PARENT, there) if p)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise OSError("the process was started without pipes")
    return stream
