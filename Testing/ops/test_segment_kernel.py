"""The covariance of segments against its formula, written out point by point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.segment_kernel import SegmentKernel, nearest_coherence

COHERENCE = [[1.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 1.0]]


def kernel(bandwidth: list[float], coherence: list[list[float]] = COHERENCE) -> SegmentKernel:
    return SegmentKernel(*(torch.tensor(v, dtype=torch.float64) for v in (bandwidth, [8.0, 10.0, 12.0], coherence)))


def some_points(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = 40 * torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return points, torch.randint(3, (count,), generator=generator)


def test_equal_bandwidths_give_the_formula_of_the_paper() -> None:
    k = kernel([30.0, 30.0, 30.0])
    p, a = some_points(20)
    found = k(p, a, p, a)
    for i in range(20):
        for j in range(20):
            height = float(k.magnitude[a[i]] * k.magnitude[a[j]] * k.coherence[a[i], a[j]])
            expected = height * np.exp(-float((p[i] - p[j]).square().sum()) / (2 * 30.0 * 30.0))
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-10)
    assert torch.allclose(k.variance(a), found.diagonal())


def test_different_bandwidths_stay_a_covariance() -> None:
    """With the product of the bandwidths in the exponent, as the paper has it, eigenvalues are negative."""
    together = [[1.0, 1.0, 1.0]] * 3
    k = kernel([10.0, 30.0, 60.0], together)
    p, a = some_points(120)
    found = k(p, a, p, a)
    assert torch.allclose(found, found.T)
    assert float(torch.linalg.eigvalsh(found).min()) > -1e-8
    b = k.bandwidth[a]
    paper = k.magnitude[a][:, None] * k.magnitude[a] * torch.exp(-torch.cdist(p, p).square() / (2 * b[:, None] * b))
    assert float(torch.linalg.eigvalsh(paper).min()) < -1.0


def test_groups_have_no_coherence_with_each_other() -> None:
    assert kernel([30.0] * 3).groups() == [[0, 1], [2]]
    chain = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]
    assert kernel([30.0] * 3, chain).groups() == [[0, 1, 2]]


def test_nearest_coherence() -> None:
    fine = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert np.array_equal(nearest_coherence(fine), fine)
    torn = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])
    assert np.linalg.eigvalsh(torn).min() < -0.2
    found = nearest_coherence(torn)
    assert np.linalg.eigvalsh(found).min() > -1e-8 and np.allclose(np.diag(found), 1)
    assert np.abs(found - torn).max() < 0.35
    # what does not touch the contradiction stays independent
    apart = np.eye(4)
    apart[:3, :3] = torn
    assert np.array_equal(nearest_coherence(apart)[3], [0, 0, 0, 1])


def test_points_of_one_label_take_a_short_cut() -> None:
    k = kernel([10.0, 30.0, 60.0])
    p, _ = some_points(30, seed=1)
    q, labels = some_points(40, seed=2)
    for label in range(3):
        expected = k(p, torch.full((30,), label), q, labels)
        assert torch.allclose(k.of_one(p, label, q, labels), expected, rtol=1e-8, atol=1e-12)
