"""Motion along the body that slides along its wall.

    u(x) = o(x)                          where y = x + o(x) lies outside of the wall
           o(x) + b(x + o(x))            inside

o is a small smooth map of everything; b the flow of a velocity that is tangent to the wall, so that y + b(y) stays
inside: both sides of the wall still fit together, and their motion along it jumps there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ...core.sampling import sample_batch
from ...ops.gradients import axis_derivative
from ...ops.warp import exponential, index_grid
from .deformation import longest
from .draws import Draws
from .smooth_noise import smooth_noise

#: most voxels along an axis of the lattice the flow is integrated on
_LATTICE = 32

#: how far from the wall the velocity is turned along it, relative to half of the smallest field of view
_NEAR = 0.16


def breathing_field(
    draws: Draws, outer: torch.Tensor, wall: torch.Tensor, amplitude: float
) -> torch.Tensor:
    """(d, [Z,] Y, X) voxels.

    outer      o, (d, [Z,] Y, X) voxels
    wall       (z, y, x) on a lattice over the same field of view: below 0 inside, in voxels of that field of view
    amplitude  voxels, the longest b; along the last axis it is largest at the first index (below) and fades upward
    """
    shape = outer.shape[1:]
    ratio = torch.tensor([n / m for n, m in zip(shape, wall.shape, strict=True)][::-1], device=outer.device)
    velocity = _tangential(_upward(draws, wall.shape), wall, ratio, 0.5 * _NEAR * min(shape))
    velocity = _flowing(velocity * draws.one_of((-1.0, 1.0)), wall < 0, ratio, amplitude)
    flow = exponential(velocity[None] / _column(ratio), squarings=6)[0] * _column(ratio)
    y = index_grid(tuple(shape), outer) + outer.movedim(0, -1)
    there = sample_batch(torch.cat([flow, wall[None]])[None], ((y + 0.5) / ratio - 0.5)[None])[0]
    return torch.where(there[-1:] < 0, outer + there[:-1], outer)


def wall_lattice(shape: Sequence[int]) -> tuple[int, ...]:
    """Size of the lattice for `wall`."""
    return tuple(min(n, _LATTICE) for n in shape)


def random_wall(draws: Draws, shape: Sequence[int]) -> torch.Tensor:
    """An ellipsoid, upright, for anatomies that have no wall; on the lattice, voxels of a grid of `shape`."""
    lattice = wall_lattice(shape)
    total = torch.zeros((), device=draws.device)
    for axis, n in enumerate(lattice):
        x = (torch.arange(n, device=draws.device) + 0.5) * (2 / n) - 1 - draws.uniform(-0.2, 0.2)
        radius = draws.uniform(0.6, 0.9) if axis == 0 else draws.uniform(0.4, 0.65)
        total = total + (x / radius).square().reshape([-1 if a == axis else 1 for a in range(len(lattice))])
    return (total.clamp(min=1e-4).sqrt() - 1) * (0.25 * min(shape))


def _upward(draws: Draws, lattice: Sequence[int]) -> torch.Tensor:
    """Velocity along the last axis, 1 below and 0 above, uneven by a third, with a little across."""
    d = len(lattice)
    height = torch.linspace(0, 1, lattice[0], device=draws.device).reshape(-1, *(1,) * (d - 1))
    top = draws.uniform(0.75, 1.1)
    fade = 0.5 * (1 + torch.cos(math.pi * (height / top).clamp(max=1.0)))
    noise = smooth_noise(draws, d, lattice, max(lattice) / 3)
    velocity = 0.12 * noise * fade
    velocity[-1] += fade.expand(lattice) * (1 + 0.2 * noise[-1].clamp(-1.5, 1.5))
    return velocity / velocity.square().sum(dim=0).amax().sqrt()


def _flowing(velocity: torch.Tensor, inside: torch.Tensor, ratio: torch.Tensor, amplitude: float) -> torch.Tensor:
    """The velocity, scaled so that the longest vector of its flow inside of the wall is about `amplitude`."""
    wanted = amplitude
    for _ in range(2):
        velocity = velocity * (wanted / longest(velocity * inside))
        # a few squarings are enough to see how far it goes
        flow = exponential(velocity[None] / _column(ratio), squarings=3)[0] * _column(ratio)
        wanted = wanted * amplitude / float(longest(flow * inside))
    return velocity * (wanted / longest(velocity * inside))


def _tangential(velocity: torch.Tensor, wall: torch.Tensor, ratio: torch.Tensor, reach: float) -> torch.Tensor:
    """Without the component through the wall, near to it: within about `reach` voxels."""
    d = len(velocity)
    by_cell = torch.stack([axis_derivative(wall[None], d - k)[0] for k in range(d)])
    normal = by_cell / _column(ratio)
    normal = normal / normal.square().sum(dim=0).sqrt().clamp(min=1e-4)
    near = torch.exp(-(wall / reach).square())
    return velocity - near * (velocity * normal).sum(dim=0) * normal


def _column(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *(1,) * len(values))
