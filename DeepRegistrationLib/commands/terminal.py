"""A progress bar for people; silent where standard error is no terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.progress import Progress, ProgressReport

_BAR = 24


@contextmanager
def progress_bar(cancelled: Callable[[], bool] | None = None, *, shown: bool = True) -> Iterator[Progress]:
    """A Progress that draws stage, bar, percent and time left on one line, which is wiped at the end.

    cancelled  whether the user has asked to stop;  shown  False draws nothing
    """
    if not shown or not sys.stderr.isatty():
        yield Progress(cancelled=cancelled)
        return
    try:
        yield Progress(_draw, cancelled)
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _draw(report: ProgressReport) -> None:
    width = shutil.get_terminal_size().columns
    sys.stderr.write("\r" + line(report)[: width - 1] + "\x1b[K")
    sys.stderr.flush()


def line(report: ProgressReport) -> str:
    """For example "Measuring            [############------------]  50 %  1 min 05 s left"."""
    done = int(report.fraction * _BAR)
    left = "" if report.seconds_left is None else f"  {duration(report.seconds_left)} left"
    return f"{report.stage:<20} [{'#' * done}{'-' * (_BAR - done)}] {report.fraction:4.0%}{left}"


def duration(seconds: float) -> str:
    """ "8 s", "1 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
