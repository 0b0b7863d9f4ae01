"""Thin-plate splines: the smoothest map through (or near) values given at scattered points, in 2-D and 3-D.

    f minimises  sum_i |f(p_i) - v_i|^2 + lambda / (8 pi) J(f),     J(f) = integral of all squared second derivatives

    f(x) = a_0 + A x + sum_i w_i K(|x - p_i|),     K(r) = r^2 log r  in 2-D,   -r  in 3-D
    (K + lambda I) w + P a = v,   P^T w = 0,       P: rows (1, p_i)

An affine map is reproduced exactly whatever lambda is, lambda = 0 interpolates, and a large lambda leaves the affine
map that fits best. lambda is mm (3-D) or mm^2 (2-D) where points are mm. Where the points do not determine an affine
map (too few, or all in one plane) the smallest one is taken.

Bookstein: Principal warps: thin-plate splines and the decomposition of deformations, IEEE TPAMI 11(6), 1989,
doi:10.1109/34.24792; regularised form: Wahba, Spline models for observational data, SIAM 1990,
doi:10.1137/1.9781611970128.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ..core.progress import Tick, no_tick
from ..core.sampling import crossings, precise
from .splines import evaluate

#: kernel values held at once
_BLOCK = 4_000_000

#: directions in which the points spread less than this share of the widest one determine no slope
_FLAT = 1e-6


class ThinPlateSystem:
    """The equations of N points, factorised once, for any number of right-hand sides.

    points     (N, d) distinct, d = 2 or 3
    smoothing  lambda, at least 0

    Raises ValueError for other dimensions, no points, a negative lambda, or points that coincide where lambda is 0.
    """

    def __init__(self, points: torch.Tensor, smoothing: float = 0.0) -> None:
        if points.dim() != 2 or points.shape[1] not in (2, 3) or len(points) == 0:
            raise ValueError(f"thin plates need points (N, 2) or (N, 3), not {tuple(points.shape)}")
        if smoothing < 0:
            raise ValueError(f"the smoothing of a thin plate is not negative, but {smoothing:g}")
        self.points = points.detach()
        exact = self.points.to(precise(points.device))
        self._middle = exact.mean(dim=0)
        # lengths of about 1: the condition of the system does not depend on the unit
        self._scale = float((exact - self._middle).norm(dim=1).max().clamp_min(1e-12))
        x = (exact - self._middle) / self._scale
        n, d = x.shape
        self._affine = _spanning(x)
        p = torch.cat([x.new_ones(n, 1), x @ self._affine], dim=1)
        system = x.new_zeros(n + p.shape[1], n + p.shape[1])
        system[:n, :n] = _kernel(x, x)
        # K(s r) = s^(4 - d) K(r) besides a quadratic, which P^T w = 0 makes affine: lambda scales like it
        system[:n, :n].diagonal().add_(smoothing / self._scale ** (4 - d))
        system[:n, n:], system[n:, :n] = p, p.T
        self._factors, self._pivots, info = torch.linalg.lu_factor_ex(system)
        diagonal = self._factors.diagonal().abs()
        if int(info) != 0 or (n > 1 and smoothing == 0 and float(diagonal.min()) < 1e-13 * float(diagonal.max())):
            raise ValueError("two points of a thin plate without smoothing coincide")

    def fit(self, values: torch.Tensor) -> ThinPlate:
        """The plate of values (N, C); differentiable in them."""
        n = len(self.points)
        if values.dim() != 2 or len(values) != n:
            raise ValueError(f"values of shape {tuple(values.shape)} do not fit {n} points")
        right = torch.cat([values.to(self._factors), self._factors.new_zeros(len(self._factors) - n, values.shape[1])])
        solution = torch.linalg.lu_solve(self._factors, self._pivots, right)
        slope = self._affine @ solution[n + 1 :]
        centres = (self.points.to(self._factors) - self._middle) / self._scale
        return ThinPlate(centres, solution[:n], solution[n], slope, self._middle, self._scale, values.dtype)


@dataclass(frozen=True)
class ThinPlate:
    """f of the module's docstring, in lengths of about 1.

    centres (N, d), weights (N, C), constant (C,), slope (d, C): x' = (x - middle) / scale
    """

    centres: torch.Tensor
    weights: torch.Tensor
    constant: torch.Tensor
    slope: torch.Tensor
    middle: torch.Tensor
    scale: float
    dtype: torch.dtype

    def __call__(self, points: torch.Tensor, tick: Tick = no_tick) -> torch.Tensor:
        """(..., d) -> (..., C) in the type of the values; in blocks, with little memory."""
        flat = points.reshape(-1, points.shape[-1])
        rows = max(1, _BLOCK // len(self.centres))
        parts = []
        for part in flat.split(rows):
            tick()
            parts.append(self._block(part))
        return torch.cat(parts).reshape(*points.shape[:-1], self.weights.shape[1]).to(self.dtype)

    def dense(self, shape: Sequence[int], step: float = 4.0, tick: Tick = no_tick) -> torch.Tensor:
        """f at every voxel of a grid of `shape` ([Z,] Y, X) whose indices the points are: (C, [Z,] Y, X).

        step  voxels; f is evaluated on a lattice about so far apart and carried between by cubic splines. 1 or less
              evaluates every voxel.
        """
        device = self.centres.device
        nodes = [_nodes(int(n), step, device) for n in shape]
        values = self(crossings(nodes), tick).movedim(-1, 0)
        if all(len(p) == n for p, n in zip(nodes, shape, strict=True)):
            return values
        carry = [_cubic(p, int(n)) for p, n in zip(nodes, shape, strict=True)]
        tick()
        return evaluate(values, [m.to(values) for m in carry])

    def bending(self) -> torch.Tensor:
        """J(f) summed over the channels, in the unit of the points: 8 pi sum_ij w_i w_j K(p_i - p_j)."""
        d = self.centres.shape[1]
        total = (self.weights * (_kernel(self.centres, self.centres) @ self.weights)).sum()
        return 8 * torch.pi * total * self.scale ** (d - 4)

    def _block(self, points: torch.Tensor) -> torch.Tensor:
        # the values' own type is enough here, the system alone is delicate
        x = ((points.to(self.middle) - self.middle) / self.scale).to(self.dtype)
        centres, weights = self.centres.to(self.dtype), self.weights.to(self.dtype)
        return self.constant.to(self.dtype) + x @ self.slope.to(self.dtype) + _kernel(x, centres) @ weights


def extrapolated(
    points: torch.Tensor,
    values: torch.Tensor,
    shape: Sequence[int],
    smoothing: float = 0.0,
    step: float = 4.0,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """Sparse displacements made dense: values (N, C) at index coordinates (N, d) -> (C, [Z,] Y, X); see `dense`.

    Lambda is in voxels (3-D) or voxels^2 (2-D). Differentiable in `values`.
    """
    tick()
    plate = ThinPlateSystem(points, smoothing).fit(values)
    return plate.dense(shape, step, tick)


def _kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """K (A, B) of points (A, d), (B, d)."""
    if a.shape[1] == 3:
        return -torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    squared = (a[:, None] - b[None]).square().sum(dim=-1)
    return 0.5 * squared * squared.clamp_min(torch.finfo(squared.dtype).tiny).log()


def _spanning(x: torch.Tensor) -> torch.Tensor:
    """(d, r) orthonormal directions in which the points (N, d), whose mean is 0, spread."""
    _, extent, directions = torch.linalg.svd(x, full_matrices=False)
    return directions[extent > _FLAT * max(float(extent.max()), 1e-30)].T


def _nodes(count: int, step: float, device: torch.device) -> torch.Tensor:
    pieces = max(1, round((count - 1) / max(step, 1.0)))
    return torch.linspace(0, count - 1, pieces + 1 if count > 1 else 1, device=device)


def _cubic(nodes: torch.Tensor, count: int) -> torch.Tensor:
    """(count, nodes) weights that carry values at `nodes` to voxels 0 ... count - 1 by a spline, cubics exactly."""
    if len(nodes) == 1:
        return torch.ones(count, 1)
    spline = CubicSpline(nodes.cpu().double().numpy(), np.eye(len(nodes)))
    return torch.from_numpy(spline(np.arange(count)))
