"""Ctrl-C, or a polite kill, as the wish to stop: work ends at its next report of progress, and can save its state."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """A function that says whether the user has asked to stop; asked a second time, Python's own handling is back."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread hears of signals
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()
        restore()
        sys.stderr.write("\nStopping; once more ends at once, without saving.\n")

    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        yield asked.is_set
    finally:
        restore()
