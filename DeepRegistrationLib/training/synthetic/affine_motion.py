"""Rigid and affine maps about the middle of the image, in voxels: y = c + matrix (x - c) + shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...ops.warp import index_grid
from .draws import Draws

#: about so many voxels along each axis tell how a motion is taken back
_FITTED = 16


@dataclass(frozen=True)
class AffineMotion:
    """matrix (d, d), shift (d,), centre (d,); components x, y[, z]; on the CPU, float64."""

    matrix: torch.Tensor
    shift: torch.Tensor
    centre: torch.Tensor

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """points (..., d)"""
        matrix = self.matrix.to(points.device, points.dtype)
        offset = self.centre + self.shift - self.matrix @ self.centre
        moved = torch.addmm(offset.to(points.device, points.dtype), points.reshape(-1, len(matrix)), matrix.T)
        return moved.reshape(points.shape)


def random_affine(
    draws: Draws, shape: Sequence[int], degrees: float, shift: float, scaling: float = 0.0
) -> AffineMotion:
    """Up to `degrees` about each axis, `shift` voxels along each, and a factor 1 +- `scaling` along each."""
    d = len(shape)
    matrix = torch.eye(d, dtype=torch.float64)
    for i, j in [(0, 1)] if d == 2 else [(0, 1), (0, 2), (1, 2)]:
        angle = math.radians(draws.uniform(-degrees, degrees))
        turn = torch.eye(d, dtype=torch.float64)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    scales = torch.tensor(draws.uniforms(d, 1 - scaling, 1 + scaling), dtype=torch.float64)
    centre = (torch.tensor(list(shape)[::-1], dtype=torch.float64) - 1) / 2
    return AffineMotion(matrix * scales, torch.tensor(draws.uniforms(d, -shift, shift), dtype=torch.float64), centre)


def taken_back(field: torch.Tensor) -> AffineMotion:
    """The affine map A with the least sum of |A(x + u(x)) - x|^2 over all voxels x, u = field (d, [Z,] Y, X) voxels:
    A o (id + u) is what an affine alignment leaves of the motion."""
    shape = field.shape[1:]
    skipped = tuple(slice(None, None, max(1, n // _FITTED)) for n in shape)
    x = index_grid(shape, field)[skipped].reshape(-1, len(shape)).to("cpu", torch.float64)
    u = field[(slice(None), *skipped)].flatten(1).T.to("cpu", torch.float64)
    centre = (torch.tensor(list(shape)[::-1], dtype=torch.float64) - 1) / 2
    moved = torch.cat([x + u - centre, torch.ones_like(x[:, :1])], dim=1)
    solution = torch.linalg.lstsq(moved, x - centre).solution
    return AffineMotion(solution[:-1].T.contiguous(), solution[-1], centre)
