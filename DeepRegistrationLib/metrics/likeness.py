"""Likeness of grey values; NOT a measure of correctness: a wrong deformation can make images look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.image import Image

NOTE = "not a measure of correctness"
_BINS = 64


@dataclass(frozen=True)
class Similarity:
    """ncc: Pearson correlation, -1 to 1; nmi: (H(a) + H(b)) / H(a, b), 1 (independent) to 2 (one to one).

    None where an image is constant. Channels are averaged.
    """

    ncc: float | None
    nmi: float | None


def similarity(fixed: Image, moved: Image, region: NDArray[np.bool_] | None = None) -> Similarity:
    """Of two images (C, [Z,] Y, X) on one grid over the voxels of `region` ([Z,] Y, X), or all."""
    pairs = []
    for c in range(min(fixed.channels, moved.channels)):
        a, b = fixed.data[c].cpu().numpy(), moved.data[c].cpu().numpy()
        pairs.append((a.ravel(), b.ravel()) if region is None else (a[region], b[region]))
    return Similarity(_mean([_ncc(a, b) for a, b in pairs]), _mean([_nmi(a, b) for a, b in pairs]))


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _ncc(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    # the mean is taken out in double precision first: HU have large means and small contrasts
    x = a - a.mean(dtype=np.float64)
    y = b - b.mean(dtype=np.float64)
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else None


def _nmi(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    if a.min() == a.max() or b.min() == b.max():
        return None
    joint = np.bincount(_binned(a) * _BINS + _binned(b), minlength=_BINS * _BINS).reshape(_BINS, _BINS)
    p = joint / joint.sum()
    return (_entropy(p.sum(axis=1)) + _entropy(p.sum(axis=0))) / _entropy(p.ravel())


def _binned(values: NDArray[np.float32]) -> NDArray[np.int64]:
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (_BINS / (high - low))
    return scaled.astype(np.int64).clip(max=_BINS - 1)


def _entropy(p: NDArray[np.float64]) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
