"""The similarity pyramid by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.losses.lncc import lncc_distance
from DeepRegistrationLib.losses.similarity_pyramid import similarity_pyramid


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weighted_sum_over_levels() -> None:
    a, b = random(0, 1, 1, 8, 12, 16), random(1, 1, 1, 8, 12, 16)
    wanted, weights = 0.0, (1.0, 0.5, 0.25)
    for k, weight in enumerate(weights):
        pooled = [F.avg_pool3d(x, 2**k)[0] if k else x[0] for x in (a, b)]
        wanted += weight * float(lncc_distance(pooled[0], pooled[1], radius=3 - k))
    assert float(similarity_pyramid(a, b, 3)) == pytest.approx(wanted / sum(weights), abs=1e-9)


def test_alike_is_near_zero_whatever_the_contrast() -> None:
    a = random(2, 2, 1, 16, 16)
    assert float(similarity_pyramid(a, 0.2 + 0.5 * a, 2)) < 0.02
    assert float(similarity_pyramid(a, random(3, 2, 1, 16, 16), 2)) > 0.5


def test_unknown_ground_does_not_count() -> None:
    a = random(4, 1, 1, 16, 16)
    b, weight = a.clone(), torch.ones_like(a)
    b[..., 8:] = random(5, 1, 1, 16, 8)
    weight[..., 5:] = 0
    assert float(similarity_pyramid(a, b, 1, weight)) < 0.02 < float(similarity_pyramid(a, b, 1))


def test_gradient() -> None:
    a, b = random(6, 2, 1, 4, 6), random(7, 2, 1, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: similarity_pyramid(a, m, 2), (b,))
