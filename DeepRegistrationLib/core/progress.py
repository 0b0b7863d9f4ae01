"""Progress that never runs backwards, with time left, and the place where a cancel is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled


@dataclass(frozen=True)
class ProgressReport:
    """fraction 0..1 of the whole run; seconds_left is None until it can be guessed."""

    stage: str
    fraction: float
    seconds_left: float | None


Listener = Callable[[ProgressReport], None]

#: called now and then within a long computation; raises to end it (`Progress.tick`)
Tick = Callable[[], None]


def no_tick() -> None:
    """Nothing to do meanwhile."""


class Progress:
    """Collects progress and passes it on; raises Cancelled from `update` when `cancelled()` says so.

    A part of a run reports 0..1 of its own through `part(start, end, stage)`; parts nest.
    """

    def __init__(
        self, listener: Listener | None = None, cancelled: Callable[[], bool] | None = None
    ) -> None:
        self._listener = listener
        self._cancelled = cancelled
        self._best = 0.0
        self._before = 0.0
        self._begun = time.monotonic()
        self._stage = ""

    def update(self, fraction: float, stage: str | None = None) -> None:
        """Report that `fraction` of the whole is done. Raises Cancelled where the user asked to stop."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled()
        self._stage = stage or self._stage
        self._best = max(self._best, min(1.0, fraction))
        if self._listener is not None:
            self._listener(ProgressReport(self._stage, self._best, self._left()))

    def already(self, fraction: float) -> None:
        """`fraction` of the whole was done by an earlier run: the time left is guessed from what is done from now."""
        self._best = self._before = max(self._best, min(1.0, fraction))
        self._begun = time.monotonic()

    def tick(self) -> None:
        """Nothing new but the time left; a chance to cancel within a long step. Raises Cancelled."""
        self.update(self._best)

    def part(self, start: float, end: float, stage: str | None = None) -> PartialProgress:
        return PartialProgress(self, start, end, stage)

    def _left(self) -> float | None:
        spent = time.monotonic() - self._begun
        done = self._best - self._before
        if done < 0.02 * (1.0 - self._before) or done <= 0 or spent < 0.5:
            return None
        return spent * (1.0 - self._best) / done


class PartialProgress(Progress):
    """The share start..end of another progress."""

    def __init__(self, whole: Progress, start: float, end: float, stage: str | None = None) -> None:
        super().__init__()
        self._whole, self._start, self._end = whole, start, end
        self._stage = stage or ""

    def update(self, fraction: float, stage: str | None = None) -> None:
        self._whole.update(self._of_whole(fraction), stage or self._stage or None)

    def already(self, fraction: float) -> None:
        self._whole.already(self._of_whole(fraction))

    def tick(self) -> None:
        self._whole.tick()

    def _of_whole(self, fraction: float) -> float:
        return self._start + (self._end - self._start) * min(1.0, max(0.0, fraction))
