"""Sentences a user should read before trusting a result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.grid import Grid

if TYPE_CHECKING:
    from .evaluation import Evaluation

#: what is too small to bother a user with
_DICE_FALL = 0.01
_TRE_RISE_MM = 0.5
_OUTSIDE_PERCENT = 5.0
_UNCERTAIN_MM = 2.0
#: times the volume, against the segment's own median, that tissue hardly gains or loses
_UNLIKELY_CHANGE = 3.0


def concerns(evaluation: Evaluation, grid: Grid) -> Iterator[str]:
    """What looks wrong, worst first; `grid` is the fixed grid."""
    yield from _folding(evaluation)
    yield from _landmarks(evaluation)
    yield from _segments(evaluation)
    risen = evaluation.outside_percent - evaluation.outside_percent_before
    if risen > _OUTSIDE_PERCENT:
        yield (
            f"{evaluation.outside_percent:.0f} % of the {evaluation.region} is mapped outside the moving "
            f"image ({evaluation.outside_percent_before:.0f} % before) and had nothing to guide it."
        )
    inverse = evaluation.inverse_consistency
    if inverse is not None and inverse.p95 > max(grid.spacing):
        yield (
            f"The inverse misses by up to {inverse.p95:.1f} mm at 95 % of the points, more than a voxel; "
            "use it with care."
        )
    yield from _volume_changes(evaluation)
    yield from _uncertainty(evaluation, grid)


def _folding(evaluation: Evaluation) -> Iterator[str]:
    jacobian = evaluation.deformation.jacobian
    for name, segment in evaluation.segments.items():
        inside = segment.jacobian
        if inside is not None and inside.folding_percent > 0:
            yield (
                f"The deformation folds inside {name} ({_percent(inside.folding_percent)} of it): "
                "do not trust the result there."
            )
    if jacobian.folding_percent > 0:
        yield (
            f"The deformation folds at {_percent(jacobian.folding_percent)} of the {evaluation.region} "
            f"(smallest Jacobian {jacobian.minimum:.2f}); more regularity avoids it."
        )


def _landmarks(evaluation: Evaluation) -> Iterator[str]:
    errors = evaluation.landmarks
    if errors is None or not errors.after.size:
        return
    before, after = float(errors.before.mean()), float(errors.after.mean())
    if after > before:
        yield f"The landmarks are farther apart: on average {before:.1f} mm became {after:.1f} mm."
    worse = errors.after - errors.before
    count = int((worse > _TRE_RISE_MM).sum())
    if count:
        k = int(worse.argmax())
        yield (
            f"{count} of {worse.size} landmarks ended farther from their partners than they began, "
            f"most of all {errors.names[k]!r} ({errors.before[k]:.1f} mm became {errors.after[k]:.1f} mm)."
        )


def _segments(evaluation: Evaluation) -> Iterator[str]:
    for name, s in evaluation.segments.items():
        before, after = s.dice_before, s.dice_after
        if before is not None and after is not None and after < before - _DICE_FALL:
            yield f"The overlap (Dice) of {name} fell from {before:.2f} to {after:.2f}."
        if s.volume_moved == 0 and s.volume_moving:
            yield f"{name} of the moving image lies wholly outside the fixed image after the alignment."
    lone = {
        "fixed": [n for n, s in evaluation.segments.items() if s.volume_moving is None],
        "moving": [n for n, s in evaluation.segments.items() if s.volume_fixed is None],
    }
    if all(len(names) < len(evaluation.segments) for names in lone.values()):  # else one was not given at all
        for there, names in lone.items():
            if names:
                yield f"Only the {there} segmentation holds {', '.join(names)}, so no overlap was measured."


def _volume_changes(evaluation: Evaluation) -> Iterator[str]:
    """Segments of which a twentieth changes far more than the rest without folding."""
    for name, segment in evaluation.segments.items():
        inside = segment.jacobian
        if inside is None or inside.folding_percent > 0 or not inside.percentiles:
            continue
        low, _, middle, _, high = inside.percentiles
        if low * _UNLIKELY_CHANGE < middle:
            yield (
                f"Parts of {name} are squeezed to less than a third of the volume the rest of it keeps "
                f"(Jacobian {low:.2f} against {middle:.2f}): check the alignment there."
            )
        if high > _UNLIKELY_CHANGE * middle:
            yield (
                f"Parts of {name} are stretched to more than three times the volume of the rest of it "
                f"(Jacobian {high:.2f} against {middle:.2f}): check the alignment there."
            )


def _uncertainty(evaluation: Evaluation, grid: Grid) -> Iterator[str]:
    """Where the estimate exceeds both 2 mm and a voxel, inside a segment or, without segments, over all."""
    much = max(_UNCERTAIN_MM, *grid.spacing)
    estimates = {name: s.uncertainty_mean for name, s in evaluation.segments.items()}
    for name, mean in estimates.items():
        if mean is not None and mean > much:
            yield (
                f"The alignment inside {name} is uncertain by {mean:.1f} mm on average (an estimate, not a "
                "probability): look there before you rely on it."
            )
    everywhere = evaluation.maps.get("uncertainty")
    if everywhere is not None and everywhere.mean > much and not any(v is not None for v in estimates.values()):
        yield (
            f"The alignment is uncertain by {everywhere.mean:.1f} mm on average over the {evaluation.region} "
            "(an estimate, not a probability)."
        )


def _percent(value: float) -> str:
    return f"{value:.2g} %" if value >= 0.01 else "less than 0.01 %"
