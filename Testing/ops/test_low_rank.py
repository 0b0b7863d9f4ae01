"""The pivoted Cholesky decomposition keeps what it promises about what it leaves out."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.low_rank import pivoted_cholesky


def covariance(count: int = 150, bandwidth: float = 25.0) -> torch.Tensor:
    points = 40 * torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return 100 * torch.exp(-torch.cdist(points, points).square() / (2 * bandwidth**2))


def decomposed(g: torch.Tensor, tolerance: float, rank: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return pivoted_cholesky(g.diagonal().clone(), lambda k: g[:, k], tolerance, rank)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-4])
def test_the_rest_is_positive_and_within_the_tolerance(tolerance: float) -> None:
    g = covariance()
    f, pivots = decomposed(g, tolerance)
    rest = g - f @ f.T
    assert 0 <= float(rest.trace()) <= tolerance * float(g.trace())
    assert float(torch.linalg.eigvalsh(rest).min()) > -1e-8
    # no more columns than it takes: nearly as few as the best possible, that of the eigenvectors
    values = torch.linalg.eigvalsh(g).flip(0)
    best = int((values.cumsum(0) < (1 - tolerance) * values.sum()).sum()) + 1
    assert best <= len(pivots) <= 1.6 * best + 2


def test_nothing_left_out_is_exact() -> None:
    g = covariance(60, 8.0)
    f, pivots = decomposed(g, 0.0)
    assert torch.allclose(f @ f.T, g, atol=1e-7)
    assert sorted(pivots.tolist()) == list(range(60))


def test_rows_of_the_pivots_are_triangular_and_rebuild_the_rest() -> None:
    g = covariance()
    f, p = decomposed(g, 1e-2)
    lower = f[p]
    assert torch.equal(lower, lower.tril())
    assert torch.allclose(g[:, p] @ torch.linalg.inv(lower).T, f, atol=1e-9)


def test_rank_is_a_limit_and_a_singular_matrix_ends_early() -> None:
    assert decomposed(covariance(), 0.0, rank=7)[0].shape == (150, 7)
    twice = torch.ones(20, 20, dtype=torch.float64)
    f, pivots = decomposed(twice, 0.0)
    assert len(pivots) == 1 and torch.allclose(f @ f.T, twice)
