"""The numbers of a run: gathered, judged, and printed as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = tuple[str, str, str]
Pair = dict[str, float]

_RAS = np.array([-1.0, -1.0, 1.0])


def true_errors(transform: Any, truth: NDArray[np.float64]) -> dict[str, Pair]:
    """Error (mm) of a transform node at points whose true partners are known: mean, 95th percentile, largest.

    transform  maps fixed to moving in its *from parent*
    truth      (2, N, 3) points of fixed and their partners in moving, LPS mm
    """
    x, y = truth * _RAS
    node_map = transform.GetTransformFromParent()
    found = np.array([node_map.TransformPoint(p) for p in x.tolist()])
    errors = {"before": np.linalg.norm(x - y, axis=1), "after": np.linalg.norm(found - y, axis=1)}
    return {
        "mean": {when: float(e.mean()) for when, e in errors.items()},
        "p95": {when: float(np.percentile(e, 95)) for when, e in errors.items()},
        "max": {when: float(e.max()) for when, e in errors.items()},
    }


def markup_errors(transform: Any, fixed: Any, moving: Any) -> dict[str, Pair]:
    """The same at the control points of two markups nodes in the same order."""
    import slicer.util

    points = [slicer.util.arrayFromMarkupsControlPoints(node, world=False) * _RAS for node in (fixed, moving)]
    return true_errors(transform, np.stack(points))


def dice_by_name(metrics: Mapping[str, Any]) -> dict[str, Pair]:
    """Segment name -> Dice before and after, of the segments that both sides have."""
    out = {}
    for name, scores in (metrics.get("segments") or {}).items():
        before, after = scores.get("dice_before"), scores.get("dice_after")
        if before is not None and after is not None:
            out[name] = {"before": float(before), "after": float(after)}
    return out


def mean_of(pairs: Mapping[str, Pair]) -> Pair:
    """The mean of pairs, before and after."""
    return {when: float(np.mean([p[when] for p in pairs.values()])) for when in ("before", "after")}


def worse(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on what is worse than at the start; none where the run is a success."""
    found = []
    for key, what in (("tre_lungs_mm", "the error inside the lungs"), ("tre_mm", "the error at landmarks")):
        errors = summary.get(key)
        if errors and errors["mean"]["after"] > errors["mean"]["before"]:
            mean = errors["mean"]
            found.append(f"{what} grew from {mean['before']:.2f} to {mean['after']:.2f} mm")
    dice = summary.get("dice_mean")
    if dice and dice["after"] < dice["before"]:
        found.append(f"mean Dice fell from {dice['before']:.3f} to {dice['after']:.3f}")
    likeness = summary.get("similarity")
    if likeness and not dice and not summary.get("tre_mm") and likeness["after"] < likeness["before"]:
        found.append(
            f"the scans are less alike: {likeness['name']} fell from {likeness['before']:.3f} "
            f"to {likeness['after']:.3f}"
        )
    return found


def rows(summary: Mapping[str, Any]) -> list[Row]:
    """What, before, after."""
    out: list[Row] = []
    for key, where in (("tre_lungs_mm", "inside the lungs"), ("tre_mm", "at landmarks")):
        if errors := summary.get(key):
            out.append(_row(f"Error {where} (mm), mean", errors["mean"], 2))
            out.append(_row("  95 % below", errors["p95"], 2))
            out.append(_row("  largest", errors["max"], 2))
    for name, pair in (summary.get("dice") or {}).items():
        out.append(_row(f"Dice, {name}", pair, 3))
    if len(summary.get("dice") or ()) > 1:
        out.append(_row("Dice, mean", summary["dice_mean"], 3))
    likeness = summary.get("similarity")
    if likeness and not out:
        out.append(_row(f"{likeness['name']} (says nothing of correctness)", likeness, 3))
    out.append(("Folding (%)", "", f"{summary['folding_percent']:.4f}"))
    seconds = summary["seconds"]
    out.append(("Alignment (s)", "", f"{seconds['registration']:.1f}"))
    out.append(("From Apply to the nodes (s)", "", f"{seconds['apply']:.1f}"))
    out.append(("Whole demo (s)", "", f"{seconds['whole']:.1f}"))
    return out


def table(lines: list[Row]) -> str:
    """Three columns with a head."""
    lines = [("", "before", "after"), *lines]
    width = [max(len(line[c]) for line in lines) for c in range(3)]
    text = [f"{a:<{width[0]}}  {b:>{width[1]}}  {c:>{width[2]}}" for a, b, c in lines]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


def _row(title: str, pair: Pair, digits: int) -> Row:
    return (title, f"{pair['before']:.{digits}f}", f"{pair['after']:.{digits}f}")
