"""`describe ID`: one method with its inputs, presets and parameters."""

from __future__ import annotations

import argparse
import json

from ..descriptions import method_dict, method_text
from ..methods import registry

NAME = "describe"
HELP = "Show what a method does, needs and offers, with every parameter, its range and its default."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="ID", help="id of the method, as `methods` lists it")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    spec = registry()[options.method]
    print(json.dumps(method_dict(spec)) if options.json else method_text(spec))
    return 0
