"""Local normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..ops.box import box_mean

#: variance (of images scaled to about 0..1) below which a window counts as flat
_FLAT = 1e-5


def local_correlation(
    fixed: torch.Tensor, moved: torch.Tensor, radius: int = 2, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared correlation coefficient of the two images in a box about every voxel, 0..1, shape of `fixed`.

        cc = cov^2 / ((var_f + flat) (var_m + flat)),  moments taken with `weight` inside the box

    Avants et al., Medical Image Analysis 12(1), 2008, doi:10.1016/j.media.2007.06.004.
    """
    return _correlation(_moments(fixed, weight, radius), fixed, moved, weight, radius)


def lncc_distance(
    fixed: torch.Tensor, moved: torch.Tensor, radius: int = 2, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - weighted mean of `local_correlation`; in [0, 1], differentiable in `moved`."""
    cc = local_correlation(fixed, moved, radius, weight)
    if weight is None:
        return 1 - cc.mean()
    return 1 - (cc * weight).sum() / (weight.sum() * fixed.shape[0]).clamp_min(1e-8)


def lncc_objective(
    fixed: torch.Tensor, weight: torch.Tensor, radius: int = 2
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """J(moved, w) = lncc_distance with the fixed image's moments taken once; `w` weighs the outcome only."""
    moments = _moments(fixed, None, radius)

    def value(moved: torch.Tensor, moved_weight: torch.Tensor) -> torch.Tensor:
        cc = _correlation(moments, fixed, moved, None, radius)
        w = weight * moved_weight
        return 1 - (cc * w).sum() / (w.sum() * fixed.shape[0]).clamp_min(1e-8)

    return value


_Moments = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def _moments(image: torch.Tensor, weight: torch.Tensor | None, radius: int) -> _Moments:
    if weight is None:
        mean = box_mean(image, radius)
        return mean, (box_mean(image * image, radius) - mean * mean).clamp_min(0), None
    total = box_mean(weight, radius).clamp_min(1e-6)
    mean = box_mean(weight * image, radius) / total
    return mean, (box_mean(weight * image * image, radius) / total - mean * mean).clamp_min(0), total


def _correlation(
    fixed_moments: _Moments,
    fixed: torch.Tensor,
    moved: torch.Tensor,
    weight: torch.Tensor | None,
    radius: int,
) -> torch.Tensor:
    mean_f, var_f, total = fixed_moments
    mean_m, var_m, _ = _moments(moved, weight, radius)
    if weight is None or total is None:
        product = box_mean(fixed * moved, radius)
    else:
        product = box_mean(weight * fixed * moved, radius) / total
    covariance = product - mean_f * mean_m
    return covariance.square() / ((var_f + _FLAT) * (var_m + _FLAT))
