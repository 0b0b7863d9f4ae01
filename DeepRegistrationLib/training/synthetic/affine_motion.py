"""Rigid and affine maps about the middle of the image, in voxels: y = c + matrix (x - c) + shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .draws import Draws


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
