"""Coupled convex optimisation that a gradient passes through: the minimum over displacements becomes a mean.

    C[k, x] = g(x) |F(x) - M(x + delta_k)|^2, box-filtered          (as `ops.correlation.cost_volume`)
    p[k, x] = exp(-b (C[k, x] + c |delta_k - u(x)|^2)) / sum over all k of the same
    v(x)    = sum_k p[k, x] delta_k
    u       = box-filter of v

from u = 0, while the coupling c grows; delta_k runs through a window of whole-cell displacements, F and M are feature
images. The sharper b, the closer v comes to the displacement of least cost: b -> infinity is `optim.convex`.

Backwards, for g = dE/dv(x):   dE/dC[k, x] = -b p[k, x] g.(delta_k - v(x)),
                               dE/du(x)    = 2 b c sum_k p[k, x] delta_k g.(delta_k - v(x)).

Both steps know their own gradient and keep neither the probabilities nor the differences of features: the memory is
that of a few cost volumes.

Siebert, Heinrich: Learn to fuse input features for large-deformation registration with differentiable
convex-discrete optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_13. Differs from the paper: displacements are in
cells, not in shares of the image, and b is a number of its own; ground the moving scan does not know costs what is
typical.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from ..ops.box import box_mean
from ..ops.correlation import displacement_window
from .convex import COUPLING, TIE_BREAK

#: b, in 1 / (squared feature distance)
SHARPNESS = 10.0


def soft_coupled_convex(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    half_width: int,
    moving_valid: torch.Tensor | None = None,
    fixed_trust: torch.Tensor | None = None,
    coupling: Sequence[float] = COUPLING,
    sharpness: float = SHARPNESS,
    margin: bool = False,
) -> torch.Tensor:
    """Displacement (d, [Z,] Y, X) in cells, components x, y[, z], with moving(x + u(x)) like fixed(x).

    Differentiable in `fixed` and `moving`.

    fixed, moving  (C, [Z,] Y, X) features on the same coarse grid
    half_width     largest displacement looked at, cells
    moving_valid, fixed_trust  ([Z,] Y, X) in 0..1, see `ops.correlation.cost_volume`
    margin         `moving` and `moving_valid` hold half_width more cells at every side than `fixed`; otherwise the
                   edge of `moving` is held outside
    """
    cost = soft_cost_volume(fixed, moving, half_width, moving_valid, fixed_trust, margin=margin)
    window = displacement_window(half_width, fixed.dim() - 1, fixed.device).to(cost.dtype)
    field = cost.new_zeros((window.shape[1], *cost.shape[1:]))
    for weight in (TIE_BREAK, *coupling):
        field = box_mean(softmin_displacement(cost, field, window, weight, sharpness), 1)
    return field


def soft_cost_volume(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    half_width: int,
    moving_valid: torch.Tensor | None = None,
    fixed_trust: torch.Tensor | None = None,
    smoothing: int = 2,
    margin: bool = False,
) -> torch.Tensor:
    """What `ops.correlation.cost_volume` gives, (K, [Z,] Y, X), differentiable in `fixed` and `moving`."""
    pad = (0 if margin else half_width,) * (2 * (fixed.dim() - 1))
    wide = F.pad(moving[None], pad, mode="replicate")[0]
    cost = _SquaredDistances.apply(fixed, wide, 2 * half_width + 1)
    if moving_valid is not None:
        cost = _charged_unknown(cost, F.pad(moving_valid.to(cost.dtype), pad))
    if fixed_trust is not None:
        cost = cost * fixed_trust
    for _ in range(smoothing):
        cost = box_mean(cost, 1)
    return cost


def softmin_displacement(
    cost: torch.Tensor, field: torch.Tensor, window: torch.Tensor, coupling: float, sharpness: float
) -> torch.Tensor:
    """v (d, [Z,] Y, X) of the module's docstring, from C = `cost` (K, [Z,] Y, X), u = `field` (d, [Z,] Y, X) and the
    displacements `window` (K, d); differentiable in `cost` and `field`."""
    return _SoftminDisplacement.apply(cost, field, window, coupling, sharpness)


class _SquaredDistances(torch.autograd.Function):
    """cost[k, x] = sum_c (fixed_c(x) - wide_c(x + start_k))^2."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, fixed: torch.Tensor, wide: torch.Tensor, width: int
    ) -> torch.Tensor:
        ctx.save_for_backward(fixed, wide)
        ctx.width = width  # type: ignore[attr-defined]
        shape = fixed.shape[1:]
        cost = fixed.new_empty((width ** len(shape), *shape))
        for k, seen in enumerate(_windows(wide, shape, width)):
            torch.sum((fixed - seen).square_(), dim=0, out=cost[k])
        return cost

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        (gradient,), width = gradients, ctx.width  # type: ignore[attr-defined]
        fixed, wide = ctx.saved_tensors  # type: ignore[attr-defined]
        of_fixed, of_wide = torch.zeros_like(fixed), torch.zeros_like(wide)
        shape = fixed.shape[1:]
        pairs = zip(_windows(wide, shape, width), _windows(of_wide, shape, width), strict=True)
        for k, (seen, of_seen) in enumerate(pairs):
            pull = (fixed - seen).mul_(2 * gradient[k])
            of_fixed += pull
            of_seen -= pull
        return of_fixed, of_wide, None


