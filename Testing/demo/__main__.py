"""`python -m demo [--case FOLDER] [--out FOLDER]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .case import NoCase, find_case
from .run import Options, make_phantom, run
from .user import Failed


def main(arguments: list[str] | None = None) -> int:
    """0: aligned. 1: the result is worse than the start. 2: something failed, said in one sentence."""
    options = _options(arguments)
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="demo-") as temporary:
            folder = options.case or make_phantom(Path(temporary) / "thorax_phantom")
            return run(find_case(folder), options, begun)
    except (NoCase, Failed, OSError) as error:
        print(f"Failed: {error}", file=sys.stderr)
        return 2


def _options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Align two scans in Slicer's scene.")
    parser.add_argument("--case", type=Path, help="folder with fixed_* and moving_* files; none: a phantom")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder of the outcome")
    parser.add_argument("--method", default="convex-adam")
    parser.add_argument("--preset", help="instead of the one that the names suggest")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda:0"))
    given = parser.parse_args(arguments)
    return Options(given.case, given.out, given.method, given.preset, given.device)


if __name__ == "__main__":
    sys.exit(main())
