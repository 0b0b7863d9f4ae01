"""Similarity of normalised gradient fields for every shift at once, by Fourier transforms.

    S(s) = 1 / N(s)  sum_x  w_a(x) w_b(x + s) <n_a(x), n_b(x + s)>^2,      N(s) = sum_x w_a(x) w_b(x + s)

The squared inner product is the ordinary one of the d (d + 1) / 2 distinct entries of n n^T (`ops.ngf.edge_tensor`), so
the sum is a cross-correlation of that many images, added up before they are transformed back; N is one more.

Öfverstedt, Lindblad, Sladoje, Cross-Sim-NGF: FFT-based global rigid multimodal alignment of image volumes using
normalized gradient fields, WBIR 2022, doi:10.48550/arXiv.2110.10156, equations 4 to 6. Differs from the paper: weights
between 0 and 1 instead of masks; only as much padding as the wanted shifts need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import next_fast_len

from .ngf import edge_tensor


@dataclass(frozen=True)
class ShiftWindow:
    """Which shifts are looked at, and how long the transforms must be so that none of them wraps around.

    low, high  whole voxels along the tensor axes ([Z,] Y, X), both included
    shape      of the transforms; entry s modulo `shape` of a circular correlation holds shift s
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, fixed: Sequence[int], moving: Sequence[int], least: float = 0.0) -> ShiftWindow:
        """Shifts that leave two fields of `fixed` and `moving` voxels ([Z,] Y, X) at least the share `least` of the
        shorter one in common along every axis, and at least one voxel."""
        low, high, shape = [], [], []
        for a, b in zip(fixed, moving, strict=True):
            common = max(1, math.ceil(least * min(a, b) - 1e-9))
            low.append(common - a)
            high.append(b - common)
            shape.append(next_fast_len(a + b - common, real=True))
        return cls(tuple(low), tuple(high), tuple(shape))

    def allowed(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """`shape` bool: True where an entry of a circular correlation holds a shift of this window."""
        out = torch.ones(self.shape, dtype=torch.bool, device=device)
        for axis, (low, high, n) in enumerate(zip(self.low, self.high, self.shape, strict=True)):
            k = torch.arange(n, device=device)
            line = (k <= high) | (k >= n + low)
            out &= line.reshape([-1 if a == axis else 1 for a in range(len(self.shape))])
        return out

    def shift(self, flat: int) -> np.ndarray:
        """(d,) whole voxels along x, y[, z]: the shift that the flat entry of a correlation holds."""
        at = np.array(np.unravel_index(flat, self.shape))
        return np.where(at <= np.array(self.high), at, at - np.array(self.shape))[::-1].copy()


def edge_features(n: torch.Tensor, squared: bool = True) -> torch.Tensor:
    """(d, C, [Z,] Y, X) -> (K, C, [Z,] Y, X) with <f(a), f(b)> = <a, b>^2, K = d (d + 1) / 2; without the square
    the field itself."""
    return edge_tensor(n).reshape(-1, *n.shape[1:]) if squared else n


def spectrum(features: torch.Tensor, weight: torch.Tensor, window: ShiftWindow) -> torch.Tensor:
    """Transforms of features (K, B, [Z,] Y, X) times weight (B, [Z,] Y, X), and of the weight behind them:
    (K + 1, B, ...) complex."""
    axes = tuple(range(-len(window.shape), 0))
    return torch.fft.rfftn(torch.cat([features * weight, weight[None]]), s=window.shape, dim=axes)


def cross_similarity(
    fixed: torch.Tensor, moving: torch.Tensor, window: ShiftWindow
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_x w_a(x) w_b(x + s) <f_a(x), f_b(x + s)> and N(s) for all s, each (B, *window.shape).

    fixed, moving  from `spectrum`; B may be 1 for either. Entry s modulo the shape holds shift s; entries that
    `window.allowed` leaves out are mixtures and mean nothing.
    """
    axes = tuple(range(-len(window.shape), 0))
    matched = torch.linalg.vecdot(fixed[:-1], moving[:-1], dim=0)
    both = torch.stack([matched, fixed[-1].conj() * moving[-1]])
    total, overlap = torch.fft.irfftn(both, s=window.shape, dim=axes)
    return total, overlap


def mean_similarity(
    total: torch.Tensor, overlap: torch.Tensor, allowed: torch.Tensor, least: torch.Tensor | float
) -> torch.Tensor:
    """S = total / overlap where the shift is allowed and overlap >= least, minus infinity elsewhere.

    least  one number or (B, 1[, 1], 1), in voxels
    """
    enough = allowed & (overlap >= least) & (overlap > 0.5)
    return torch.where(enough, total / overlap.clamp_min(0.5), -torch.inf)
