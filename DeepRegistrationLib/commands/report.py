"""`report`: a folder of results as pages and tables to read."""

from __future__ import annotations

import argparse
import json

from ..jobs.report import write_report
from ..jobs.results import ResultFolder

NAME = "report"
HELP = "Write report.html, report.csv and report.json into a folder of results."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder of results")
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def run(options: argparse.Namespace) -> int:
    paths = write_report(ResultFolder(options.folder))
    if options.json:
        print(json.dumps({"ok": True, "files": [str(path.resolve()) for path in paths]}))
    else:
        print("Written: " + ", ".join(str(path) for path in paths))
    return 0
