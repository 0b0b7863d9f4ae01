"""`evaluate`: the numbers of a result."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .inputs import add_inputs, given_inputs

if TYPE_CHECKING:
    from ..core.result import RegistrationResult

NAME = "evaluate"
HELP = "Measure a folder of results, or a transform with its images: landmarks, overlap, folding, inverse."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="folder of results; files below replace its inputs"
    )
    parser.add_argument("--transform", metavar="FILE", help="fixed to moving, where no folder is given")
    parser.add_argument("--inverse", metavar="FILE", help="moving to fixed")
    add_inputs(parser, required=False, without=("initial_transform",))
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def run(options: argparse.Namespace) -> int:
    from ..jobs.outputs import plain
    from ..metrics import evaluate

    evaluation = evaluate(_result(options))
    numbers = plain(evaluation.to_dict())
    if options.json:
        print(json.dumps(numbers))
    else:
        print("\n".join([*evaluation.summary_lines(), *_segment_lines(numbers.get("segments") or {})]))
    return 0


def _result(options: argparse.Namespace) -> RegistrationResult:
    inputs = given_inputs(options)
    if options.folder is not None:
        from ..jobs.results import ResultFolder

        if options.transform or options.inverse:
            raise InputError("A folder and --transform were both given; give one of them.")
        return ResultFolder(options.folder).result(inputs)
    if options.transform is None:
        raise InputError(
            "There is nothing to evaluate; give a folder of results, or --transform, --fixed and --moving."
        )
    from ..core.result import RegistrationResult
    from ..jobs.loading import load_problem, load_transform

    inverse = None if options.inverse is None else load_transform(options.inverse, "inverse")
    return RegistrationResult(
        problem=load_problem(inputs),
        transform=load_transform(options.transform, "transform"),
        inverse=inverse,
    )


def _segment_lines(segments: dict[str, Any]) -> list[str]:
    if not segments:
        return []
    width = max(len("Segment"), *(len(name) for name in segments))
    lines = [f"{'Segment':<{width}}  Dice before  Dice after  HD95 after (mm)"]
    for name, scores in segments.items():
        cells = [_number(scores.get(key)) for key in ("dice_before", "dice_after", "hd95_after_mm")]
        lines.append(f"{name:<{width}}  {cells[0]:>11}  {cells[1]:>10}  {cells[2]:>15}")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
