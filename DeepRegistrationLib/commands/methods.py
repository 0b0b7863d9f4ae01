"""`methods`: what there is to choose from."""

from __future__ import annotations

import argparse
import json

from ..descriptions import method_dict, methods_table, methods_text
from ..methods import registry

NAME = "methods"
HELP = "List the methods."


def add_options(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything the methods declare, as JSON")
    form.add_argument("--markdown", action="store_true", help="a table for a README")


def run(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps([method_dict(spec) for spec in registry()]))
    elif options.markdown:
        print(methods_table(registry()))
    else:
        print(methods_text(registry()))
    return 0
