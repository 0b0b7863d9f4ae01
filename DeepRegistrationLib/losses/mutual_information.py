"""Mutual information from a soft (Parzen) joint histogram."""

from __future__ import annotations

from collections.abc import Callable

import torch

_TINY = 1e-12


def parzen_weights(values: torch.Tensor, bins: int) -> torch.Tensor:
    """(N,) values in 0..1 -> (N, bins) cubic B-spline weights that sum to 1.

    Bin k has its centre at (k - 1) / (bins - 3), so that every value meets four whole bins. Values beyond
    0..1 are clamped. Thevenaz and Unser, IEEE Trans. Image Processing 9(12), 2000, doi:10.1109/83.887976.
    """
    position = values.clamp(0, 1) * (bins - 3) + 1
    k = torch.arange(bins, dtype=values.dtype, device=values.device)
    t = (position[:, None] - k).abs()
    near = 2 / 3 - t * t + 0.5 * t**3
    far = (2 - t).clamp_min(0) ** 3 / 6
    return torch.where(t < 1, near, far)


def mutual_information(
    fixed: torch.Tensor, moved: torch.Tensor, bins: int = 32, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """I = sum p(f, m) log(p(f, m) / (p(f) p(m))) in nats, from Parzen histograms of two images scaled to
    0..1.

    fixed, moved, weight  the same shape. Differentiable in `moved` and `weight`.
    """
    w = torch.ones_like(fixed) if weight is None else weight
    return _information(parzen_weights(fixed.reshape(-1), bins), moved.reshape(-1), w.reshape(-1), bins)


def mi_objective(
    fixed: torch.Tensor, weight: torch.Tensor, bins: int = 32
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """J(moved, w) = -I, with the fixed image's weights taken once and voxels of no weight left out."""
    used = weight.reshape(-1) > 0
    windows = parzen_weights(fixed.reshape(-1)[used], bins) * weight.reshape(-1)[used, None]

    def value(moved: torch.Tensor, moved_weight: torch.Tensor) -> torch.Tensor:
        return -_information(windows, moved[:1].reshape(-1)[used], moved_weight.reshape(-1)[used], bins)

    return value


def _information(windows: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor, bins: int) -> torch.Tensor:
    joint = windows.T @ (parzen_weights(moved, bins) * weight[:, None])
    joint = joint / joint.sum().clamp_min(_TINY)
    p_fixed, p_moved = joint.sum(dim=1, keepdim=True), joint.sum(dim=0, keepdim=True)
    ratio = joint.clamp_min(_TINY) / (p_fixed * p_moved).clamp_min(_TINY)
    return (joint * ratio.log()).sum()
