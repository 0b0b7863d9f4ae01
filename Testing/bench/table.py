"""Rows, ratios and goals from the records of the runs; Markdown out of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from .cases import Case

#: measure -> (heading, decimals)
SCORES = {
    "tre": ("TRE mm", 3),
    "tre_p95": ("TRE p95", 3),
    "dice": ("Dice", 4),
    "hd95": ("HD95 mm", 2),
    "folding_percent": ("folding %", 4),
    "sdlogj": ("SDlogJ", 3),
}
COSTS = {"wall_s": ("wall s", 1), "cpu_s": ("CPU s", 1), "peak_mb": ("peak MB", 0)}
RATIOS = {
    "speed_up": ("speed-up x", 2),
    "memory_ratio": ("memory x", 2),
    "dice_gain": ("Dice gain", 4),
    "tre_gain": ("TRE gain mm", 3),
}
#: how many times faster than a peer, on every deformable case
SPEED_GOALS = {"convexadam": 2.0, "antspyx": 3.0}
#: peak memory at most this share of a peer's
MEMORY_GOALS = {"convexadam": 1.0}
#: what the option that never folds may cost
DIFFEOMORPHIC_DICE = 0.01


@dataclass(frozen=True)
class Row:
    """One tool on one case over its repeats: medians of the costs, means of the scores."""

    case: str
    tool: str
    values: dict[str, float]
    runs: int
    error: str = ""


def row(case: str, tool: str, records: Sequence[dict[str, Any]]) -> Row:
    """A row out of run records; runs that failed count only where none succeeded."""
    good = [r for r in records if "error" not in r]
    if not good:
        return Row(case, tool, {}, 0, str(records[-1]["error"]) if records else "not run")
    values: dict[str, float] = {}
    for name in SCORES:
        found = [r["scores"][name] for r in good if name in r["scores"]]
        if found:
            values[name] = fmean(found)
    for name in ("tre_before", "dice_before"):
        if name in good[0]["scores"]:
            values[name] = good[0]["scores"][name]
    for name, scale, source in (
        ("wall_s", 1.0, "wall_s"),
        ("cpu_s", 1.0, "cpu_s"),
        ("peak_mb", 2.0**-20, "peak_bytes"),
    ):
        found = [r[source] * scale for r in good if source in r]
        if found:
            values[name] = median(found)
    return Row(case, tool, values, len(good))


def ratios(ours: Row, peer: Row) -> dict[str, float]:
    """Ours against a peer: speed-up > 1, memory < 1 and gains > 0 are in our favour."""
    a, b = ours.values, peer.values
    out = {}
    if a.get("wall_s") and "wall_s" in b:
        out["speed_up"] = b["wall_s"] / a["wall_s"]
    if "peak_mb" in a and b.get("peak_mb"):
        out["memory_ratio"] = a["peak_mb"] / b["peak_mb"]
    if "dice" in a and "dice" in b:
        out["dice_gain"] = a["dice"] - b["dice"]
    if "tre" in a and "tre" in b:
        out["tre_gain"] = b["tre"] - a["tre"]
    return out


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(fmean(math.log(v) for v in values))


# ------------------------------------------------------------------------------------------------ goals


@dataclass(frozen=True)
class Verdict:
    text: str
    reached: bool

    def __str__(self) -> str:
        return f"{'reached' if self.reached else 'MISSED '}  {self.text}"


def _mean_over(rows: Sequence[Row], tool: str, cases: Sequence[str], measure: str) -> float | None:
    found = [r.values[measure] for r in rows if r.tool == tool and r.case in cases and measure in r.values]
    return fmean(found) if len(found) == len(cases) else None


def _accuracy(rows: Sequence[Row], cases: Sequence[Case], peers: Sequence[str]) -> Iterable[Verdict]:
    units: dict[str, list[Case]] = {}
    for case in cases:
        units.setdefault(case.group or case.id, []).append(case)
    for name, members in units.items():
        ids = [case.id for case in members]
        title = f"{name} (mean of {len(ids)})" if len(ids) > 1 else ids[0]
        for measure, sign in ((members[0].goals.above_peers, 1), (members[0].goals.below_peers, -1)):
            ours = _mean_over(rows, "ours", ids, measure) if measure else None
            if measure is None or ours is None:
                continue
            for peer in peers:
                theirs = _mean_over(rows, peer, ids, measure)
                if theirs is not None:
                    side = "above" if sign > 0 else "below"
                    words = f"{title}: {measure} {ours:.4f}, to be {side} {peer}'s {theirs:.4f}"
                    yield Verdict(words, sign * (ours - theirs) > 0)
        for case in members:
            for measure, limit in case.goals.at_most.items():
                value = _mean_over(rows, "ours", [case.id], measure)
                if value is not None:
                    yield Verdict(f"{case.id}: {measure} {value:.4g} at most {limit:g}", value <= limit)


def _cost(rows: Sequence[Row], cases: Sequence[Case]) -> Iterable[Verdict]:
    by_key = {(r.case, r.tool): r for r in rows if not r.error}
    deformable = [case.id for case in cases if not case.rigid]

    def found(peer: str, name: str) -> list[float]:
        pairs = [(by_key.get((c, "ours")), by_key.get((c, peer))) for c in deformable]
        values = [ratios(a, b) for a, b in pairs if a is not None and b is not None]
        return [v[name] for v in values if name in v]

    for peer, goal in SPEED_GOALS.items():
        if values := found(peer, "speed_up"):
            speed = f"{geometric_mean(values):.2f}x as fast as {peer}, at least {min(values):.2f}x"
            text = f"{speed} (goal {goal:g}x everywhere)"
            yield Verdict(text, min(values) >= goal)
    for peer, goal in MEMORY_GOALS.items():
        if values := found(peer, "memory_ratio"):
            text = f"at most {max(values):.2f} of the peak memory of {peer} (goal {goal:g} everywhere)"
            yield Verdict(text, max(values) <= goal)


def _diffeomorphic(rows: Sequence[Row], cases: Sequence[Case]) -> Iterable[Verdict]:
    for case in cases:
        folding = _mean_over(rows, "ours-diffeomorphic", [case.id], "folding_percent")
        if folding is not None:
            yield Verdict(f"{case.id}: diffeomorphic folding {folding:.4g}, to be exactly 0", folding == 0)
        dice = _mean_over(rows, "ours-diffeomorphic", [case.id], "dice")
        plain = _mean_over(rows, "ours", [case.id], "dice")
        if dice is not None and plain is not None:
            text = f"{case.id}: diffeomorphic costs {plain - dice:.4f} Dice, at most {DIFFEOMORPHIC_DICE:g}"
            yield Verdict(text, plain - dice <= DIFFEOMORPHIC_DICE)


def verdicts(rows: Sequence[Row], cases: Sequence[Case], peers: Sequence[str]) -> list[Verdict]:
    return [*_accuracy(rows, cases, peers), *_diffeomorphic(rows, cases), *_cost(rows, cases)]


# ------------------------------------------------------------------------------------------------ Markdown


def _cells(values: dict[str, float], columns: dict[str, tuple[str, int]]) -> list[str]:
    return [f"{values[name]:.{digits}f}" if name in values else "" for name, (_, digits) in columns.items()]


def markdown(rows: Sequence[Row], cases: Sequence[Case], peers: Sequence[str], notes: Sequence[str]) -> str:
    """The table, the ratios beside each peer, the goals, and how it was measured."""
    columns = {**SCORES, **COSTS}
    headings = ["case", "tool", *(h for h, _ in columns.values()), *(h for h, _ in RATIOS.values()), "runs"]
    lines = [
        "# Benchmark",
        "",
        *(f"* {note}" for note in notes),
        "",
        f"| {' | '.join(headings)} |",
        "|---" * len(headings) + "|",
    ]
    for case in cases:
        mine = [r for r in rows if r.case == case.id]
        ours = next((r for r in mine if r.tool == "ours" and not r.error), None)
        first = next((r for r in mine if not r.error), None)
        if first is not None:
            before = {
                name: first.values[f"{name}_before"]
                for name in ("tre", "dice")
                if f"{name}_before" in first.values
            }
            blank = [""] * (len(COSTS) + len(RATIOS) + 1)
            lines.append(f"| {' | '.join([case.id, '(before)', *_cells(before, SCORES), *blank])} |")
        for r in mine:
            beside = ratios(ours, r) if ours is not None and r.tool in peers and not r.error else {}
            cells = _cells(r.values, columns) if not r.error else [r.error, *[""] * (len(columns) - 1)]
            lines.append(f"| {' | '.join([case.id, r.tool, *cells, *_cells(beside, RATIOS), str(r.runs)])} |")
    lines += ["", "## Goals", "", *(f"    {verdict}" for verdict in verdicts(rows, cases, peers)), ""]
    return "\n".join(lines)
