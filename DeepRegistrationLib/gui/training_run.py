"""One training from the panel: the cases are written, the worker trains. Nothing of it blocks the application.

What is learned lies in a folder of its own (jobs/training_folder.py), whatever becomes of the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..jobs import Event, JobFolder, RunningJob, blocking
from ..jobs.training import CaseFiles, TrainingOrder
from ..jobs.training_folder import TrainingFolder
from ..mrml.training_cases import CaseRow, export_cases
from .steps import Steps
from .watch import JobWatch

#: ms until a worker that was asked to stop is ended
_PATIENCE_MS = 60_000
#: s that an application which closes waits for a checkpoint
_FAREWELL = 4.0


class Listener(Protocol):
    """Who hears of a training: any number of the first ones, then `ended` once."""

    def progressed(self, fraction: float, text: str, seconds_left: float | None) -> None: ...

    def heard(self, text: str, message: bool) -> None:
        """A line of the log; message: a sentence the user should read."""

    def measured(self, event: Event) -> None:
        """An event of kind "losses" or "validation", see jobs.Event."""

    def ended(self, how: str, text: str, data: Mapping[str, Any]) -> None:
        """how is "finished" (data is that of the result), "stopped" or "failed"."""


class TrainingRun:
    """`begin` starts it.

    rows  cases that are to be written first; None: those of the order are files already
    """

    def __init__(
        self,
        folder: TrainingFolder,
        order: TrainingOrder,
        title: str,
        listener: Listener,
        rows: Sequence[CaseRow] | None = None,
    ) -> None:
        self.folder, self._order, self._title, self._rows = folder, order, title, rows
        self._listener: Listener | None = listener
        self._steps: Steps | None = None
        self._watch: JobWatch | None = None
        self._job_folder: JobFolder | None = None
        self._patience: Any = None
        self.job: RunningJob | None = None
        self.stopping = False

    def begin(self) -> None:
        """Write the cases where there are any to write, then hand the order to a worker."""
        if self._rows is None:
            self._submit()
        else:
            work = export_cases(self._rows, self.folder.cases)
            self._steps = Steps(work, self._exporting, self._exported, self._failed)

    def stop(self) -> None:
        """Ask the worker to write a checkpoint and end; a worker that does not is ended."""
        self.stopping = True
        if self._steps is not None:
            self._steps.abandon()
            self._steps = None
            self._end("stopped", "")
        elif self.job is not None and self._patience is None:
            self.job.ask_to_stop()
            self._patience = qt.QTimer()
            self._patience.setSingleShot(True)
            self._patience.setInterval(_PATIENCE_MS)
            self._patience.connect("timeout()", self._lose_patience)
            self._patience.start()

    def abandon(self) -> None:
        """Nobody is told any more. The worker writes a checkpoint and ends."""
        self._listener = None
        if self._steps is not None or (self.job is not None and not self.job.finished):
            self.stop()

    def wait_for_checkpoint(self) -> None:
        """The application closes: give an abandoned worker a moment, then end it."""
        end = time.monotonic() + _FAREWELL
        while self._watch is not None and time.monotonic() < end:
            time.sleep(0.05)
            self._watch.look()
        if self._watch is not None:
            self._lose_patience()

    # ------------------------------------------------------------------ cases

    def _exporting(self, text: str) -> None:
        if self._listener is not None:
            self._listener.progressed(0.0, text, None)

    def _exported(self, files: list[CaseFiles]) -> None:
        self._steps = None
        self._order = replace(self._order, cases=tuple(files))
        try:
            self.folder.write_order(self._order, self._title)
        except DeepRegistrationError as error:
            self._failed(error)
            return
        self._submit()

    def _submit(self) -> None:
        try:
            self._job_folder = JobFolder.create()
            self._job_folder.write_problem(self._order.problem())
            self.job = blocking.shared_runner().submit(self._job_folder)
        except DeepRegistrationError as error:
            self._failed(error)
            return
        self._watch = JobWatch(self.job, self)

    # ------------------------------------------------------------------ the worker (see watch.Listener)

    def heard(self, event: Event) -> None:
        listener = self._listener
        if listener is None:
            return
        if event.kind == "progress":
            listener.progressed(event.fraction, event.stage, event.seconds_left)
        elif event.kind in ("losses", "validation"):
            listener.measured(event)
        elif event.text:
            listener.heard(event.text, event.kind == "message")

    def finished(self, event: Event) -> None:
        self._watch = None
        if event.kind == "result":
            self._end("finished", "", event.data)
        elif event.category == "cancelled":
            self._end("stopped", "")
        else:
            self._end("failed", event.text)

    # ------------------------------------------------------------------ inner workings

    def _failed(self, error: Exception) -> None:
        self._steps = None
        if isinstance(error, DeepRegistrationError):
            self._end("failed", str(error))
            return
        logging.error("A training could not be started", exc_info=error)
        said = _("The training could not be started because of an error in the program ({kind}: {text}).")
        self._end("failed", said.format(kind=type(error).__name__, text=" ".join(str(error).split())[:200]))

    def _lose_patience(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _end(self, how: str, text: str, data: Mapping[str, Any] | None = None) -> None:
        if self._patience is not None:
            self._patience.stop()
        if how != "finished" and not self.folder.standing().began:
            self.folder.remove()  # nothing was learned, and nobody needs copies of the scans
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.ended(how, text, data or {})
        if self._job_folder is not None:
            self._job_folder.remove()
