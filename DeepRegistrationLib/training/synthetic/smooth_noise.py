"""Smooth random volumes: cubic B-splines with random coefficients, cheap at any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...ops.splines import basis, evaluate, knot_count
from .draws import Draws


def bases(shape: Sequence[int], spacing: float, device: torch.device) -> list[torch.Tensor]:
    """B-spline weights of every voxel along each axis, knots `spacing` voxels apart."""
    return [basis(torch.arange(n, device=device), n, spacing) for n in shape]


def smooth_noise(draws: Draws, channels: int, shape: Sequence[int], spacing: float) -> torch.Tensor:
    """(channels, [Z,] Y, X) of mean 0 and standard deviation about 1; knots `spacing` voxels apart."""
    coefficients = draws.normal(channels, *(knot_count(n, spacing) for n in shape))
    # a cubic B-spline of white noise has, on average, the variance (151 / 315) ^ axes
    gain = (315 / 151) ** (len(shape) / 2)
    return evaluate(coefficients * gain, bases(shape, spacing, draws.device))
