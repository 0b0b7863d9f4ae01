"""The process that computes. `python -m DeepRegistrationLib worker` reads paths of job folders, one a line,
from its standard input and answers with events (see events.py) on its standard output; what libraries print
goes to standard error. It ends when standard input ends, even in the middle of a job, so that it never
outlives its owner."""

from __future__ import annotations

import faulthandler
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from ..core.progress import Progress, ProgressReport
from .events import END_OF_LOG, Event, encode, error_event
from .failures import describe_error
from .folder import JobFolder, task_of

if TYPE_CHECKING:
    from .perform import Outcome

Emit = Callable[[Event], None]

#: s between two reports of progress within a stage
_PACE = 0.1


def main(jobs: Iterable[str] = ()) -> int:
    """Run `jobs` (paths) and return; without any, serve standard input until it ends."""
    faulthandler.enable()
    channel = _claim_stdout()
    jobs = list(jobs)
    if jobs:
        return max(_run_line(path, channel) for path in jobs)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    _preload()
    while True:
        _run_line(waiting.get(), channel)


def _claim_stdout() -> IO[bytes]:
    """Keep standard output for events; whatever else writes there, from C code too, ends in the log."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return channel


def _listen(waiting: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin.buffer:
        path = line.decode("utf-8").strip()
        if path:
            waiting.put(path)
    sys.stderr.flush()
    os._exit(0)  # the owner is gone: stop now, whatever the main thread is doing


def _preload() -> None:
    """Load what every job needs while the user is still choosing; the first job reports what is missing."""
    try:
        from .. import metrics  # noqa: F401
        from ..core import device  # noqa: F401
        from ..io import read_image, read_transform  # noqa: F401
    except ImportError:
        traceback.print_exc()


def _run_line(path: str, channel: IO[bytes]) -> int:
    def emit(event: Event) -> None:
        if event.is_last:
            sys.stderr.flush()
            os.write(sys.stderr.fileno(), END_OF_LOG)
        channel.write(encode(event, path))
        channel.flush()

    return run_job(JobFolder(path), emit)


def run_job(folder: JobFolder, emit: Emit) -> int:
    """Run one job; the last event is its result or its error. Returns 0, or 1 for an error."""
    try:
        emit(_perform(folder, emit))
    except (Exception, KeyboardInterrupt) as error:
        category, text = describe_error(error, folder.task)
        if category == "crash":
            traceback.print_exc()
        sys.stderr.flush()
        emit(error_event(category, text))
        return 1
    finally:
        _free()
    return 0


def _perform(folder: JobFolder, emit: Emit) -> Event:
    from .outputs import plain
    from .results import ResultFolder

    problem = folder.read_problem()
    progress = Progress(_reporter(emit), folder.asked_to_stop)
    if task_of(problem) == "train":
        from .training import order_of, perform_training

        return perform_training(order_of(problem), progress, emit)
    work = {"register": _register, "review": _review}[task_of(problem)]
    done = work(problem, folder, progress)
    for sentence in done.messages:
        emit(Event("message", text=sentence))
    for line in done.evaluation.summary_lines():
        emit(Event("metric", text=line))
    written = ResultFolder(folder.results)
    files = {name: str(folder.results / file) for name, file in done.files.items()}
    data = {"files": files, "metrics": written.metrics, "provenance": written.provenance}
    return Event("result", stage="Finished", fraction=1.0, data=plain(data))


def _register(problem: Mapping[str, Any], folder: JobFolder, progress: Progress) -> Outcome:
    from .perform import Request, perform

    request = Request(
        inputs=folder.inputs(),
        method=problem["method"],
        preset=problem.get("preset"),
        values=problem.get("values"),
        device=problem.get("device") or "auto",
        seed=int(problem.get("seed") or 0),
        threads=problem.get("threads"),
    )
    return perform(request, folder.results, progress, compressed=False)


def _review(problem: Mapping[str, Any], folder: JobFolder, progress: Progress) -> Outcome:
    from .review import perform_review, request_of

    return perform_review(request_of(problem, folder.inputs()), folder.results, progress, compressed=False)


def _reporter(emit: Emit) -> Callable[[ProgressReport], None]:
    last, stage = float("-inf"), ""

    def report(now: ProgressReport) -> None:
        nonlocal last, stage
        moment = time.monotonic()
        if now.stage == stage and moment - last < _PACE:
            return
        last, stage = moment, now.stage
        emit(Event("progress", stage=now.stage, fraction=now.fraction, seconds_left=now.seconds_left))

    return report


def _free() -> None:
    """A warm worker waits without holding the last job's memory."""
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
