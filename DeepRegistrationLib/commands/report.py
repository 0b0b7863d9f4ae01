"""`report`: results as pages and tables to read."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..core.errors import DeepRegistrationError, InputError
from ..jobs.results import ResultFolder

NAME = "report"
HELP = "Write a result, or a table over a folder of results with the outliers first, as pages to read."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a result, or a folder of results")
    parser.add_argument("--each", action="store_true", help="also write the report of every result in DIR")
    parser.add_argument("--out", metavar="DIR", help="where to write, instead of DIR")
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def run(options: argparse.Namespace) -> int:
    folder = Path(options.folder).expanduser()
    out = None if options.out is None else Path(options.out).expanduser()
    if (folder / "provenance.json").is_file() or not folder.is_dir():
        from ..reports import write_report

        paths = write_report(ResultFolder(options.folder), out=out)
    else:
        paths = _batch(folder, out, options.each)
    if options.json:
        print(json.dumps({"ok": True, "files": [str(path.resolve()) for path in paths]}))
    else:
        print("Written: " + ", ".join(str(path) for path in paths))
    return 0


def _batch(root: Path, out: Path | None, each: bool) -> list[Path]:
    """The table over all results below `root`; with `each` their reports, too."""
    from ..reports import collect, write_batch

    cases = collect(root)
    if not cases:
        raise InputError(
            f"The folder {str(root)!r} holds no finished result; give a folder that `register` has written to, "
            "or one that holds such folders."
        )
    if each:
        for case in cases:
            _report(case.path, case.name)
    return write_batch(out or root, cases)


def _report(path: Path, name: str) -> None:
    """One report; what is wrong with a result is said and does not stop the others."""
    from ..reports import write_report

    try:
        write_report(ResultFolder(path))
    except DeepRegistrationError as error:
        print(f"No report of {name}: {error}", file=sys.stderr)
