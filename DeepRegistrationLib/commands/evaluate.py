"""`evaluate`: the numbers of a result."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .inputs import add_inputs, given_inputs
from .terminal import progress_bar

if TYPE_CHECKING:
    from ..metrics import Evaluation

NAME = "evaluate"
HELP = "Measure a folder of results, or a transform with its images: landmarks, overlap, folding, inverse."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of results; files below replace its inputs")
    parser.add_argument("--transform", metavar="FILE", help="fixed to moving, of any origin, where no folder is given")
    parser.add_argument("--inverse", metavar="FILE", help="moving to fixed")
    parser.add_argument("--uncertainty", metavar="FILE", help="a map in mm")
    add_inputs(parser, required=False, without=("initial_transform", "fixed_surfaces", "moving_surfaces"))
    parser.add_argument("--out", metavar="DIR", help="also write maps, moved image and numbers there, for `report`")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def run(options: argparse.Namespace) -> int:
    from ..jobs.outputs import plain

    evaluation = _evaluation(options)
    numbers = plain(evaluation.to_dict())
    if options.json:
        print(json.dumps(numbers))
    else:
        print("\n".join([*evaluation.summary_lines(), *_segment_lines(numbers.get("segments") or {})]))
        if options.out is not None:
            print(f"Written to {options.out}")
    return 0


def _evaluation(options: argparse.Namespace) -> Evaluation:
    from ..api import evaluate

    inputs = given_inputs(options)
    for name in ("transform", "inverse", "uncertainty"):
        if getattr(options, name) is not None:
            inputs[name] = getattr(options, name)
    if options.folder is None and options.transform is None:
        raise InputError(
            "There is nothing to evaluate; give a folder of results, or --transform, --fixed and --moving."
        )
    if options.folder is not None and options.transform is not None:
        raise InputError("A folder and --transform were both given; give one of them.")
    if options.out is not None:
        return _written(options.folder, inputs, options.out)
    return evaluate(options.folder, **inputs)


def _written(folder: str | None, inputs: dict[str, str], out: str) -> Evaluation:
    from ..jobs.results import ResultFolder
    from ..jobs.review import ReviewRequest, perform_review

    made: dict[str, Any] = {}
    if folder is not None:
        result = ResultFolder(folder)
        inputs, made = {**result.inputs, **inputs}, result.provenance
    with progress_bar() as progress:
        return perform_review(ReviewRequest(inputs, provenance=made), out, progress).evaluation


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
