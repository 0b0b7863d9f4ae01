"""What a run costs: wall time, CPU time and peak memory of this process, and the thread limit it ran under.

Standard library only, since it runs inside every tool's own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def limited_environment(threads: int) -> dict[str, str]:
    """This process's environment with every library's thread count set; they read it when first loaded.

    Waiting threads sleep (as with our own command line), so that other load costs every tool about the same.
    """
    return {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def pin(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system can do that.

    Some tools start threads of their own whatever the environment says; this holds them to the limit.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def peak_bytes() -> int:
    """Highest resident size of this process so far, or of a child it has waited for if that was larger."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    # ru_maxrss of a started process begins at the size of the process that started it; VmHWM does not
    return max(_status_bytes("VmHWM") or own * unit, child * unit)


def resident_bytes() -> int:
    """What this process holds now; 0 where the system does not say."""
    return _status_bytes("VmRSS")


def _status_bytes(name: str) -> int:
    """A line of the kernel's account of this process; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def cpu_seconds() -> float:
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + child.ru_utime + child.ru_stime


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Run call and say what it cost; the peak is the process's at its end, packages and images included."""
    before = peak_bytes()  # kept, because a tool may reset the system's mark during the call
    cpu, start = cpu_seconds(), time.perf_counter()
    call()
    wall = time.perf_counter() - start
    return {
        "wall_s": wall,
        "cpu_s": cpu_seconds() - cpu,
        "peak_bytes": float(max(before, peak_bytes())),
        "peak_before_bytes": float(before),
    }


def driver_arguments(description: str) -> argparse.ArgumentParser:
    """The arguments every driver understands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--fixed", required=True, type=Path)
    parser.add_argument("--moving", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="folder for the transform and record.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def write_record(folder: Path, record: dict[str, object]) -> None:
    (folder / "record.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
