"""Likeness of grey values; NOT a measure of correctness: a wrong deformation can make images look alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.image import Image

NOTE = "not a measure of correctness"
_BINS = 64

#: values turned to double precision at once
_BLOCK = 1 << 20

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Similarity:
    """ncc: Pearson correlation, -1 to 1; nmi: (H(a) + H(b)) / H(a, b), 1 (independent) to 2 (one to one).

    None where an image is constant. Channels are averaged.
    """

    ncc: float | None
    nmi: float | None


def similarity(fixed: Image, moved: Image, region: NDArray[np.bool_] | None = None) -> Similarity:
    """Of two images (C, [Z,] Y, X) on one grid over the voxels of `region` ([Z,] Y, X), or all."""
    correlation, information = [], []
    for c in range(min(fixed.channels, moved.channels)):
        a, b = fixed.data[c].cpu().numpy(), moved.data[c].cpu().numpy()
        a, b = (a.ravel(), b.ravel()) if region is None else (a[region], b[region])
        correlation.append(_ncc(a, b))
        information.append(_nmi(a, b))
    return Similarity(_mean(correlation), _mean(information))


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _blocks(a: Values, b: Values) -> Iterator[tuple[Values, Values]]:
    for start in range(0, a.size, _BLOCK):
        yield a[start : start + _BLOCK], b[start : start + _BLOCK]


def _ncc(a: Values, b: Values) -> float | None:
    # the mean is taken out in double precision first: HU have large means and small contrasts
    mean_a, mean_b = a.mean(dtype=np.float64), b.mean(dtype=np.float64)
    aa = bb = ab = 0.0
    for p, q in _blocks(a, b):
        x, y = p - mean_a, q - mean_b
        aa, bb, ab = aa + float(x @ x), bb + float(y @ y), ab + float(x @ y)
    size = float(np.sqrt(aa * bb))
    return ab / size if size > 0 else None


def _nmi(a: Values, b: Values) -> float | None:
    low_a, high_a, low_b, high_b = a.min(), a.max(), b.min(), b.max()
    if low_a == high_a or low_b == high_b:
        return None
    joint = np.zeros(_BINS * _BINS, dtype=np.int64)
    for p, q in _blocks(a, b):
        place = _binned(p, low_a, high_a) * _BINS + _binned(q, low_b, high_b)
        joint += np.bincount(place, minlength=_BINS * _BINS)
    table = joint.reshape(_BINS, _BINS) / joint.sum()
    return (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0))) / _entropy(table.ravel())


def _binned(values: Values, low: float, high: float) -> NDArray[np.int64]:
    scaled = (values - float(low)) * (_BINS / (float(high) - float(low)))
    return scaled.astype(np.int64).clip(max=_BINS - 1)


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
