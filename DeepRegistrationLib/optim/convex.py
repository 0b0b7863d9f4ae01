"""Coupled convex optimisation over a discrete displacement window.

Minimises   sum_x C(x, v(x)) + (1 / 2 theta) |v - u|^2 + alpha |grad u|^2   over two fields, alternating

    v(x) = argmin_k  C[k, x] + c |delta_k - u(x)|^2        (exact, by looking at every displacement)
    u    = box-filter of v                                 (smoothness)

while the coupling c grows. Heinrich, Papiez, Schnabel, Handels: Non-parametric discrete registration with convex
optimisation, WBIR 2014, doi:10.1007/978-3-319-08554-8_6; Siebert, Hansen, Heinrich: Learn2Reg 2021 (ConvexAdam),
doi:10.1007/978-3-030-97281-3_14.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.progress import Tick, no_tick
from ..core.sampling import crossings, sample_index
from ..ops.box import box_mean
from ..ops.correlation import cost_volume, displacement_window

#: growing weight of the coupling term, in units of feature distance per squared cell
COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

#: the first look has no field to be close to yet: where all displacements cost the same (air), the shortest is taken
TIE_BREAK = 1e-4


def coupled_convex(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    half_width: int,
    moving_valid: torch.Tensor | None = None,
    fixed_trust: torch.Tensor | None = None,
    coupling: Sequence[float] = COUPLING,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """Displacement (d, [Z,] Y, X) in cells, components x, y[, z], with moving(x + u(x)) like fixed(x).

    fixed, moving  (C, [Z,] Y, X) features on the same coarse grid
    half_width     largest displacement looked at, cells
    moving_valid, fixed_trust  see `cost_volume`
    """
    d = fixed.dim() - 1
    cost = cost_volume(fixed, moving, half_width, moving_valid, fixed_trust, tick=tick)
    window = displacement_window(half_width, d, fixed.device)
    field = torch.zeros((d, *fixed.shape[1:]), device=fixed.device)
    for weight in (TIE_BREAK, *coupling):
        tick()
        field = _smooth(window[_coupled_argmin(cost, window, field, weight)])
    return field


def _smooth(chosen: torch.Tensor) -> torch.Tensor:
    return box_mean(torch.movedim(chosen, -1, 0), 1)


def _coupled_argmin(cost: torch.Tensor, window: torch.Tensor, field: torch.Tensor, weight: float) -> torch.Tensor:
    """argmin_k cost[k, x] + weight |delta_k - field(x)|^2, a slab of cells at a time to bound memory."""
    best = torch.empty(cost.shape[1:], dtype=torch.long, device=cost.device)
    square = (window**2).sum(dim=1)
    for z in range(cost.shape[1]):
        u = field[:, z].reshape(field.shape[0], -1)
        # |delta - u|^2 without the term that is the same for every displacement
        penalty = square[:, None] - 2 * window @ u
        total = cost[:, z].reshape(len(window), -1) + weight * penalty
        best[z] = total.argmin(dim=0).reshape(best[z].shape)
    return best


def symmetrise(
    forward: torch.Tensor, backward: torch.Tensor, iterations: int = 15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pull two fields (d, [Z,] Y, X), in cells, towards being each other's inverse.

    u <- (u - w o (id + u)) / 2,   w <- (w - u o (id + w)) / 2
    """
    for _ in range(iterations):
        ahead = forward
        forward = 0.5 * (forward - _pulled(backward, forward))
        backward = 0.5 * (backward - _pulled(ahead, backward))
    return forward, backward


def _pulled(field: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    axes = [torch.arange(n, device=field.device, dtype=field.dtype) for n in field.shape[1:]]
    return sample_index(field, crossings(axes) + torch.movedim(by, 0, -1), outside=None)
