"""T = exp(v): the flow of a stationary velocity field."""

from __future__ import annotations

import torch

from ..core.grid import Grid
from ..core.sampling import sample_displaced
from ..core.transform import Inverse, Transform
from .displacement import DisplacementField
from .inverse import inverse_residual


class VelocityField(Transform):
    """T = exp(v) by scaling and squaring: u_0 = v / 2^steps, u_{k+1} = u_k + u_k o (id + u_k).

    velocity  (d, [Z,] Y, X) mm along world axes
    steps     number of squarings

    Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113.
    """

    def __init__(self, velocity: torch.Tensor, grid: Grid, steps: int = 7) -> None:
        self.velocity = velocity
        self.grid = grid
        self.steps = steps
        self._field = DisplacementField(exponential(velocity, grid, steps), grid)

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @property
    def is_linear(self) -> bool:
        return False

    @property
    def device(self) -> torch.device:
        return self.velocity.device

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        return self._field.apply(points)

    def displacement(self, grid: Grid) -> torch.Tensor:
        return self._field.displacement(grid)

    def inverse(self) -> Inverse:
        """exp(-v)."""
        backward = VelocityField(-self.velocity, self.grid, self.steps)
        residual = inverse_residual(self._field.field, backward._field.field, self.grid)
        return Inverse(backward, residual)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return self._field.jacobian_determinant(grid)

    def to(self, device: torch.device | str) -> VelocityField:
        if torch.device(device) == self.device:
            return self
        return VelocityField(self.velocity.to(device), self.grid, self.steps)


def exponential(velocity: torch.Tensor, grid: Grid, steps: int) -> torch.Tensor:
    """Displacement (d, [Z,] Y, X) mm of the unit-time flow of `velocity`; the edge value is held outside."""
    u = velocity / 2**steps
    for _ in range(steps):
        u = u + sample_displaced(u, u, grid)
    return u
