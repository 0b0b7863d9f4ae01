"""Distance of normalised gradient fields: 0 where edges of two images run parallel or antiparallel
everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..ops.gradients import spatial_gradient
from ..ops.ngf import edge_level, normalised_gradient

_TINY = 1e-8


def ngf_distance(
    fixed: torch.Tensor,
    moved: torch.Tensor,
    spacing: Sequence[float],
    *,
    eta_fixed: float | torch.Tensor,
    eta_moved: float | torch.Tensor,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """D = 1 - sum_x w <n_fixed, n_moved>^2 / sum_x w, with n as in `ops.ngf`; in [0, 1].

    fixed, moved  (C, [Z,] Y, X) on one grid of `spacing` mm (x, y[, z]); channels are averaged
    weight        (1, [Z,] Y, X) or None

    A flat place gives distance 1, so D is lower where more edges meet. Differentiable in `moved`.
    """
    a = normalised_gradient(fixed, spacing, eta_fixed)
    b = normalised_gradient(moved, spacing, eta_moved)
    square = (a * b).sum(dim=0).square().mean(dim=0, keepdim=True)
    if weight is None:
        return 1 - square.mean()
    return 1 - (square * weight).sum() / weight.sum().clamp_min(_TINY)


def ngf_objective(
    fixed: torch.Tensor,
    weight: torch.Tensor,
    spacing: Sequence[float],
    moving_eta: float | torch.Tensor,
    share: float = 1.0,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The normalised form for searching transforms: the work on the fixed image is done once.

        J(moved, w) = 1 - S / sqrt(E_f E_m),   S = sum w <n_f, n_m>^2,  E = sum w |n|^4

    In [0, 1]; a cosine between edge maps, so that neither blowing up the moving image (fewer edges) nor
    leaving the fixed field of view pays by itself.

    fixed (C, [Z,] Y, X), weight (1, [Z,] Y, X); `w` passed later is multiplied with `weight`
    moving_eta     edge level of the moving image, intensity per mm
    share          of the mean gradient that the edge level of the fixed image is
    """
    eta = edge_level(spatial_gradient(fixed, spacing), weight, share)
    n_fixed = normalised_gradient(fixed, spacing, eta)
    energy = n_fixed.square().sum(dim=0).square()

    def value(moved: torch.Tensor, moved_weight: torch.Tensor) -> torch.Tensor:
        w = weight * moved_weight
        n = normalised_gradient(moved, spacing, moving_eta)
        matched = (w * (n_fixed * n).sum(dim=0).square()).sum()
        e_fixed = (w * energy).sum()
        e_moved = (w * n.square().sum(dim=0).square()).sum()
        return 1 - matched / (e_fixed * e_moved).clamp_min(_TINY).sqrt()

    return value
