"""`worker`: the process a panel talks to; see jobs/worker.py."""

from __future__ import annotations

import argparse

from ..jobs.worker import main

NAME = "worker"
HELP = "Run job folders; without any, read their paths from standard input. Answers with JSON lines."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="job folder")


def run(options: argparse.Namespace) -> int:
    return main(options.jobs)
