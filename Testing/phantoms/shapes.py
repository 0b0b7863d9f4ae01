"""Signed distances (mm, negative inside; near the surface close to exact) and soft painting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch


def ellipsoid(p: torch.Tensor, centre: Sequence[float], radii: Sequence[float]) -> torch.Tensor:
    """(N, d) points -> (N,)."""
    r = torch.tensor(radii, dtype=p.dtype)
    q = (p - torch.tensor(centre, dtype=p.dtype)) / r
    k = q.norm(dim=1)
    return k * (k - 1) / (q / r).norm(dim=1).clamp_min(1e-6)


def capsule(p: torch.Tensor, a: Sequence[float], b: Sequence[float], radius: float) -> torch.Tensor:
    """A tube with round ends from a to b."""
    start, end = torch.tensor(a, dtype=p.dtype), torch.tensor(b, dtype=p.dtype)
    axis = end - start
    q = p - start
    along = ((q @ axis) / (axis @ axis)).clamp(0, 1)
    return (q - along[:, None] * axis).norm(dim=1) - radius


def tube(p: torch.Tensor, path: Sequence[Sequence[float]], radius: float) -> torch.Tensor:
    """Capsules along a path of at least two points."""
    pieces = [capsule(p, a, b, radius) for a, b in pairwise(path)]
    return torch.stack(pieces).amin(dim=0)


def box(
    p: torch.Tensor, centre: Sequence[float], half: Sequence[float], rounding: float = 0.0
) -> torch.Tensor:
    q = (p - torch.tensor(centre, dtype=p.dtype)).abs() - torch.tensor(half, dtype=p.dtype) + rounding
    return q.clamp_min(0).norm(dim=1) + q.amax(dim=1).clamp_max(0) - rounding


class Canvas:
    """Values and labels of N points, painted shape over shape; edges are ramps `edge` mm wide."""

    def __init__(self, count: int, background: float, edge: float) -> None:
        self.values = torch.full((count,), float(background))
        self.labels = torch.zeros(count, dtype=torch.uint8)
        self.edge = edge

    def paint(self, distance: torch.Tensor, value: float | torch.Tensor, label: int | None = None) -> None:
        """Cover with `value` where distance < 0 (half way at 0), and with `label` where one is given."""
        weight = (0.5 - distance / self.edge).clamp(0, 1)
        self.values = self.values + weight * (value - self.values)
        if label is not None:
            self.labels[distance < 0] = label
