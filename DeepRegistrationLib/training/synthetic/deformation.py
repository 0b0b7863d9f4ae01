"""Random displacement fields in voxels, (d, [Z,] Y, X) with components x, y[, z], of a given largest displacement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ...ops.smoothing import gaussian_smooth
from ...ops.splines import basis, evaluate, knot_count
from ...ops.warp import exponential
from .draws import Draws
from .smooth_noise import bases, smooth_noise

#: knots of the lattice a flow is integrated on lie so many times closer than those of its velocity
_FINER = 3.0

#: a Gaussian's lattice has this many knots for each standard deviation
_KNOTS_PER_DEVIATION = 2.5

#: times the velocity is scaled until its flow is as large as asked for
_TRIES = 3


def smooth_field(draws: Draws, shape: Sequence[int], amplitude: float, smoothness: float) -> torch.Tensor:
    """A random cubic B-spline with knots `smoothness` voxels apart; its longest vector has length `amplitude`."""
    field = smooth_noise(draws, len(shape), shape, smoothness)
    return field * (amplitude / longest(field))


def diffeomorphic_field(draws: Draws, shape: Sequence[int], amplitude: float, smoothness: float) -> torch.Tensor:
    """Flow over unit time of a random stationary velocity with knots `smoothness` voxels apart; it does not fold.

    Its longest vector is as long as `amplitude` within a few percent.
    """
    step = max(1.0, smoothness / _FINER)
    # knots of the spline that carries the flow to the voxels are the voxels of the lattice it is integrated on
    coarse = [knot_count(n, step) for n in shape]
    velocity = smooth_noise(draws, len(shape), coarse, smoothness / step)[None]
    wanted = amplitude / step
    flow = velocity
    to_voxels = bases(shape, step, draws.device)
    for _ in range(_TRIES):
        velocity = velocity * (wanted / longest(flow[0]))
        flow = exponential(velocity)
        field = evaluate(flow[0] * step, to_voxels)
        wanted = wanted * amplitude / float(longest(field)) if _ == 0 else wanted
    return field * min(1.0, amplitude / float(longest(field)))


def point_field(
    draws: Draws, shape: Sequence[int], amplitude: float, deviation: float, count: int
) -> torch.Tensor:
    """Zero but at `count` random points, which get random vectors in [-1, 1]^d, smoothed by a Gaussian of
    `deviation` voxels; then scaled so that the largest component is `amplitude`.

    Sokooti et al., MICCAI 2017, doi:10.1007/978-3-319-66182-7_27. Differs from the paper: it does not say how the
    field regains its range after the smoothing; here it is scaled. The Gaussian is sampled on knots, not on voxels.
    """
    step = max(1.0, deviation / _KNOTS_PER_DEVIATION)
    lattice = [knot_count(n, step) for n in shape]
    field = torch.zeros(len(shape), math.prod(lattice), device=draws.device)
    places = draws.integers(math.prod(lattice), (count,))
    vectors = 2 * torch.rand(len(shape), count, generator=draws.generator).to(draws.device) - 1
    field[:, places] = vectors
    # the B-spline itself smooths by a third of a knot squared
    sigma = math.sqrt(max((deviation / step) ** 2 - 1 / 3, 0.01))
    smoothed = gaussian_smooth(field.reshape(-1, *lattice), sigma)
    dense = evaluate(smoothed, [basis(torch.arange(n, device=draws.device), n, step) for n in shape])
    return dense * (amplitude / dense.abs().amax().clamp(min=1e-6))


def longest(field: torch.Tensor) -> torch.Tensor:
    """Length of the longest vector of (d, ...)."""
    return field.square().sum(dim=0).amax().sqrt().clamp(min=1e-6)
