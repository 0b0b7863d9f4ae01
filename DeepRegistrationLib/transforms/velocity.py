"""T = exp(v): the flow of a stationary velocity field, and the algebra of such fields.

Velocities are (d, [Z,] Y, X) mm along world axes on their own grid.
"""

from __future__ import annotations

import math

import torch

from ..core.grid import Grid
from ..core.progress import Tick, no_tick
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

    def __init__(self, velocity: torch.Tensor, grid: Grid, steps: int = 7, tick: Tick = no_tick) -> None:
        self.velocity = velocity
        self.grid = grid
        self.steps = steps
        self._field = DisplacementField(exponential(velocity, grid, steps, tick), grid)

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

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        """exp(-v)."""
        backward = VelocityField(-self.velocity, self.grid, self.steps, tick)
        residual = inverse_residual(self._field.field, backward._field.field, self.grid, tick)
        return Inverse(backward, residual)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return self._field.jacobian_determinant(grid)

    def to(self, device: torch.device | str) -> VelocityField:
        if torch.device(device) == self.device:
            return self
        return VelocityField(self.velocity.to(device), self.grid, self.steps)


def exponential(velocity: torch.Tensor, grid: Grid, steps: int, tick: Tick = no_tick) -> torch.Tensor:
    """Displacement (d, [Z,] Y, X) mm of the unit-time flow of `velocity`; the edge value is held outside."""
    u = velocity / 2**steps
    for _ in range(steps):
        tick()
        u = u + sample_displaced(u, u, grid)
    return u


def squarings(velocity: torch.Tensor, grid: Grid, cells: float = 0.5) -> int:
    """Steps for `exponential` so that its first one moves nothing by more than `cells` voxels: max |v| / 2^n.

    Vercauteren et al., NeuroImage 45(1), 2009, doi:10.1016/j.neuroimage.2008.10.040.
    """
    fastest = float(velocity.square().sum(dim=0).amax()) ** 0.5
    return max(0, math.ceil(math.log2(max(fastest / (cells * min(grid.spacing)), 1.0))))


def bracket(v: torch.Tensor, w: torch.Tensor, grid: Grid) -> torch.Tensor:
    """[v, w](x) = Dv(x) w(x) - Dw(x) v(x), the Lie bracket of two velocities on `grid`; mm along world axes.

    Central differences inside, one-sided at the border; an axis of one voxel has derivative 0.
    """
    return _along(v, w, grid) - _along(w, v, grid)


def combined(v: torch.Tensor, w: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Z(v, w) = v + w + [v, w] / 2, so that exp(Z) is exp(v) o exp(w) but for brackets of brackets.

    Baker-Campbell-Hausdorff formula; Bossa, Hernandez, Olmos, MICCAI 2007, doi:10.1007/978-3-540-75757-3_81.
    """
    return v + w + 0.5 * bracket(v, w, grid)


def velocity_norm(velocity: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    """sqrt( int w |v|^2 dx / int w dx ) in mm: the length of the geodesic t -> exp(t v), t = 0..1.

    weight  ([Z,] Y, X) on the velocity's grid, or None for 1 everywhere

    A mean, not a sum: the same for a field sampled more finely, in two or three dimensions.
    """
    squared = velocity.square().sum(dim=0)
    if weight is None:
        return float(squared.mean()) ** 0.5
    return float((squared * weight).sum() / weight.sum().clamp_min(1e-12)) ** 0.5


def _along(v: torch.Tensor, w: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Dv(x) w(x): the change of v in the direction of w."""
    d = grid.dimension
    to_axes = torch.as_tensor(grid.world_to_index[:d, :d], dtype=v.dtype, device=v.device)
    out = torch.zeros_like(v)
    for k in range(d):
        axis = v.dim() - 1 - k
        if v.shape[axis] > 1:
            # voxels along index axis k that w covers
            step = torch.einsum("w,w...->...", to_axes[k], w)
            out += torch.gradient(v, dim=axis)[0] * step
    return out
