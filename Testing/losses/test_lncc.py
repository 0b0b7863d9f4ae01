"""Local correlation against closed forms and a window-by-window reference."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.losses.lncc import lncc_distance, lncc_objective, local_correlation


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_change_of_intensity_keeps_the_correlation_at_one() -> None:
    image = random(0, 1, 7, 8, 9)
    assert float(lncc_distance(image, 3 - 2 * image)) == pytest.approx(0.0, abs=2e-3)
    assert float(lncc_distance(image, torch.full_like(image, 0.4))) == pytest.approx(1.0)


def test_brute_force_with_weights() -> None:
    a, b, w = random(1, 1, 6, 7), random(2, 1, 6, 7), random(3, 1, 6, 7)
    cc = local_correlation(a, b, radius=1, weight=w)
    for y, x in ((0, 0), (2, 3), (5, 6), (3, 0)):
        box = (0, slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
        p, q, v = a[box], b[box], w[box]
        total = v.sum()
        mp, mq = (v * p).sum() / total, (v * q).sum() / total
        cov = (v * (p - mp) * (q - mq)).sum() / total
        var_p, var_q = (v * (p - mp) ** 2).sum() / total, (v * (q - mq) ** 2).sum() / total
        expected = cov**2 / ((var_p + 1e-5) * (var_q + 1e-5))
        assert float(cc[0, y, x]) == pytest.approx(float(expected), rel=1e-9)


def test_objective_agrees_with_the_distance() -> None:
    a, b, w = random(4, 1, 5, 6, 7), random(5, 1, 5, 6, 7), random(6, 1, 5, 6, 7)
    plain = 1 - (local_correlation(a, b) * w).sum() / w.sum()
    assert float(lncc_objective(a, w)(b, torch.ones_like(w))) == pytest.approx(float(plain), abs=1e-12)


def test_gradients() -> None:
    a, b = random(7, 1, 4, 5), random(8, 1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: lncc_distance(a, m, radius=1), (b,))
    assert torch.autograd.gradcheck(lambda m: lncc_distance(a, m, radius=1, weight=a), (b,))
