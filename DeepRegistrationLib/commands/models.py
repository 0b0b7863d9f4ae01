"""`models`: the trained models there are, and what they reached."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..io.model_cards import Model, find_models

NAME = "models"
HELP = "List the trained models with what was measured of them, or import published weights."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--architecture", metavar="ID", help="only those of one kind")
    parser.add_argument("--folder", metavar="DIR", action="append", help="look in DIR instead; repeatable")
    published = parser.add_argument_group("published weights")
    published.add_argument("--import", dest="file", metavar="FILE", help="make a model of a published file of weights")
    published.add_argument("--as", dest="kind", metavar="ID", default="lapirn", help="its kind (default: %(default)s)")
    published.add_argument("--model", metavar="DIR", help="folder of the model (default: among your own)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--problems", action="store_true", help="say what is wrong with models that cannot be used; reads all weights"
    )
    form.add_argument("--json", action="store_true", help="the cards as JSON")


def run(options: argparse.Namespace) -> int:
    if options.file:
        from ..methods.published_models import import_published

        model = import_published(options.file, options.kind, options.model)
        print(f"Model {model.id!r} written to {model.folder}")
        return 0
    problems: list[str] = []
    folders = [Path(f).expanduser() for f in options.folder] if options.folder else None
    models = find_models(options.architecture, folders, problems)
    if options.problems:
        problems += _unusable(models)
        print("\n".join(problems) or f"Nothing is wrong with any of the models ({len(models)}).")
        return 2 if problems else 0
    if options.json:
        print(json.dumps([{**m.card, "folder": str(m.folder)} for m in models]))
    elif models:
        print("\n\n".join("\n".join(model_lines(m)) for m in models))
    else:
        print("There are no trained models here; `train` makes one.")
    if problems and not options.json:
        print(f"\n{len(problems)} more cannot be read; see `models --problems`.")
    return 0


def model_lines(model: Model) -> list[str]:
    """What a user wants to know of a model, its title first."""
    training, results = model.card["training"], model.card["results"]
    lines = [
        f"{model.id}: {model.title}",
        f"  Kind      {model.architecture}",
        f"  Where     {model.folder}",
        f"  Trained   {training['steps']} steps, seed {training['seed']}; {training['data']}",
        f"  Command   {training['command']}",
    ]
    lines += [f"  Measured  {results['what']}"] if isinstance(results.get("what"), str) else []
    numbers = {name: value for name, value in results.items() if isinstance(value, dict)}
    before, after = numbers.get("before", {}), numbers.get("after", {})
    if after and before.keys() >= after.keys():
        lines += [f"    {name}: {_number(before[name])} before, {_number(v)} after" for name, v in after.items()]
        numbers = {name: value for name, value in numbers.items() if name not in ("before", "after")}
    for name, values in numbers.items():
        lines.append(f"    {name}: " + ", ".join(f"{n} {_number(v)}" for n, v in values.items()))
    return lines


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-" if value is None else str(value)


def _unusable(models: list[Model]) -> list[str]:
    """A sentence for each model whose weights are missing, changed, or no safetensors."""
    from ..core.errors import InputError
    from ..io.weights import load_weights

    found = []
    for model in models:
        try:
            load_weights(model)
        except InputError as error:
            found.append(str(error))
    return found