class _SoftminDisplacement(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        cost: torch.Tensor,
        field: torch.Tensor,
        window: torch.Tensor,
        coupling: float,
        sharpness: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(cost, field, window)
        ctx.numbers = (coupling, sharpness)  # type: ignore[attr-defined]
        out = torch.empty_like(field)
        for z in range(cost.shape[1]):
            share = _softmin(cost[:, z], field[:, z], window, coupling, sharpness)
            out[:, z] = (window.T @ share).reshape(out[:, z].shape)
        return out

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        (gradient,) = gradients
        cost, field, window = ctx.saved_tensors  # type: ignore[attr-defined]
        coupling, sharpness = ctx.numbers  # type: ignore[attr-defined]
        of_cost, of_field = torch.empty_like(cost), torch.empty_like(field)
        for z in range(cost.shape[1]):
            share = _softmin(cost[:, z], field[:, z], window, coupling, sharpness)
            g = gradient[:, z].reshape(len(gradient), -1)
            along = window @ g
            # g . (delta_k - v), times p
            share *= along - (share * along).sum(dim=0)
            of_field[:, z] = (2 * sharpness * coupling * (window.T @ share)).reshape(of_field[:, z].shape)
            of_cost[:, z] = share.mul_(-sharpness).reshape(of_cost[:, z].shape)
        return of_cost, of_field, None, None, None


def _softmin(
    cost: torch.Tensor, field: torch.Tensor, window: torch.Tensor, coupling: float, sharpness: float
) -> torch.Tensor:
    """p (K, cells) of one slab."""
    # |delta - u|^2 without the term that is the same for every displacement
    penalty = window.square().sum(dim=1, keepdim=True) - 2 * window @ field.reshape(len(field), -1)
    return torch.softmax(penalty.mul_(coupling).add_(cost.reshape(len(window), -1)).mul_(-sharpness), dim=0)


def _windows(wide: torch.Tensor, shape: Sequence[int], width: int) -> Iterator[torch.Tensor]:
    """Views (..., [Z,] Y, X) of `shape` that begin at every start of `wide`, in the order of the displacements."""
    for start in itertools.product(range(width), repeat=len(shape)):
        seen = wide
        for axis, (first, length) in enumerate(zip(start, shape, strict=True)):
            seen = seen.narrow(wide.dim() - len(shape) + axis, first, length)
        yield seen


def _charged_unknown(cost: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """known * cost + (1 - known) * typical, with typical the mean over the known displacements of a cell."""
    shape = cost.shape[1:]
    width = known.shape[0] - shape[0] + 1
    seen = torch.stack(list(_windows(known, shape, width)))
    typical = (cost * seen).sum(dim=0) / seen.sum(dim=0).clamp(min=1e-3)
    return cost * seen + typical * (1 - seen)
