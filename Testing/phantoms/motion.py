"""Smooth maps given by a formula, with an inverse solved to a micrometre."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid, apply_matrix_torch
from DeepRegistrationLib.core.progress import Tick, no_tick
from DeepRegistrationLib.core.sampling import sample_index
from DeepRegistrationLib.core.transform import Inverse, Transform

Field = Callable[[torch.Tensor], torch.Tensor]

TOLERANCE_MM = 1e-3
#: points worked on at once: they stay in the processor's cache
_CHUNK = 30_000


class Motion(Transform):
    """T(x) = x + u(x) with u any smooth function of points (N, d) in mm, in the points' type."""

    def __init__(self, dimension: int, field: Field) -> None:
        self._dimension = dimension
        self.field = field

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def is_linear(self) -> bool:
        return False

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        return torch.cat([p + self.field(p) for p in points.split(_CHUNK)])

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        return Inverse(MotionInverse(self), TOLERANCE_MM)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        """Exact, by automatic differentiation."""
        x = grid.world_points(dtype=torch.float64).reshape(-1, grid.dimension)
        return torch.cat([self._determinant(p) for p in x.split(_CHUNK)]).reshape(grid.shape)

    def _determinant(self, points: torch.Tensor) -> torch.Tensor:
        p = points.detach().requires_grad_(True)
        moved = p + self.field(p)
        rows = [
            torch.autograd.grad(moved[:, c].sum(), p, retain_graph=True)[0] for c in range(self.dimension)
        ]
        return torch.linalg.det(torch.stack(rows, dim=1)).to(torch.float32)

    def to(self, device: torch.device | str) -> Motion:
        return self


class MotionInverse(Transform):
    """S(y) = y + v with v = -u(y + v), by fixed-point iteration, within TOLERANCE_MM."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion

    @property
    def dimension(self) -> int:
        return self.motion.dimension

    @property
    def is_linear(self) -> bool:
        return False

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        y = points.to(torch.float64)
        return torch.cat([p + self._solve(p, torch.zeros_like(p)) for p in y.split(_CHUNK)]).to(points.dtype)

    def on_grid(self, grid: Grid) -> torch.Tensor:
        """([Z,] Y, X, d) float32: S at every voxel centre; a coarse solution starts the fine one."""
        coarse = grid.with_size([max(2, n // 4) for n in grid.size]).padded(1)
        centres = coarse.world_points(dtype=torch.float64).reshape(-1, grid.dimension)
        start = (self.apply(centres) - centres).T.reshape(grid.dimension, *coarse.shape).to(torch.float32)
        out = []
        for y in grid.world_points().reshape(-1, grid.dimension).split(_CHUNK):
            index = apply_matrix_torch(coarse.world_to_index, y)
            out.append(y + self._solve(y, sample_index(start, index, outside=None).T))
        return torch.cat(out).reshape(*grid.shape, grid.dimension)

    def _solve(self, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        for _ in range(200):
            new = -self.motion.field(y + v)
            step = float((new - v).abs().max()) if len(y) else 0.0
            v = new
            # what is left is at most a few times the last step
            if step < 0.2 * TOLERANCE_MM:
                return v
        raise ValueError("the motion cannot be inverted: it folds or its gradients are too steep")

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        return Inverse(self.motion, TOLERANCE_MM)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        raise NotImplementedError("the Jacobian of the inverse is that of the motion, inverted, at S(y)")

    def to(self, device: torch.device | str) -> MotionInverse:
        return self


def bumps(centres: np.ndarray, sigmas: np.ndarray, amplitudes: np.ndarray) -> Field:
    """u(x) = sum_k amplitudes[k] exp(-|x - centres[k]|^2 / (2 sigmas[k]^2)); (K, d), (K,), (K, d), mm."""

    def field(points: torch.Tensor) -> torch.Tensor:
        c, s, a = (torch.as_tensor(v, dtype=points.dtype) for v in (centres, sigmas, amplitudes))
        # |x - c|^2 by its expansion: one matrix product instead of (N, K, d) differences
        squared = points.square().sum(dim=1, keepdim=True) + c.square().sum(dim=1) - 2 * points @ c.T
        return torch.exp(squared * (-0.5 / s.square())) @ a

    return field


def random_bumps(
    rng: np.random.Generator, centre: np.ndarray, half_extent: np.ndarray, maximum_mm: float, count: int = 8
) -> Field:
    """Bumps at random places of a box with |u| <= about `maximum_mm`, wide enough not to fold.

    The sum of the gradients stays below 0.45, so T has no fold and its inverse converges.
    """
    d = len(centre)
    centres = centre + rng.uniform(-0.7, 0.7, (count, d)) * half_extent
    sigmas = rng.uniform(0.28, 0.45, count) * float(np.mean(half_extent))
    directions = rng.normal(size=(count, d))
    amplitudes = (
        directions / np.linalg.norm(directions, axis=1, keepdims=True) * rng.uniform(0.6, 1.0, (count, 1))
    )
    raw = bumps(centres, sigmas, amplitudes)
    probe = torch.from_numpy(centre + rng.uniform(-1, 1, (4000, d)) * half_extent).requires_grad_(True)
    u = raw(probe)
    length = float(u.detach().norm(dim=1).max())
    gradients = [torch.autograd.grad(u[:, c].sum(), probe, retain_graph=True)[0] for c in range(d)]
    steepest = float(torch.linalg.matrix_norm(torch.stack(gradients, dim=1), ord=2).max())
    scale = min(maximum_mm / length, 0.45 / steepest)
    return bumps(centres, sigmas, amplitudes * scale)
