"""Mutual information from a soft (Parzen) joint histogram, plain and normalised."""

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
    first = position.detach().floor().clamp(1, bins - 3)
    t = position - first
    s = 1 - t
    taps = torch.stack([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3], dim=1) / 6
    where = first.long()[:, None] + torch.arange(-1, 3, device=values.device)
    return taps.new_zeros(len(values), bins).scatter(1, where, taps)


def mutual_information(
    fixed: torch.Tensor, moved: torch.Tensor, bins: int = 32, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """I = sum p(f, m) log(p(f, m) / (p(f) p(m))) in nats, from Parzen histograms of two images scaled to
    0..1.

    fixed, moved, weight  the same shape. Differentiable in `moved` and `weight`.
    """
    joint = _joint(fixed, moved, bins, weight)
    return _entropy(joint.sum(dim=1)) + _entropy(joint.sum(dim=0)) - _entropy(joint)


def normalised_mutual_information(
    fixed: torch.Tensor, moved: torch.Tensor, bins: int = 32, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """(H(f) + H(m)) / H(f, m): 1 for independent images, 2 for images that say the same.

    Unlike the plain form it does not rise by itself when more air or less anatomy comes into the overlap.
    Studholme, Hill and Hawkes, Pattern Recognition 32(1), 1999, doi:10.1016/S0031-3203(98)00091-0.
    Arguments as for `mutual_information`.
    """
    return _normalised(_joint(fixed, moved, bins, weight))


def nmi_objective(
    fixed: torch.Tensor, weight: torch.Tensor, bins: int = 32
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """J(moved, w) = -NMI, with the fixed image's weights taken once and voxels of no weight left out."""
    used = weight.reshape(-1) > 0
    windows = parzen_weights(fixed[:1].reshape(-1)[used], bins) * weight.reshape(-1)[used, None]

    def value(moved: torch.Tensor, moved_weight: torch.Tensor) -> torch.Tensor:
        moved_windows = parzen_weights(moved[:1].reshape(-1)[used], bins)
        return -_normalised(_shares(windows.T @ (moved_windows * moved_weight.reshape(-1)[used, None])))

    return value


def _joint(
    fixed: torch.Tensor, moved: torch.Tensor, bins: int, weight: torch.Tensor | None
) -> torch.Tensor:
    w = torch.ones_like(fixed) if weight is None else weight
    windows = parzen_weights(fixed.reshape(-1), bins) * w.reshape(-1, 1)
    return _shares(windows.T @ parzen_weights(moved.reshape(-1), bins))


def _shares(counts: torch.Tensor) -> torch.Tensor:
    return counts / counts.sum().clamp_min(_TINY)


def _normalised(joint: torch.Tensor) -> torch.Tensor:
    # two constant images have no entropy at all: they tell nothing of each other
    both = _entropy(joint.sum(dim=1)) + _entropy(joint.sum(dim=0))
    return (both + _TINY) / (_entropy(joint) + _TINY)


def _entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.clamp_min(_TINY).log()).sum()
