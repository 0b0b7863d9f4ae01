"""Runs work of the application process piece by piece between its events, so that the windows stay alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import qt

#: s of work before the application gets its turn
_SLICE = 0.04


class Steps:
    """Drives a generator: `said` hears every word that it yields, `done` what it returns, `failed` its exception."""

    def __init__(
        self,
        work: Generator[str, None, Any],
        said: Callable[[str], None],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._work: Generator[str, None, Any] | None = work
        self._said, self._done, self._failed = said, done, failed
        #: the longest that the application had to wait, s
        self.longest = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._go)
        self._timer.start()

    def abandon(self) -> None:
        """Stop and tell nobody; the generator cleans up after itself."""
        work, self._work = self._work, None
        self._end()
        if work is not None:
            work.close()

    def _go(self) -> None:
        begun, end = time.monotonic(), None
        try:
            while self._work is not None and time.monotonic() - begun < _SLICE:
                self._said(next(self._work))
        except StopIteration as finished:
            value = finished.value
            end = lambda: self._done(value)  # noqa: E731
        except Exception as error:
            caught = error
            end = lambda: self._failed(caught)  # noqa: E731
        self.longest = max(self.longest, time.monotonic() - begun)
        if end is not None:
            self._work = None
            self._end()
            end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.disconnect("timeout()", self._go)
            self._timer.deleteLater()
            self._timer = None
