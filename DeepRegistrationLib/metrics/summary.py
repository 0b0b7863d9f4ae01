"""An evaluation as JSON and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .deformation import PERCENTILES
from .landmarks import LandmarkErrors
from .likeness import NOTE, Similarity
from .maps import MapSummary

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .segments import SegmentScores


def as_dictionary(e: Evaluation) -> dict[str, Any]:
    """Every number of an evaluation; what could not be measured is None."""
    j, d = e.deformation.jacobian, e.deformation
    out = {
        "landmarks": None if e.landmarks is None else _landmarks(e.landmarks),
        "segments": {name: _segment(s) for name, s in e.segments.items()},
        "overlap": _overlap(e.segments.values()) if e.segments else None,
        "volume_unit": e.volume_unit,
        "deformation": {
            "region": e.region,
            "voxels": j.voxels,
            "folding_percent": j.folding_percent,
            "sd_log_jacobian": j.sd_log,
            "jacobian_min": j.minimum,
            "jacobian_max": j.maximum,
            "jacobian_mean": j.mean,
            "displacement_mean_mm": d.displacement_mean,
            "displacement_p95_mm": d.displacement_p95,
            "displacement_max_mm": d.displacement_max,
            "outside_moving_percent": e.outside_percent,
            "outside_moving_percent_before": e.outside_percent_before,
        },
        "inverse_consistency": None,
        "maps": {name: _map(m) for name, m in e.maps.items()},
        "similarity": {
            "note": NOTE,
            **_similarity(e.similarity_before, "before"),
            **_similarity(e.similarity_after, "after"),
        },
        "warnings": list(e.concerns),
    }
    if e.inverse_consistency is not None:
        c = e.inverse_consistency
        out["inverse_consistency"] = {
            "points": c.points, "mean_mm": c.mean, "p95_mm": c.p95, "max_mm": c.maximum,
        }  # fmt: skip
    cleaned: dict[str, Any] = _without_nan(out)
    return cleaned


def _landmarks(errors: LandmarkErrors) -> dict[str, Any]:
    out: dict[str, Any] = {
        "count": int(errors.after.size),
        "names": list(errors.names),
        "before_mm": errors.before.tolist(),
        "after_mm": errors.after.tolist(),
    }
    for when, values in (("before", errors.before), ("after", errors.after)):
        known = values.size > 0
        out[f"mean_{when}_mm"] = float(values.mean()) if known else None
        out[f"p95_{when}_mm"] = float(np.percentile(values, 95)) if known else None
        out[f"max_{when}_mm"] = float(values.max()) if known else None
    points = {"fixed": errors.fixed, "moving": errors.moving, "moved": errors.moved}
    return out | {f"{which}_points": values.tolist() for which, values in points.items()}


def _map(m: MapSummary | None) -> dict[str, float] | None:
    if m is None:
        return None
    return {"mean": m.mean, "p50": m.p50, "p95": m.p95, "p99": m.p99, "min": m.minimum, "max": m.maximum}


def _segment(s: SegmentScores) -> dict[str, Any]:
    out: dict[str, Any] = {"label": s.label}
    for when, dice, surface in (
        ("before", s.dice_before, s.surface_before),
        ("after", s.dice_after, s.surface_after),
    ):
        out[f"dice_{when}"] = dice
        out[f"hd95_{when}_mm"] = None if surface is None else surface.hd95
        out[f"surface_distance_{when}_mm"] = None if surface is None else surface.mean
    out |= {"volume_fixed": s.volume_fixed, "volume_moving": s.volume_moving, "volume_moved": s.volume_moved}
    j = s.jacobian
    out |= {
        "jacobian_mean": None if j is None else j.mean,
        "jacobian_min": None if j is None else j.minimum,
        "jacobian_max": None if j is None else j.maximum,
        "volume_change_percent": None if j is None else 100.0 * (j.mean - 1.0),
        "sd_log_jacobian": None if j is None else j.sd_log,
        "folding_percent": None if j is None else j.folding_percent,
    }
    for k, percent in enumerate(PERCENTILES):
        out[f"jacobian_p{percent}"] = None if j is None else j.percentiles[k]
    return out | {"uncertainty_mean_mm": s.uncertainty_mean}


def _overlap(segments: Iterable[SegmentScores]) -> dict[str, Any]:
    """Means over the labels both segmentations hold; one lost on the way counts Dice 0 and no distance."""
    shared = [s for s in segments if s.dice_before is not None and s.dice_after is not None]

    def mean(values: Iterable[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return float(np.mean(known)) if known else None

    return {
        "count": len(shared),
        "dice_mean_before": mean(s.dice_before for s in shared),
        "dice_mean_after": mean(s.dice_after for s in shared),
        "hd95_mean_before_mm": mean(s.surface_before.hd95 for s in shared if s.surface_before),
        "hd95_mean_after_mm": mean(s.surface_after.hd95 for s in shared if s.surface_after),
    }


def _similarity(values: Similarity | None, when: str) -> dict[str, float | None]:
    return {f"ncc_{when}": values.ncc if values else None, f"nmi_{when}": values.nmi if values else None}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary_lines(e: Evaluation) -> list[str]:
    """Landmarks, overlap, deformation, inverse, uncertainty, likeness; then the warnings."""
    numbers = as_dictionary(e)
    lines = []
    marks, overlap, inverse = numbers["landmarks"], numbers["overlap"], numbers["inverse_consistency"]
    if marks and marks["count"]:
        lines.append(
            f"Landmarks ({marks['count']}): TRE {marks['mean_before_mm']:.2f} -> "
            f"{marks['mean_after_mm']:.2f} mm on average, largest {marks['max_after_mm']:.2f} mm"
        )
    if overlap and overlap["count"]:
        lines.append(_overlap_line(overlap))
    d = numbers["deformation"]
    sd = "" if d["sd_log_jacobian"] is None else f", SDlogJ {d['sd_log_jacobian']:.3f}"
    lines.append(
        f"Deformation in the {d['region']}: folding {d['folding_percent']:.4f} %{sd}, Jacobian "
        f"{d['jacobian_min']:.2f} to {d['jacobian_max']:.2f}, "
        f"displacement {d['displacement_mean_mm']:.1f} mm on average, most {d['displacement_max_mm']:.1f} mm"
    )
    if inverse:
        lines.append(
            f"Inverse: back within {inverse['mean_mm']:.3f} mm on average, 95 % {inverse['p95_mm']:.3f} mm"
        )
    uncertainty = numbers["maps"].get("uncertainty")
    if uncertainty:
        lines.append(
            f"Uncertainty: {uncertainty['mean']:.2f} mm on average, 95 % below {uncertainty['p95']:.2f} mm "
            "(an estimate, not a probability)"
        )
    s = numbers["similarity"]
    if s["ncc_after"] is not None and s["ncc_before"] is not None:
        lines.append(f"Correlation: {s['ncc_before']:.3f} -> {s['ncc_after']:.3f} ({NOTE})")
    return lines + [f"Warning: {sentence}" for sentence in e.concerns]


def _overlap_line(overlap: dict[str, Any]) -> str:
    before, after = overlap["dice_mean_before"], overlap["dice_mean_after"]
    text = f"Segments ({overlap['count']}): Dice {before:.3f} -> {after:.3f}"
    if overlap["hd95_mean_before_mm"] is not None and overlap["hd95_mean_after_mm"] is not None:
        text += f", HD95 {overlap['hd95_mean_before_mm']:.2f} -> {overlap['hd95_mean_after_mm']:.2f} mm"
    return text
