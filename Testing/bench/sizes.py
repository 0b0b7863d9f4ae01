"""What every method costs at the sizes users have: ``python -m bench.sizes`` (`--methods`, `--sizes`, `--device`).

Each method with its defaults aligns the abdomen of the phantoms, whose organs move by up to 20 mm, in a process of its
own. Printed: seconds of the call, peak memory of the process (of the device, on a graphics card) and how much of it
came on top of packages and scans, what the method itself estimates, how often it reported progress, and the longest
wait between two reports of every stage that has one over a second, which is how long a cancel may take.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import measure

SIZES = {"128": (128, 128, 128), "192": (192, 160, 192)}
_FIELD_OF_VIEW = 340.0  # mm, of the longest side
_MOTION = 20.0
_MB = 1e6
_PROMPT = 1.0  # s


def cost(method: str, size: tuple[int, int, int], threads: int, device: str) -> dict[str, Any]:
    """One registration in this process; see the module's docstring."""
    measure.pin(threads)
    import torch

    import phantoms
    from DeepRegistrationLib.core.context import Context
    from DeepRegistrationLib.core.device import choose_device
    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.progress import Progress
    from DeepRegistrationLib.methods import registry
    from DeepRegistrationLib.methods.pipeline import register_problem

    torch.set_num_threads(threads)
    spacing = _FIELD_OF_VIEW / max(size)
    grid = Grid(size, (spacing,) * 3, tuple(-0.5 * (n - 1) * spacing for n in size))
    problem = phantoms.abdomen(grid, grid, seed=0, motion_mm=_MOTION).problem
    spec = registry()[method]
    marks: list[float] = []
    stages: list[str] = []

    def listen(report: Any) -> None:
        marks.append(time.perf_counter())
        stages.append(report.stage)

    context = Context(choose_device(device), Progress(listen))
    before = measure.resident_bytes()
    marks.append(time.perf_counter())
    stages.append("start")
    found: list[Any] = []
    record = measure.timed(lambda: found.append(register_problem(problem, spec, context=context)))
    marks.append(time.perf_counter())
    waits: dict[str, float] = {}
    for stage, (a, b) in zip(stages, itertools.pairwise(marks), strict=True):
        waits[stage] = max(waits.get(stage, 0.0), b - a)
    peak = found[0].provenance.peak_memory_bytes
    return {
        "seconds": record["wall_s"],
        "peak_mb": peak / _MB,
        "more_mb": (peak - before) / _MB if context.device.type == "cpu" else peak / _MB,
        "estimate_mb": spec.memory(grid, spec.make_parameters()) / _MB,
        "reports": len(marks) - 2,
        "waits": {stage: wait for stage, wait in waits.items() if wait > _PROMPT},
    }


def _in_its_own_process(method: str, size: str, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.sizes", "--one", method, "--sizes", size, "--threads", str(args.threads)]
    command += ["--device", args.device]
    environment = measure.limited_environment(args.threads)
    testing = Path(__file__).resolve().parents[1]
    environment["PYTHONPATH"] = f"{testing}:{testing.parent}"
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    record: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return record


def _cells(r: dict[str, Any]) -> str:
    if "error" in r:
        return str(r["error"])
    waits = ", ".join(f"{stage}: {wait:.1f} s" for stage, wait in r["waits"].items())
    numbers = " | ".join(f"{r[k]:.0f}" for k in ("peak_mb", "more_mb", "estimate_mb", "reports"))
    return f"{r['seconds']:.1f} | {numbers} | {waits or 'none'}"


def main(arguments: list[str] | None = None) -> int:
    """0 unless a method failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument("--methods", nargs="+", help="ids; all of them where none is given")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", metavar="METHOD", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.one:
        print(json.dumps(cost(args.one, SIZES[args.sizes[0]], args.threads, args.device)))
        return 0
    from DeepRegistrationLib.methods import registry

    methods = args.methods or [spec.id for spec in registry()]
    print("| Method | Size | Seconds | Peak MB | on top MB | Estimate MB | Reports | Waits over 1 s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    failed = False
    for method in methods:
        for size in args.sizes:
            r = _in_its_own_process(method, size, args)
            shape = " x ".join(map(str, SIZES[size]))
            failed |= "error" in r
            print(f"| `{method}` | {shape} | {_cells(r)} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
