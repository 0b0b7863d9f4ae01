"""`train`: teach a network, or teach a trained one more, and leave a model."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .register import parse_settings
from .stopping import asked_to_stop
from .terminal import progress_bar

if TYPE_CHECKING:
    from ..io.model_cards import Model
    from ..training.recipe import Recipe
    from ..training.request import TrainingEvent, TrainingRequest, ValidationEvent

NAME = "train"
HELP = "Train a model, or fine-tune one on your own cases; without a recipe, list the recipes."
PICTURES = "pictures"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="what to train; left out, the recipes are listed")
    parser.add_argument("--describe", action="store_true", help="say what the recipe does and what can be set")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a setting, see --describe; repeatable"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the training: checkpoint, log, pictures, model")
    parser.add_argument("--resume", action="store_true", help="go on where DIR holds a training")
    parser.add_argument(
        "--save", action="store_true", help="only write the model of what was learned so far, without training on"
    )
    cases = parser.add_argument_group("cases")
    cases.add_argument("--cases", metavar="PLACE", help="folder of cases, or table (.csv, .json): image,label,role")
    cases.add_argument("--names", metavar="NAMES", help='what label values mean: "1=liver,2=spleen" or a names.json')
    cases.add_argument("--hold-out", metavar="CASE", action="append", default=[], help="to validate on; repeatable")
    course = parser.add_argument_group("course")
    course.add_argument("--start", metavar="MODEL", help="folder or id of a model to go on from (fine-tuning)")
    course.add_argument("--steps", type=int, help="how long (default: the recipe's)")
    course.add_argument("--batch", type=int, help="pairs a step, of all processes together (default: the recipe's)")
    course.add_argument("--learning-rate", type=float, help="largest step of the optimiser (default: the recipe's)")
    course.add_argument("--validate-every", type=int, metavar="STEPS", help="(default: the recipe's)")
    course.add_argument(
        "--patience", type=int, help="validations without a better one before it ends; 0: never (default: the recipe's)"
    )
    course.add_argument("--seed", type=int, default=0, help="of random numbers (default: %(default)s)")
    course.add_argument("--device", default="auto", help="auto, cpu, cuda:0 or mps (default: %(default)s)")
    course.add_argument("--threads", type=int, help="of the processor (default: all)")
    course.add_argument(
        "--precision",
        choices=("auto", "half", "full"),
        default="auto",
        help="of the network while it learns; auto: half on a graphics card; half: also on the processor, some "
        "of which are twice as fast then or more (default: %(default)s)",
    )
    course.add_argument(
        "--checkpoint-minutes", type=float, default=2.0, help="between two checkpoints (default: %(default)g)"
    )
    model = parser.add_argument_group("model")
    model.add_argument("--id", metavar="NAME", help="(default: the recipe's)")
    model.add_argument("--title", metavar="TEXT", help="what users read (default: the recipe's)")
    model.add_argument("--model", metavar="DIR", help="folder the model is written to (default: model in --out)")
    model.add_argument("--install", action="store_true", help="write it to where methods look for the user's models")
    model.add_argument("--half", action="store_true", help="keep the weights in half precision: half the size")
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def _line(recipe: Recipe) -> str:
    from ..methods import registry

    unused = "" if recipe.architecture in registry() else " (No method uses its models yet.)"
    return f"{recipe.id:<24}{recipe.title}. {recipe.description}{unused}"


def run(options: argparse.Namespace) -> int:
    from ..training.recipes import find_recipe, recipes

    if options.recipe is None:
        print("\n".join(_line(r) for r in recipes().values()))
        return 0
    recipe = find_recipe(options.recipe)
    if options.describe:
        from ..descriptions import recipe_text

        print(recipe_text(recipe))
        return 0
    if not options.out:
        raise InputError("The folder of the training is missing; give one with --out DIR.")
    model = _train(options)
    if os.environ.get("RANK", "0") != "0":  # one of several processes; the first one speaks
        return 0
    if options.json:
        outcome = {"ok": True, "id": model.id, "folder": str(model.folder), "results": model.card["results"]}
        print(json.dumps(outcome))
    else:
        print("\n".join(_lines(model)))
    return 0


def _train(options: argparse.Namespace) -> Model:
    from ..jobs.perform import using_threads
    from ..training.run import run_training, save_trained

    first = os.environ.get("RANK", "0") == "0"
    with using_threads(options.threads), asked_to_stop() as stop, progress_bar(stop, shown=first) as progress:
        request = _request(options)
        if options.save:
            return save_trained(request, progress)
        return run_training(request, progress, None if options.json else _Teller(request.out))


def _request(options: argparse.Namespace) -> TrainingRequest:
    from ..io.model_cards import user_folder
    from ..training.request import TrainingRequest

    cases = None
    if options.cases:
        from ..jobs.training_cases import read_cases

        cases = read_cases(options.cases, options.names, options.hold_out)
    elif options.names or options.hold_out:
        raise InputError("--names and --hold-out are about cases; give those with --cases.")
    folder = Path(options.model) if options.model else None
    if options.install:
        if folder is not None:
            raise InputError("--model and --install both say where the model is written; give one of them.")
        folder = user_folder() / (options.id or options.recipe)
    return TrainingRequest(
        recipe=options.recipe,
        out=Path(options.out).expanduser(),
        settings=parse_settings(options.set),
        cases=cases,
        cases_from=options.cases or "",
        start=options.start,
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        validate_every=options.validate_every,
        patience=options.patience,
        device=options.device,
        precision=options.precision,
        seed=options.seed,
        resume=options.resume,
        checkpoint_seconds=60 * options.checkpoint_minutes,
        model_id=options.id,
        title=options.title,
        model_folder=folder,
        half=options.half,
    )


class _Teller:
    """Prints validations and sentences, with the mean losses since the last one, and draws the pictures."""

    def __init__(self, out: Path) -> None:
        self._folder = out / PICTURES
        self._sums: dict[str, float] = {}
        self._steps = 0

    def __call__(self, event: TrainingEvent) -> None:
        from ..training.request import LossEvent, MessageEvent

        if isinstance(event, LossEvent):
            self._steps += 1
            for name, value in event.losses.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            return
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        if isinstance(event, MessageEvent):
            print(event.text, flush=True)
            return
        losses = {f"loss {name}": value / self._steps for name, value in self._sums.items()}
        self._sums, self._steps = {}, 0
        words = _numbers({**event.validation.numbers, **losses})
        print(f"{event.step:>7} of {event.steps}  {event.stage}: {words}{'  *' if event.best else ''}", flush=True)
        self._draw(event)

    def _draw(self, event: ValidationEvent) -> None:
        if not event.validation.pictures:
            return
        from ..reports.validation_picture import validation_png

        self._folder.mkdir(parents=True, exist_ok=True)
        png = validation_png(event.validation.pictures)
        names = {"latest": True, "first": event.step == 0, "best": event.best}
        for name in (n for n, wanted in names.items() if wanted):
            (self._folder / f"{name}.png").write_bytes(png)


def _lines(model: Model) -> list[str]:
    results, training = model.card["results"], model.card["training"]
    before, after = results["before"], results["after"]
    lines = [f"{name}: {_number(before.get(name))} before, {_number(value)} after" for name, value in after.items()]
    lines.append(f"The best of {training['steps']} steps were the first {training['best_step']}.")
    return [*lines, f"Model {model.id!r} ({model.title}) written to {model.folder}"]


def _numbers(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in numbers.items())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
