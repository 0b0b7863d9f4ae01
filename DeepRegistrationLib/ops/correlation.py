"""Cost of every displacement in a search window, at every cell of a coarse grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..core.progress import Tick, no_tick
from ..core.sampling import crossings
from .box import box_mean

_SMOOTHED_AT_ONCE = 27


def displacement_window(half_width: int, d: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(K, d) whole-cell displacements of the window, K = (2 half_width + 1)^d, components x, y[, z]."""
    axis = torch.arange(-half_width, half_width + 1, device=device, dtype=torch.float32)
    return crossings([axis] * d).reshape(-1, d)


def cost_volume(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    half_width: int,
    moving_valid: torch.Tensor | None = None,
    fixed_trust: torch.Tensor | None = None,
    smoothing: int = 2,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """C[k, x] = g(x) sum_c (fixed_c(x) - moving_c(x + delta_k))^2, averaged `smoothing` times over 3^d cells.

    fixed, moving  (C, [Z,] Y, X) features
    moving_valid   ([Z,] Y, X) in 0..1; a displacement that leads to unknown ground costs what is typical at that
                   cell (the mean over the known ones), so that leaving the field of view is neither free nor barred
    fixed_trust    g ([Z,] Y, X) in 0..1; a cell of trust 0 has no say, only its neighbours have
    returns        (K, [Z,] Y, X) float32 in the order of `displacement_window`
    """
    d = fixed.dim() - 1
    width = 2 * half_width + 1
    pad = (half_width,) * (2 * d)
    wide = F.pad(moving[None], pad, mode="replicate")[0]
    cost = torch.empty((width**d, *fixed.shape[1:]), dtype=torch.float32, device=fixed.device)
    for k, start in enumerate(itertools.product(range(width), repeat=d)):
        if k % width == 0:
            tick()
        torch.sum((fixed - _window(wide, start, fixed.shape[1:])).square_(), dim=0, out=cost[k])
    tick()
    if moving_valid is not None:
        _charge_unknown(cost, F.pad(moving_valid.to(torch.float32), pad), width)
    if fixed_trust is not None:
        cost *= fixed_trust
    # some displacements at a time: the whole volume is never held twice
    for part in cost.split(_SMOOTHED_AT_ONCE):
        tick()
        for _ in range(smoothing):
            part.copy_(box_mean(part, 1))
    return cost


def _window(wide: torch.Tensor, start: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """The part of `wide` (..., [Z,] Y, X) that begins at `start` and has `shape`."""
    for axis, (first, length) in enumerate(zip(start, shape, strict=True)):
        wide = wide.narrow(wide.dim() - len(shape) + axis, first, length)
    return wide


def _charge_unknown(cost: torch.Tensor, known: torch.Tensor, width: int) -> None:
    """cost <- known * cost + (1 - known) * typical, in place."""
    shape = cost.shape[1:]
    starts = list(itertools.product(range(width), repeat=len(shape)))
    total, weight = torch.zeros_like(cost[0]), torch.zeros_like(cost[0])
    for k, start in enumerate(starts):
        seen = _window(known, start, shape)
        total.addcmul_(cost[k], seen)
        weight += seen
    typical = total / weight.clamp(min=1e-3)
    for k, start in enumerate(starts):
        torch.lerp(typical, cost[k], _window(known, start, shape), out=cost[k])
