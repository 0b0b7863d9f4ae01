"""The command line: `python -m DeepRegistrationLib COMMAND`. Each command is a file in `commands/`.

Exit codes: 0 it worked, 2 the input or the output place was wrong, 1 anything else, 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from .commands import COMMANDS

_EXIT_CODES = {"input": 2, "output": 2, "memory": 2, "cancelled": 130}
#: what a sentence about a failure calls the work of a command, where it is no registration
_TASKS = {"train": "training"}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence; the whole usage is one `--help` away."""

    def error(self, message: str) -> NoReturn:
        print(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The parser with every command."""
    from . import __version__

    root = _Parser(
        prog="python -m DeepRegistrationLib", description="Align medical scans and measure how well."
    )
    root.add_argument("--version", action="version", version=f"DeepRegistration {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_options(sub)
        sub.set_defaults(run=command.run)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what went wrong is a sentence on standard error. Returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # the reader of a pipe (`head`) has seen enough; keep Python from complaining at exit
        sys.stderr.close()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, _TASKS.get(options.command, "registration"), as_json=getattr(options, "json", False))


def _report(error: BaseException, task: str, as_json: bool) -> int:
    from .jobs.failures import describe_error

    category, text = describe_error(error, task)
    if category == "crash":
        import traceback

        traceback.print_exception(error)
    print(text, file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": False, "category": category, "error": text}))
    return _EXIT_CODES.get(category, 1)
