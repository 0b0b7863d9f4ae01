"""Run our method and its peers over the cases, score them with the one judge, print the table."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import environments, judge, measure, phantom, table
from .cases import CASES, PHANTOM, Case
from .tools import DEFAULT, TOOLS, Job, Tool

CHECKOUT = Path(__file__).resolve().parents[2]
_QUIET_LOAD = 0.7  # load average above which the wall times are not to be trusted


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=CHECKOUT.parent / "shared", help="folder with data/ and train/"
    )
    parser.add_argument(
        "--work", type=Path, default=CHECKOUT / ".bench", help="environments, fields and results"
    )
    parser.add_argument(
        "--cases", nargs="+", help="ids, or beginnings of ids (default: every case whose files exist)"
    )
    parser.add_argument(
        "--tools", nargs="+", choices=[*TOOLS], default=[*DEFAULT], metavar="TOOL", help=", ".join(TOOLS)
    )
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--reuse-peers", action="store_true", help="take a peer's last run on the same files, if there is one"
    )
    parser.add_argument("--repeats", type=int, default=1, help="runs of each tool; costs are medians")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds one run may take")
    parser.add_argument("--peer-python", action="append", default=[], metavar="ENVIRONMENT=PYTHON",
                        help="use this interpreter instead of making that environment")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    return parser.parse_args(argv)


def chosen_cases(args: argparse.Namespace) -> list[tuple[Case, Path]]:
    """(case, folder its paths start from). Without any data the phantom stands in."""
    made = args.work / "phantom"
    known = [(case, args.data) for case in CASES] + [(PHANTOM, made)]
    if args.cases:
        picked = [(c, root) for c, root in known if any(c.id.startswith(word) for word in args.cases)]
        unmatched = [word for word in args.cases if not any(c.id.startswith(word) for c, _ in known)]
        if unmatched:
            raise SystemExit(
                f"No case begins with '{unmatched[0]}'; there are {', '.join(c.id for c, _ in known)}."
            )
    else:
        picked = [(c, root) for c, root in known[:-1] if not c.missing(root)] or known[-1:]
    if any(case is PHANTOM for case, _ in picked) and PHANTOM.missing(made):
        phantom.write(made)
    for case, root in picked:
        if case.missing(root):
            raise SystemExit(
                f"Case '{case.id}' needs {case.missing(root)[0]}, which does not exist; give --data."
            )
    return picked


def interpreters(tools: Sequence[Tool], args: argparse.Namespace) -> dict[str, Path | str]:
    """Environment name -> its interpreter, or the sentence saying why there is none."""
    found: dict[str, Path | str] = {}
    given = dict(text.split("=", 1) for text in args.peer_python)
    for name in dict.fromkeys(t.environment for t in tools if t.environment):
        try:
            found[name] = (
                Path(given[name])
                if name in given
                else environments.python_of(name, args.work / "environments")
            )
        except environments.EnvironmentFailed as failure:
            found[name] = str(failure)
    return found


def fingerprint(tool: Tool, files: dict[str, Path], threads: int) -> str:
    """Changes with the peer's pins, the images or the thread count: what a kept run depends on."""
    digest = hashlib.sha256(f"{tool.id} {threads} {environments.pins(tool.environment or '')}".encode())
    for role in ("fixed", "moving"):
        digest.update(files[role].read_bytes())
    return digest.hexdigest()


def run_once(tool: Tool, python: Path, job: Job, timeout: float) -> dict[str, Any]:
    """Start the tool in its own process, then judge what it left. A failure becomes {'error': sentence}."""
    shutil.rmtree(job.out, ignore_errors=True)
    job.out.mkdir(parents=True)
    environment = measure.limited_environment(job.threads)
    environment["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT / "Testing"), str(CHECKOUT)])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    log = job.out / "log.txt"
    with log.open("w") as stream:
        try:
            code = subprocess.run(
                [str(python), *tool.arguments(job)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=job.out,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {timeout:.0f} s", "load": load}
    if code:
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return {"error": f"exit code {code}: {last[:160]}", "load": load}
    return judged({**tool.read(job.out), "load": load}, job)


def judged(record: dict[str, Any], job: Job) -> dict[str, Any]:
    try:
        return {**record, "scores": judge.score(job.out / record["transform"], dict(job.files))}
    except (ValueError, RuntimeError) as failure:
        return {**record, "error": f"not scored: {failure}"}


def records_of(tool: Tool, python: Path | str, job: Job, args: argparse.Namespace) -> list[dict[str, Any]]:
    if isinstance(python, str):
        return [{"error": python}]
    kept, key = job.out.parent / f"{tool.id}.json", ""
    if not tool.ours:
        key = fingerprint(tool, dict(job.files), job.threads)
        if args.reuse_peers and kept.exists():
            old = json.loads(kept.read_text(encoding="utf-8"))
            if old["key"] == key and all("error" not in r for r in old["runs"]):
                return [judged(r, job) for r in old["runs"]]
    runs = [run_once(tool, python, job, args.timeout) for _ in range(args.repeats)]
    kept.write_text(json.dumps({"key": key, "runs": runs}, indent=1, default=str) + "\n")
    return runs


def notes(args: argparse.Namespace, runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        f"{args.threads} threads, one process a run; {platform.machine()}, {os.cpu_count()} processors.",
        "Wall and CPU time cover the registration call alone; peak memory is the process's at its end.",
        "Ratios in a peer's row are ours against it: speed-up > 1, memory < 1, gains > 0 are in our favour.",
    ]
    loads = [r["load"] for r in runs if r.get("load") is not None]
    if loads and max(loads) > _QUIET_LOAD:
        lines.append(f"Load average reached {max(loads):.1f} before a run: other work shared the machine.")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    args.work, args.data = args.work.resolve(), args.data.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / ".gitignore").write_text("*\n")
    cases = chosen_cases(args)
    tools = [TOOLS[name] for name in args.tools if TOOLS[name].ours or not args.only_ours]
    pythons = interpreters(tools, args)
    peers = [t.id for t in tools if not t.ours]
    rows: list[table.Row] = []
    every: dict[str, list[dict[str, Any]]] = {}
    for case, root in cases:
        for tool in (t for t in tools if t.takes(case)):
            job = Job(case, case.paths(root), args.work / "runs" / case.id / tool.id, args.threads, args.seed)
            python = pythons[tool.environment] if tool.environment else Path(sys.executable)
            runs = records_of(tool, python, job, args)
            every[f"{case.id}/{tool.id}"] = runs
            rows.append(table.row(case.id, tool.id, runs))
            print(progress_line(rows[-1]), flush=True)
    flat = [r for runs in every.values() for r in runs]
    text = table.markdown(rows, [case for case, _ in cases], peers, notes(args, flat))
    (args.work / "results.md").write_text(text)
    (args.work / "results.json").write_text(json.dumps(every, indent=1, default=str) + "\n")
    print(f"\n{text}\nwritten to {args.work / 'results.md'} and results.json")
    missed = [v for v in table.verdicts(rows, [case for case, _ in cases], peers) if not v.reached]
    failed = [r for r in rows if r.error and TOOLS[r.tool].ours]
    return 1 if failed or (args.strict and missed) else 0


def progress_line(row: table.Row) -> str:
    shown = {
        k: row.values[k] for k in ("tre", "dice", "folding_percent", "wall_s", "peak_mb") if k in row.values
    }
    words = row.error or ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
    return f"{row.case}  {row.tool}: {words}"
