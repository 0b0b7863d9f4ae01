"""Looks at a running job now and then, so that the application never waits for it."""

from __future__ import annotations

from typing import Protocol

import qt

from ..jobs import Event, RunningJob

_INTERVAL_MS = 100


class Listener(Protocol):
    """Who hears of a job. `finished` is called once, with the last event (kind "result" or "error")."""

    def heard(self, event: Event) -> None: ...

    def finished(self, event: Event) -> None: ...


class JobWatch:
    """Polls `job` by a timer of Qt and tells `listener`, in the thread of the application."""

    def __init__(self, job: RunningJob, listener: Listener) -> None:
        self.job = job
        self._listener: Listener | None = listener
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.look)
        self._timer.start()

    def look(self) -> None:
        """Hand on what happened since the last look."""
        for event in self.job.poll():
            listener = self._listener
            if listener is None:
                return
            if event.is_last:
                self._stop()
                listener.finished(event)
                return
            listener.heard(event)

    def cancel(self) -> None:
        """End the job now; `finished` hears of it before this returns."""
        self.job.cancel()
        self.look()

    def abandon(self) -> None:
        """End the job and tell nobody: the scene or the panel goes away."""
        self._stop()
        self.job.cancel()
        self.job.poll()

    def _stop(self) -> None:
        self._listener = None
        self._timer.stop()
        self._timer.disconnect("timeout()", self.look)
        self._timer.deleteLater()
