"""Posteriors against the formula with inverses, which nothing in the library uses."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.segment_kernel import SegmentKernel
from DeepRegistrationLib.optim.displacement_prior import FullPrior, LowRankPrior, segment_prior

COUNT = 90


def problem() -> tuple[torch.Tensor, torch.Tensor, SegmentKernel, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    points = 20 * torch.randn(COUNT, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(3, (COUNT,), generator=generator)
    coherence = torch.tensor([[1, 0.4, 0], [0.4, 1, 0], [0, 0, 1]], dtype=torch.float64)
    sizes = torch.tensor([[20.0, 25.0, 30.0], [8.0, 10.0, 12.0]], dtype=torch.float64)
    weights = torch.rand(COUNT, dtype=torch.float64, generator=generator)
    weights[:5] = 0.0  # points that nothing was matched to
    observed = 10 * torch.sin(points / 15)
    return points, labels, SegmentKernel(*sizes, coherence), weights, weights[:, None] * observed


@pytest.mark.parametrize("tolerance", [None, 0.0])
def test_posterior_is_that_of_the_formula(tolerance: float | None) -> None:
    points, labels, kernel, weights, weighted = problem()
    g = kernel(points, labels, points, labels)
    sigma = torch.linalg.inv(torch.linalg.inv(g) + torch.diag(weights))
    prior = segment_prior(points, labels, kernel, tolerance)
    found = prior.posterior(weights, weighted)
    assert torch.allclose(found.mean, sigma @ weighted, atol=1e-6)
    assert torch.allclose(found.variance, sigma.diagonal(), atol=1e-6)
    # what is predicted at the points themselves is the mean, through the kernel alone
    again = kernel(points, labels, points[prior.support], labels[prior.support]) @ found.coefficients
    assert torch.allclose(again, found.mean, atol=1e-6)


def test_low_rank_is_close_and_predicts_its_own_mean_at_the_support() -> None:
    points, labels, kernel, weights, weighted = problem()
    full = FullPrior(points, labels, kernel).posterior(weights, weighted)
    prior = LowRankPrior(points, labels, kernel, 1e-3, None)
    assert len(prior.support) < 0.95 * COUNT
    found = prior.posterior(weights, weighted)
    assert float((found.mean - full.mean).norm() / full.mean.norm()) < 0.01
    at = prior.support
    predicted = kernel(points, labels, points[at], labels[at]) @ found.coefficients
    assert torch.allclose(predicted, found.mean, atol=1e-8)


def test_unknown_weights_leave_the_prior() -> None:
    points, labels, kernel, weights, weighted = problem()
    found = segment_prior(points, labels, kernel, 0.0).posterior(0 * weights, 0 * weighted)
    assert torch.allclose(found.variance, kernel.variance(labels))
    assert float(found.mean.abs().max()) == 0
