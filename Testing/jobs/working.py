"""Jobs of reviews in tests: submitting, waiting, comparing what came out; and the grids of a small pair."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from core.grids import rotation
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.jobs import JobFolder

LAUNCH = [sys.executable, str(Path(__file__).with_name("with_tiny.py"))]
FIXED = Grid((22, 20, 14), (1.5, 1.2, 2.5), (-20.0, 31.0, 7.0), rotation(12, -20, 30))
MOVING = Grid((26, 24, 20), (1.4, 1.5, 2.2), (-26.0, 23.0, 3.0), rotation(5, -10, 22))


def last_event(job, seconds=120.0, until=lambda event: event.is_last, seen=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in job.poll():
            if seen is not None:
                seen.append(event)
            if until(event):
                return event
        time.sleep(0.01)
    raise AssertionError(f"nothing came in {seconds} s; log: {job.log_text()}")


def submitted(runner, folder, **problem):
    job = JobFolder.create(folder)
    job.write_problem(problem)
    return runner.submit(job)


def assert_same(found, expected, relative=1e-5, absolute=1e-6, where=""):
    """Nested dictionaries and lists of numbers and texts."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], relative, absolute, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for k, value in enumerate(expected):
            assert_same(found[k], value, relative, absolute, f"{where}/{k}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=relative, abs=absolute), where
    else:
        assert found == expected, where
