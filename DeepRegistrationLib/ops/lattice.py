"""Derivatives, interpolation and its transpose for fields on one grid whose points move, cheap to differentiate.

Linear interpolation at a fraction f between two voxels adds f (1 - f) / 2 times the second difference to curved data;
without that, smooth data are met to third order in the spacing:

    sharply(data)(x) = linear(data)(x) - sum_k f_k (1 - f_k) / 2  linear((D_k^2 - c D_k^4) data)(x)

`deposited` is its transpose: what points carry is put on the voxels around them, so that

    <deposited(values), data> = <values, sharply(data)>

Displacements are mm along the index axes of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..core.grid import Grid
from ..core.sampling import sample_index
from .gradients import axis_derivative
from .kernels import along_axis

#: c: so that waves of a few voxels keep their height too, on average over the fractions
_FOURTH = 0.15


class Lattice(NamedTuple):
    """Fields of one grid at its displaced voxels.

    points       index coordinates of the voxels ([Z,] Y, X, d)
    spacing      mm (d, 1 ...)
    differences  along each index axis, per mm, as matrices: the gradient of a difference of slices costs more than
                 that of a small matrix product
    curvatures   second differences along each index axis, voxel to voxel, less c times the fourth
    """

    points: torch.Tensor
    spacing: torch.Tensor
    differences: tuple[torch.Tensor, ...]
    curvatures: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, grid: Grid, like: torch.Tensor) -> Lattice:
        points = grid.index_points(like.device, like.dtype)
        spacing = torch.tensor(grid.spacing, device=like.device, dtype=like.dtype)
        return cls(
            points,
            spacing.reshape(-1, *(1,) * grid.dimension),
            tuple(_differences(n).to(like) / s for n, s in zip(grid.size, grid.spacing, strict=True)),
            tuple(_curvatures(n).to(like) for n in grid.size),
        )

    def gradient(self, data: torch.Tensor) -> torch.Tensor:
        """Derivatives along the index axes, per mm (d, C, [Z,] Y, X): of sixth order inside, of ever lower order
        towards the border, one-sided there."""
        return self._each_axis(data, self.differences)

    def sampled(self, data: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """data (C, [Z,] Y, X) at x + displacement(x) (d, [Z,] Y, X) mm along index axes; linear, the edge value
        held."""
        return sample_index(data, self._at(displacement / self.spacing), outside=None)

    def sharply(self, data: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """The same to third order; see the module's docstring."""
        shift = displacement / self.spacing
        both = torch.cat([data, self._each_axis(data, self.curvatures).flatten(0, 1)])
        there = sample_index(both, self._at(shift), outside=None)
        curved = there[len(data) :].unflatten(0, (len(shift), len(data)))
        return there[: len(data)] - (_taken(shift)[:, None] * curved).sum(dim=0)

    def deposited(self, values: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """values (C, [Z,] Y, X) of the voxels, which are at x + displacement(x), on the voxels they came to; the
        transpose of `sharply`."""
        shift = displacement / self.spacing
        both = torch.cat([values, (_taken(shift)[:, None] * values).flatten(0, 1)])
        there = _Deposited.apply(both, self._at(shift))
        out = there[: len(values)]
        curved = there[len(values) :].unflatten(0, (len(shift), len(values)))
        for k, matrix in enumerate(self.curvatures):
            out = out - along_axis(curved[k], matrix.T, values.dim() - 1 - k)
        return out

    def _at(self, shift: torch.Tensor) -> torch.Tensor:
        return self.points + torch.movedim(shift, 0, -1)

    def _each_axis(self, data: torch.Tensor, matrices: tuple[torch.Tensor, ...]) -> torch.Tensor:
        last = data.dim() - 1
        return torch.stack([along_axis(data, m, last - k) for k, m in enumerate(matrices)])


class _Deposited(torch.autograd.Function):
    """The transpose of linear interpolation: values (C, [Z,] Y, X) at points ([Z,] Y, X, d), on a grid of their
    shape."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, values: torch.Tensor, points: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(values, points)
        with torch.enable_grad():
            grid = torch.zeros_like(values).requires_grad_(True)
            (out,) = torch.autograd.grad(sample_index(grid, points, outside=None), grid, values)
        return out

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        values, points = ctx.saved_tensors  # type: ignore[attr-defined]
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            there = sample_index(gradients[0], points, outside=None)
            (by_points,) = torch.autograd.grad(there, points, values)
        return there.detach(), by_points


def _taken(shift: torch.Tensor) -> torch.Tensor:
    """f (1 - f) / 2 for shifts by voxels."""
    fraction = shift - shift.detach().floor()
    return 0.5 * fraction * (1 - fraction)


def _differences(n: int) -> torch.Tensor:
    """(n, n), a voxel."""
    out = axis_derivative(torch.eye(n, dtype=torch.float64), 0)
    for weights in ([8.0, -1.0], [45.0, -9.0, 1.0]):
        reach = len(weights)
        row = torch.tensor([-w for w in weights[::-1]] + [0.0] + weights, dtype=torch.float64)
        for i in range(reach, n - reach):
            out[i] = 0
            out[i, i - reach : i + reach + 1] = row / (2 * sum(k * w for k, w in enumerate(weights, start=1)))
    return out


def _curvatures(n: int) -> torch.Tensor:
    """(n, n)."""
    second = torch.zeros(n, n, dtype=torch.float64)
    for i in range(1, n - 1):
        second[i, i - 1 : i + 2] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    return second - _FOURTH * second @ second
