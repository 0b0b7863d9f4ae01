"""Derivatives and accurate interpolation of fields that are transported on one grid, cheap to differentiate.

Linear interpolation at a fraction f between two voxels takes f (1 - f) / 2 times the second difference from curved
data; given back, what is transported many times keeps its height:

    data(x + s) ~ linear(x + s) - sum_k f_k (1 - f_k) / 2  D_k^2 linear(x + s)

to third order in the spacing where s changes slowly. Displacements are mm along the index axes of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..core.grid import Grid
from ..core.sampling import sample_index
from .gradients import axis_derivative
from .kernels import along_axis


class Lattice(NamedTuple):
    """Fields of one grid at its displaced voxels.

    points       index coordinates of the voxels ([Z,] Y, X, d)
    spacing      mm (d, 1 ...)
    differences  along each index axis, per mm, as matrices: the gradient of a difference of slices costs more than
                 that of a small matrix product
    """

    points: torch.Tensor
    spacing: torch.Tensor
    differences: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, grid: Grid, like: torch.Tensor) -> Lattice:
        points = grid.index_points(like.device, like.dtype)
        spacing = torch.tensor(grid.spacing, device=like.device, dtype=like.dtype)
        differences = [
            axis_derivative(torch.eye(n, device=like.device, dtype=like.dtype), 0) / s
            for n, s in zip(grid.size, grid.spacing, strict=True)
        ]
        return cls(points, spacing.reshape(-1, *(1,) * grid.dimension), tuple(differences))

    def gradient(self, data: torch.Tensor) -> torch.Tensor:
        """As ops.gradients.spatial_gradient: (d, C, [Z,] Y, X)."""
        last = data.dim() - 1
        return torch.stack([along_axis(data, m, last - k) for k, m in enumerate(self.differences)])

    def sampled(self, data: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """data (C, [Z,] Y, X) at x + displacement(x) (d, [Z,] Y, X) mm along index axes; the edge value held."""
        return self._at(data, displacement / self.spacing)

    def sharply(self, data: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """The same without what linear interpolation takes from curved data, f (1 - f) / 2 of the second difference
        at a fraction f between two voxels."""
        shift = displacement / self.spacing
        fraction = shift - shift.detach().floor()
        return _Sharpened.apply(self._at(data, shift), 0.5 * fraction * (1 - fraction))

    def _at(self, data: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return sample_index(data, self.points + torch.movedim(shift, 0, -1), outside=None)


class _Sharpened(torch.autograd.Function):
    """data (C, ...) - sum_k amount_k (second difference of data along index axis k, 0 at the ends); amount (d, ...)."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, data: torch.Tensor, amount: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(data, amount)
        out = data.clone()
        for k, axis in _axes(data):
            inner = _inner(out, axis)
            inner.addcmul_(_second_difference(data, axis), _inner(amount[k], axis - 1), value=-1)
        return out

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        data, amount = ctx.saved_tensors  # type: ignore[attr-defined]
        (gradient,) = gradients
        by_data, by_amount = gradient.clone(), torch.zeros_like(amount)
        for k, axis in _axes(data):
            inner = _inner(gradient, axis)
            by_amount_inner = _inner(by_amount[k], axis - 1)
            by_amount_inner.sub_((inner * _second_difference(data, axis)).sum(dim=0))
            back = inner * _inner(amount[k], axis - 1)
            n = data.shape[axis]
            by_data.narrow(axis, 0, n - 2).sub_(back)
            by_data.narrow(axis, 2, n - 2).sub_(back)
            _inner(by_data, axis).add_(back, alpha=2)
        return by_data, by_amount


def _axes(data: torch.Tensor) -> list[tuple[int, int]]:
    """(index axis, tensor axis) of those long enough for a second difference."""
    last = data.dim() - 1
    return [(k, last - k) for k in range(last) if data.shape[last - k] > 2]


def _inner(data: torch.Tensor, axis: int) -> torch.Tensor:
    return data.narrow(axis, 1, data.shape[axis] - 2)


def _second_difference(data: torch.Tensor, axis: int) -> torch.Tensor:
    n = data.shape[axis]
    return (data.narrow(axis, 0, n - 2) + data.narrow(axis, 2, n - 2)).sub_(_inner(data, axis), alpha=2)
