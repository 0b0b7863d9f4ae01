"""Least-squares linear transform between matched points."""

from __future__ import annotations

import numpy as np

from ..transforms import Affine


def fit_points(fixed: np.ndarray, moving: np.ndarray, kind: str | None = None) -> Affine:
    """T of `kind` that makes sum |T(fixed_i) - moving_i|^2 smallest.

    fixed, moving  (N, d) mm, row i of one matching row i of the other
    kind           translation, rigid or affine; None takes what the points determine: affine from 2 (d + 1)
                   points
                   that fill space, rigid from d that do not lie on a line, else a translation

    Rigid: Arun, Huang, Blostein, IEEE Trans. PAMI 9(5), 1987, doi:10.1109/TPAMI.1987.4767965 (no mirror
    image).
    """
    fixed, moving = np.asarray(fixed, dtype=np.float64), np.asarray(moving, dtype=np.float64)
    kind = kind or determined_kind(fixed)
    a, b = fixed.mean(axis=0), moving.mean(axis=0)
    if kind == "translation":
        return Affine.from_translation(b - a)
    x, y = fixed - a, moving - b
    if kind == "affine":
        matrix = np.linalg.lstsq(x, y, rcond=None)[0].T
        return Affine.about(a, matrix, b - a)
    u, _, vt = np.linalg.svd(x.T @ y)
    mirror = np.ones(len(a))
    mirror[-1] = np.sign(np.linalg.det(vt.T @ u.T)) or 1.0
    return Affine.about(a, vt.T @ np.diag(mirror) @ u.T, b - a)


def determined_kind(points: np.ndarray) -> str:
    """The largest of translation, rigid and affine that these points pin down."""
    n, d = points.shape
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    relative = np.zeros(d)
    if spread.size and spread[0] > 1e-9:
        relative[: len(spread)] = spread / spread[0]
    if n >= 2 * (d + 1) and relative[-1] > 0.1:
        return "affine"
    if n >= d and relative[d - 2] > 0.02:
        return "rigid"
    return "translation"
