"""Which of many results stand out, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: makes the median absolute deviation of normally distributed numbers their standard deviation
_NORMAL = 1.4826
#: robust z from which on a number is said to stand out
STANDS_OUT = 3.5


@dataclass(frozen=True)
class Measure:
    """A number of a result.

    key       its name
    title     for people, with the unit
    high_is_bad   the direction in which a number is worse
    matters   the smallest difference worth a word; smaller spreads do not make outliers
    digits    after the point
    unit      behind the number in a sentence
    """

    key: str
    title: str
    high_is_bad: bool
    matters: float
    digits: int
    unit: str = ""

    def shown(self, value: float) -> str:
        return f"{value:.{self.digits}f}{self.unit}"


MEASURES = (
    Measure("dice_after", "Dice after", False, 0.02, 3),
    Measure("dice_lost", "Dice lost", True, 0.01, 3),
    Measure("hd95_after", "HD95 after", True, 1.0, 1, " mm"),
    Measure("tre_after", "TRE after", True, 0.5, 2, " mm"),
    Measure("tre_risen", "TRE risen", True, 0.25, 2, " mm"),
    Measure("folding_percent", "folding", True, 0.05, 2, " %"),
    Measure("jacobian_min", "smallest Jacobian", False, 0.1, 2),
    Measure("sd_log_jacobian", "SDlogJ", True, 0.02, 3),
    Measure("inverse_p95", "inverse error", True, 0.2, 2, " mm"),
    Measure("uncertainty_mean", "uncertainty", True, 0.2, 2, " mm"),
    Measure("outside_percent", "mapped outside", True, 2.0, 1, " %"),
)


@dataclass(frozen=True)
class Deviation:
    """z of one number of one case, and the median it was compared with; z > 0 is worse than usual."""

    measure: Measure
    value: float
    median: float
    z: float

    def __str__(self) -> str:
        m = self.measure
        return f"{m.title} {m.shown(self.value)}, median {m.shown(self.median)}"


def deviations(cases: Sequence[Mapping[str, float | None]]) -> list[list[Deviation]]:
    """For every case its deviations, the worst first; numbers that are missing or not finite do not count.

    z = s (v - m) / max(1.4826 MAD, d) over the cases that have the number: v the number, m the median, MAD the
    median of |v - m|, s = +1 where high numbers are bad and -1 where low ones are, d the smallest difference that
    matters (which also stands in where most cases are equal and MAD is 0). Better than usual is no outlier:
    negative z count as 0.
    """
    found: list[list[Deviation]] = [[] for _ in cases]
    for measure in MEASURES:
        known = [(k, v) for k, case in enumerate(cases) if _finite(v := case.get(measure.key))]
        if not known:
            continue
        values = np.array([v for _, v in known], dtype=np.float64)
        median = float(np.median(values))
        spread = max(_NORMAL * float(np.median(np.abs(values - median))), measure.matters)
        sign = 1.0 if measure.high_is_bad else -1.0
        for (k, _), value in zip(known, values.tolist(), strict=True):
            found[k].append(Deviation(measure, value, median, max(0.0, sign * (value - median) / spread)))
    return [sorted(each, key=lambda d: -d.z) for each in found]


def _finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
