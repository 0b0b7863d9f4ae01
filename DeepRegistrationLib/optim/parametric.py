"""Displacements with few numbers: a cubic B-spline, or the exponential of one used as a velocity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..core.sampling import crossings, sample_index
from ..ops import splines

Positions = Sequence[torch.Tensor]


class SplineField:
    """u(x) in working voxels, components x, y[, z], on an image of `shape` ([Z,] Y, X).

    knots         spacing of the knots, working voxels
    coefficients  (d, [Kz,] Ky, Kx)
    """

    def __init__(self, shape: Sequence[int], knots: float, coefficients: torch.Tensor) -> None:
        self.shape = tuple(shape)
        self.knots = knots
        self.coefficients = coefficients

    @classmethod
    def fitted(
        cls, shape: Sequence[int], knots: float, value: Callable[[Positions], torch.Tensor], device: torch.device
    ) -> SplineField:
        """Close to value(positions along the tensor axes) -> (d, crossings), looked at twice a knot spacing."""
        positions = [torch.linspace(0, n - 1, 2 * math.ceil(n / knots) + 1, device=device) for n in shape]
        bases = [splines.basis(p, n, knots) for p, n in zip(positions, shape, strict=True)]
        return cls(shape, knots, splines.fit(value(positions), bases))

    def refined(self, knots: float) -> SplineField:
        """The same field with knots at another spacing."""
        if knots == self.knots:
            return self
        return SplineField.fitted(self.shape, knots, self.lattice, self.coefficients.device)

    def lattice(self, positions: Positions) -> torch.Tensor:
        """(d, crossings) at the crossings of positions along the tensor axes, working voxels."""
        bases = [splines.basis(p, n, self.knots) for p, n in zip(positions, self.shape, strict=True)]
        return splines.evaluate(self.coefficients, bases)

    def points(self, points: torch.Tensor) -> torch.Tensor:
        """(N, d) displacement at (N, d) points, working voxels, components x, y[, z]."""
        values = self.coefficients
        for axis, n in enumerate(self.shape):
            at = points[:, len(self.shape) - 1 - axis].clamp(0, n - 1)
            weights = splines.basis(at, n, self.knots)
            # after the first axis every point carries its own row
            values = torch.einsum("ck...,nk->nc...", values, weights) if axis == 0 else torch.einsum(
                "nck...,nk->nc...", values, weights
            )
        return values


class FlowField:
    """exp(v) - id of a spline velocity v, by scaling and squaring on nodes `spacing` working voxels apart.

    u_0 = v / 2^steps, u_{k+1} = u_k + u_k o (id + u_k); linear between nodes.
    Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113.
    """

    def __init__(self, velocity: SplineField, spacing: float, steps: int = 6) -> None:
        self.shape = velocity.shape
        device = velocity.coefficients.device
        counts = [math.ceil((n - 1) / spacing) + 1 for n in self.shape]
        self._spacing = [(n - 1) / max(c - 1, 1) or 1.0 for n, c in zip(self.shape, counts, strict=True)]
        axes = [torch.arange(c, device=device) * s for c, s in zip(counts, self._spacing, strict=True)]
        nodes = [torch.arange(c, device=device, dtype=torch.float32) for c in counts]
        index = crossings(nodes)
        scale = torch.tensor(self._spacing[::-1], device=device)
        self._scale = scale
        u = velocity.lattice(axes) / 2**steps
        for _ in range(steps):
            u = u + sample_index(u, index + torch.movedim(u, 0, -1) / scale, outside=None)
        self._nodes = u

    def lattice(self, positions: Positions) -> torch.Tensor:
        bases = [
            splines.linear_basis(p, c, s)
            for p, c, s in zip(positions, self._nodes.shape[1:], self._spacing, strict=True)
        ]
        return splines.evaluate(self._nodes, bases)

    def points(self, points: torch.Tensor) -> torch.Tensor:
        return sample_index(self._nodes, points / self._scale, outside=None).T
