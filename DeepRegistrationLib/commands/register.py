"""`register`: align two images and leave everything in a folder."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from ..core.errors import InputError
from .inputs import add_inputs, given_inputs
from .terminal import progress_bar

if TYPE_CHECKING:
    from ..core.result import Alternative
    from ..jobs.perform import Outcome

NAME = "register"
HELP = "Align the moving image to the fixed one; writes transform, moved image, labels, Jacobian and numbers."
DEFAULT_METHOD = "convex-adam"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_inputs(parser, required=True)
    parser.add_argument(
        "--method", metavar="ID", default=DEFAULT_METHOD, help="see `methods` (default: %(default)s)"
    )
    parser.add_argument("--preset", metavar="ID", help="settings for one kind of scan, see `describe ID`")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter, see `describe ID`; repeatable",
    )
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder of the results, made where missing"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0 or mps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of random numbers (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of the processor (default: all)")
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def run(options: argparse.Namespace) -> int:
    from ..jobs.perform import Request, perform

    request = Request(
        inputs=given_inputs(options),
        method=options.method,
        preset=options.preset,
        values=parse_settings(options.set),
        device=options.device,
        seed=options.seed,
        threads=options.threads,
    )
    with progress_bar() as progress:
        outcome = perform(request, options.out, progress)
    if options.json:
        print(json.dumps(_as_dict(outcome, options.out)))
    else:
        print("\n".join(_as_lines(outcome, options)))
    return 0


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Texts NAME=VALUE as a dictionary; the method converts the values."""
    values = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name.strip():
            raise InputError(
                f"--set {setting!r} is not of the form name=value; write for example --set iterations=50."
            )
        values[name.strip().replace("-", "_")] = value.strip()
    return values


def _as_dict(outcome: Outcome, folder: str) -> dict[str, object]:
    from ..jobs.outputs import plain, provenance_dict

    return {
        "ok": True,
        "folder": os.path.abspath(folder),
        "files": dict(outcome.files),
        "metrics": plain(outcome.evaluation.to_dict()),
        "provenance": plain(provenance_dict(outcome.result, outcome.files)),
    }


def _as_lines(outcome: Outcome, options: argparse.Namespace) -> list[str]:
    made = outcome.result.provenance
    assert made is not None  # the pipeline always fills it in
    names = (os.path.basename(path) for path in (options.moving, options.fixed))
    lines = [f"Moved {' onto '.join(names)} with {made.method} in {made.seconds:.1f} s on {made.device}"]
    lines += [f"Note: {sentence}" for sentence in made.messages]
    lines += outcome.evaluation.summary_lines()
    lines += [f"{name[:1].upper()}{name[1:]}: {value:.4g}" for name, value in outcome.result.tables.items()]
    lines += [_candidate(k, other) for k, other in enumerate(outcome.result.alternatives, 1)]
    return [*lines, f"Written to {options.out}: {', '.join(sorted(outcome.files.values()))}"]


def _candidate(number: int, candidate: Alternative) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in candidate.scores.items())
    return f"Candidate {candidate.title or number}: {scores}"
