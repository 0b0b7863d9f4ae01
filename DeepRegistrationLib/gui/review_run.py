"""One review from nodes to nodes: export, measure in the worker, load. Nothing of it blocks the application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError
from ..jobs import Event, JobFolder, RunningJob, blocking
from ..mrml.inputs import Exported
from ..mrml.review_inputs import ReviewNodes, export_review
from ..mrml.review_results import ReviewOutputs, load_review
from .steps import Steps
from .watch import JobWatch

#: shares of the progress bar
_EXPORTED, _MEASURED = 0.15, 0.85


class Listener(Protocol):
    """Who hears of a review: `progressed` any number of times, then one of the others."""

    def progressed(self, fraction: float, text: str, seconds_left: float | None) -> None: ...

    def heard(self, text: str) -> None: ...

    def reviewed(self, outputs: ReviewOutputs) -> None: ...

    def failed(self, sentence: str) -> None: ...


class ReviewRun:
    """Starts at once. `cancel` ends it from outside and tells the listener, `abandon` tells nobody."""

    def __init__(
        self, nodes: ReviewNodes, listener: Listener, *, ensemble: Mapping[str, Any] | None = None
    ) -> None:
        self._nodes = nodes
        self._listener: Listener | None = listener
        self._folder = JobFolder.create()
        self._watch: JobWatch | None = None
        self.job: RunningJob | None = None
        #: the longest that the application had to wait, s
        self.longest_step = 0.0
        work = export_review(nodes, self._folder, maps=None, ensemble=ensemble)
        self._steps: Steps | None = Steps(work, self._exporting, self._submit, self._failed)

    def cancel(self) -> None:
        """End it now and say so."""
        listener = self._listener
        self.abandon()
        if listener is not None:
            listener.failed(_("Cancelled; the scene is as it was."))

    def abandon(self) -> None:
        """End it now without a word."""
        self._listener = None
        if self._steps is not None:
            self._steps.abandon()
            self._steps = None
        if self._watch is not None:
            self._watch.abandon()
            self._watch = None
        self._folder.remove()

    # ------------------------------------------------------------------ export

    def _exporting(self, text: str) -> None:
        self._tell(lambda listener: listener.progressed(0.5 * _EXPORTED, text, None))

    def _submit(self, exported: Exported) -> None:
        self._close_steps()
        self._labels, self._messages = exported.labels, exported.messages
        try:
            self.job = blocking.shared_runner().submit(self._folder)
        except DeepRegistrationError as error:
            self._failed(error)
            return
        self._watch = JobWatch(self.job, self)

    # ------------------------------------------------------------------ the worker (see watch.Listener)

    def heard(self, event: Event) -> None:
        if event.kind == "progress":
            done = _EXPORTED + (_MEASURED - _EXPORTED) * event.fraction
            self._tell(lambda listener: listener.progressed(done, event.stage, event.seconds_left))
        elif event.text:
            self._tell(lambda listener: listener.heard(event.text))

    def finished(self, event: Event) -> None:
        self._watch = None
        if event.kind != "result":
            self._end(lambda listener: listener.failed(event.text))
            return
        work = load_review(self._nodes, event.data, self._labels, self._messages)
        self._steps = Steps(work, self._loading, self._loaded, self._failed)

    # ------------------------------------------------------------------ loading

    def _loading(self, text: str) -> None:
        self._tell(lambda listener: listener.progressed(0.5 * (_MEASURED + 1), text, None))

    def _loaded(self, outputs: ReviewOutputs) -> None:
        self._close_steps()
        self._end(lambda listener: listener.reviewed(outputs))

    def _failed(self, error: Exception) -> None:
        self._close_steps()
        if isinstance(error, DeepRegistrationError):
            text = str(error)
        else:
            logging.error("A review failed", exc_info=error)
            text = _("The review failed because of an error in the program ({kind}: {text}).").format(
                kind=type(error).__name__, text=" ".join(str(error).split())[:200]
            )
        self._end(lambda listener: listener.failed(text))

    # ------------------------------------------------------------------ inner workings

    def _close_steps(self) -> None:
        if self._steps is not None:
            self.longest_step = max(self.longest_step, self._steps.longest)
            self._steps = None

    def _tell(self, word: Callable[[Listener], None]) -> None:
        if self._listener is not None:
            word(self._listener)

    def _end(self, word: Callable[[Listener], None]) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            word(listener)
        # what is left behind where this fails or the application ends is removed by a later job
        Steps(self._folder.removal(), lambda _text: None, lambda _value: None, lambda _error: None)
