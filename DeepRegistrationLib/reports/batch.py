"""Many results at once: what each measured, and which ones to look at first."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..jobs.results import ResultFolder
from .outliers import STANDS_OUT, Deviation, deviations

#: files that only the output of a registration has
_SIGNS = ("provenance.json", "metrics.json")
#: begin of the name of a folder in which a result was being gathered when its process ended
_UNFINISHED = ".unfinished-"
#: deviations named in a reason
_REASONS = 2


@dataclass(frozen=True)
class BatchCase:
    """One result among many. Lengths in mm; None where a number was not measured.

    name      path below the folder of all results
    outlier   the largest robust z of its numbers in the bad direction, at least 0 (see outliers.deviations)
    reason    what makes it stand out, in words; "" where nothing does
    error     one sentence where the result cannot be read or lacks files, else ""
    folding_segment, folding_segment_percent   the segment that folds most, where any folds
    """

    name: str
    path: Path
    method: str = ""
    dice_before: float | None = None
    dice_after: float | None = None
    hd95_after: float | None = None
    tre_before: float | None = None
    tre_after: float | None = None
    folding_percent: float | None = None
    jacobian_min: float | None = None
    sd_log_jacobian: float | None = None
    inverse_p95: float | None = None
    uncertainty_mean: float | None = None
    outside_percent: float | None = None
    seconds: float | None = None
    warnings: tuple[str, ...] = ()
    outlier: float = 0.0
    reason: str = ""
    error: str = ""
    folding_segment: str = ""
    folding_segment_percent: float | None = None

    @property
    def stands_out(self) -> bool:
        """Worth a look before the others."""
        return bool(self.error or self.folding_segment) or self.outlier >= STANDS_OUT

    @property
    def dice_lost(self) -> float | None:
        """How far Dice fell; 0 where it did not."""
        return _risen(self.dice_after, self.dice_before)

    @property
    def tre_risen(self) -> float | None:
        """By how many mm the TRE grew; 0 where it did not."""
        return _risen(self.tre_before, self.tre_after)


def collect(root: Path) -> list[BatchCase]:
    """Every result in `root` and the folders below it, those to look at first at the top.

    First come results that cannot be read, then those that fold inside a segment, then the others by `outlier`; of
    equals the name decides. A damaged folder becomes a case whose `error` says so; it counts for no median.
    Raises InputError where there is no such folder.
    """
    root = Path(os.path.expanduser(os.fspath(root)))
    if not root.is_dir():
        raise InputError(f"There is no folder {str(root)!r}; give the folder that holds the results.")
    return ranked([read_case(path, _name(path, root)) for path in result_folders(root)])


def result_folders(root: Path) -> Iterator[Path]:
    """Folders in `root`, itself included, that a registration has written to, finished or not. Links to folders
    are not followed."""
    for place, inner, files in os.walk(root):
        inner.sort()
        if any(sign in files for sign in _SIGNS) or any(name.startswith(_UNFINISHED) for name in inner):
            yield Path(place)
        inner[:] = [name for name in inner if not name.startswith(".")]


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def read_case(path: Path, name: str) -> BatchCase:
    """The numbers of one result; without comparison, so `outlier` is 0."""
    try:
        folder = ResultFolder(path)
        metrics, made = _dictionary(folder.metrics, path), _dictionary(folder.provenance, path)
        return _case(path, name, metrics, made)
    except InputError as error:
        return BatchCase(name, path, error=str(error))


def _dictionary(found: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise InputError(
            f"The result in {str(path)!r} is damaged (a file holds no table of numbers); run the registration again."
        )
    return found


def _case(path: Path, name: str, metrics: Mapping[str, Any], made: Mapping[str, Any]) -> BatchCase:
    def number(*keys: str) -> float | None:
        found: Any = metrics
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return _number(found)

    segment, share = _most_folded(metrics.get("segments"))
    said = metrics.get("warnings")
    return BatchCase(
        name=name,
        path=path,
        method=str(made.get("method") or ""),
        dice_before=number("overlap", "dice_mean_before"),
        dice_after=number("overlap", "dice_mean_after"),
        hd95_after=number("overlap", "hd95_mean_after_mm"),
        tre_before=number("landmarks", "mean_before_mm"),
        tre_after=number("landmarks", "mean_after_mm"),
        folding_percent=number("deformation", "folding_percent"),
        jacobian_min=number("deformation", "jacobian_min"),
        sd_log_jacobian=number("deformation", "sd_log_jacobian"),
        inverse_p95=number("inverse_consistency", "p95_mm"),
        uncertainty_mean=number("maps", "uncertainty", "mean"),
        outside_percent=number("deformation", "outside_moving_percent"),
        seconds=_number(made.get("seconds")),
        warnings=tuple(str(text) for text in said) if isinstance(said, list) else (),
        error=_lacking(path, metrics, made),
        folding_segment=segment,
        folding_segment_percent=share,
    )


def _lacking(path: Path, metrics: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """A sentence where the result is not whole."""
    files = made.get("files")
    names = [str(name) for name in files.values()] if isinstance(files, Mapping) else []
    gone = [name for name in names if not (path / name).is_file()]
    if gone:
        return f"The result lacks {', '.join(gone)}; run the registration again."
    return "" if metrics else "The result was not measured; run `evaluate` on it."


def _most_folded(segments: Any) -> tuple[str, float | None]:
    if not isinstance(segments, Mapping):
        return "", None
    shares = {
        str(name): _number(scores.get("folding_percent")) or 0.0
        for name, scores in segments.items()
        if isinstance(scores, Mapping)
    }
    worst = max(shares, key=lambda name: shares[name], default="")
    return (worst, shares[worst]) if worst and shares[worst] > 0 else ("", None)


# ---------------------------------------------------------------------- order


def ranked(cases: list[BatchCase]) -> list[BatchCase]:
    """The cases with `outlier` and `reason` from comparing them with each other, in the order of `collect`."""
    whole = [case for case in cases if not case.error]
    found = [
        replace(case, outlier=each[0].z if each else 0.0, reason=_reason(case, each))
        for case, each in zip(whole, deviations([measured(case) for case in whole]), strict=True)
    ]
    found += [replace(case, reason="cannot be used") for case in cases if case.error]
    return sorted(found, key=lambda case: (not case.error, not case.folding_segment, -case.outlier, case.name))


def measured(case: BatchCase) -> dict[str, float | None]:
    """Key -> number, of everything that can be compared."""
    numbers = {f.name: getattr(case, f.name) for f in fields(case)}
    numbers |= {"dice_lost": case.dice_lost, "tre_risen": case.tre_risen}
    return {key: value for key, value in numbers.items() if value is None or isinstance(value, (int, float))}


def _reason(case: BatchCase, found: list[Deviation]) -> str:
    parts = [str(deviation) for deviation in found if deviation.z >= STANDS_OUT][:_REASONS]
    if case.folding_segment:
        share = case.folding_segment_percent or 0.0
        shown = f"{share:.2g} %" if share >= 0.01 else "less than 0.01 %"
        parts.insert(0, f"folds inside {case.folding_segment} ({shown} of it)")
    return "; ".join(parts)


def _risen(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
