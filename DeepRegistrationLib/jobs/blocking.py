"""Registering through the worker and waiting for it: the console inside Slicer."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..core.errors import Cancelled, InputError
from ..core.progress import ProgressReport
from .events import Event
from .failures import cancelled, error_from
from .folder import JobFolder
from .loading import INPUTS
from .outputs import write_input
from .results import ResultFolder
from .runner import Runner, RunningJob

if TYPE_CHECKING:
    from .perform import Request

#: s between two looks at the worker
_PACE = 0.05

Listener = Callable[[ProgressReport], None]


@cache
def shared_runner() -> Runner:
    """The runner of the console; its process stays warm between calls and ends with this one."""
    runner = Runner()
    atexit.register(runner.close)
    return runner


def register_in_worker(
    request: Request, progress: Listener | None = None, runner: Runner | None = None
) -> Any:
    """Run `request` in a worker process and wait. Ctrl-C cancels.

    Returns a ResultFolder where every input was a path: nothing here then loads torch. Images and other
    objects are handed over as files, and a RegistrationResult with them comes back.
    Raises what the registration itself raises.
    """
    folder = JobFolder.create()
    try:
        objects = _export(request, folder)
        job = (runner or shared_runner()).submit(folder)
        wait(job, progress)
    except BaseException:
        folder.remove()
        raise
    found = ResultFolder(folder.results)
    if not objects:
        return found
    return found.result(request.inputs)


def wait(
    job: RunningJob,
    progress: Listener | None = None,
    idle: Callable[[], None] | None = None,
    heard: Callable[[Event], None] | None = None,
    gently: bool = False,
) -> Event:
    """The result event. `idle` is called between two looks, to keep a window alive; `heard` with whatever is no
    progress and not the last word.

    Raises what stands for the error event; Ctrl-C cancels the job first. gently: the first Ctrl-C only asks it to stop.
    """
    idle = idle or _process_events
    try:
        while True:
            try:
                for event in job.poll():
                    if event.kind == "error":
                        raise error_from(event.category, event.text)
                    if event.kind == "result":
                        return event
                    if event.kind == "progress" and progress is not None:
                        progress(ProgressReport(event.stage, event.fraction, event.seconds_left))
                    elif event.kind != "progress" and heard is not None:
                        heard(event)
                idle()
                time.sleep(_PACE)
            except KeyboardInterrupt:
                if not gently:
                    raise
                gently = False
                job.ask_to_stop()
    except KeyboardInterrupt:
        job.cancel()
        raise Cancelled(cancelled(job.folder.task)) from None
    except BaseException:
        job.cancel()
        raise


def _process_events() -> None:
    app = getattr(sys.modules.get("slicer"), "app", None)
    if app is not None:
        app.processEvents()


def _export(request: Request, folder: JobFolder) -> bool:
    """Write problem.json, and objects as files; True where there was one."""
    paths, objects = {}, False
    for name, value in request.inputs.items():
        if name not in INPUTS:
            raise InputError(f"There is no input {name!r}; the inputs are {', '.join(INPUTS)}.")
        if isinstance(value, (str, os.PathLike)):
            paths[name] = os.path.abspath(os.path.expanduser(os.fspath(value)))
        else:
            paths[name] = write_input(name, value, folder.path)
            objects = True
    folder.write_problem(
        {
            "method": request.method,
            "preset": request.preset,
            "values": dict(request.values or {}),
            "device": request.device,
            "seed": request.seed,
            "threads": request.threads,
            "inputs": paths,
        }
    )
    return objects
