"""A Gaussian prior on the displacements of points, and the posterior after noisy observations.

    v ~ N(0, G) for each component,  observed r_m = v_m + noise of variance 1 / w_m
    Sigma = (G^-1 + diag(w))^-1,  mean = Sigma diag(w) r

The mean away from the points is k(p, Z) c with the kernel k that made G: `Posterior.coefficients` c at the support
points Z. (In general c = G^-1 mean; with every point as support that is w (r - mean), without inverting G.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..ops.low_rank import pivoted_cholesky
from ..ops.segment_kernel import SegmentKernel

#: mm, about as sure as matched surface points are
EXACTNESS = 2.0


@dataclass(frozen=True)
class Posterior:
    """mean (M, d) mm, variance (M,) mm^2 (the diagonal of Sigma), coefficients (K, d) at the support points."""

    mean: torch.Tensor
    variance: torch.Tensor
    coefficients: torch.Tensor


class Prior(ABC):
    """`support` (K,): numbers of the points that `coefficients` belong to."""

    support: torch.Tensor

    def continued(self, values: torch.Tensor) -> torch.Tensor:
        """Coefficients (K, d) at the support points of the function that is `values` (M, d) mm at the points, within
        about EXACTNESS."""
        weights = torch.full_like(values[:, 0], EXACTNESS**-2)
        return self.posterior(weights, weights[:, None] * values).coefficients

    @abstractmethod
    def posterior(self, weights: torch.Tensor, weighted: torch.Tensor) -> Posterior:
        """weights (M,) = w in 1/mm^2, weighted (M, d) = w r in 1/mm."""


class FullPrior(Prior):
    """Every number of G is used: M^3 operations a posterior."""

    def __init__(self, points: torch.Tensor, labels: torch.Tensor, kernel: SegmentKernel) -> None:
        self.matrix = kernel(points, labels, points, labels)
        self.support = torch.arange(len(points), device=points.device)

    def posterior(self, weights: torch.Tensor, weighted: torch.Tensor) -> Posterior:
        # Sigma = G - G W^1/2 (I + W^1/2 G W^1/2)^-1 W^1/2 G
        root = weights.sqrt()
        inner = root[:, None] * self.matrix * root
        inner.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(inner)
        half = torch.linalg.solve_triangular(factor, root[:, None] * self.matrix, upper=False)
        # half^T half = G W^1/2 (...)^-1 W^1/2 G
        mean = self.matrix @ weighted - half.T @ (half @ weighted)
        variance = self.matrix.diagonal() - half.square().sum(dim=0)
        return Posterior(mean, variance, weighted - weights[:, None] * mean)


class LowRankPrior(Prior):
    """G ~= F F^T of rank K: M K^2 operations a posterior."""

    def __init__(
        self, points: torch.Tensor, labels: torch.Tensor, kernel: SegmentKernel, tolerance: float, rank: int | None
    ) -> None:
        def columns(chosen: torch.Tensor) -> torch.Tensor:
            return kernel(points, labels, points[chosen], labels[chosen])

        self.factor, self.support = pivoted_cholesky(kernel.variance(labels), columns, tolerance, rank)

    def posterior(self, weights: torch.Tensor, weighted: torch.Tensor) -> Posterior:
        # Sigma = F (I + F^T W F)^-1 F^T
        f = self.factor
        inner = f.T @ (weights[:, None] * f)
        inner.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(inner)
        z = torch.cholesky_solve(f.T @ weighted, factor)
        variance = torch.linalg.solve_triangular(factor, f.T, upper=False).square().sum(dim=0)
        # F = G[:, P] L^-T, and L = F[P] is lower triangular
        lower = f[self.support]
        coefficients = torch.linalg.solve_triangular(lower.T, z, upper=True)
        return Posterior(f @ z, variance, coefficients)


class GroupedPrior(Prior):
    """Groups of points without coherence between them, each with a prior of its own."""

    def __init__(self, parts: list[tuple[torch.Tensor, Prior]]) -> None:
        """parts: the numbers of the group's points, and its prior."""
        self.parts = parts
        self.support = torch.cat([index[prior.support] for index, prior in parts])

    def posterior(self, weights: torch.Tensor, weighted: torch.Tensor) -> Posterior:
        mean, variance, coefficients = torch.zeros_like(weighted), torch.zeros_like(weights), []
        for index, prior in self.parts:
            part = prior.posterior(weights[index], weighted[index])
            mean[index], variance[index] = part.mean, part.variance
            coefficients.append(part.coefficients)
        return Posterior(mean, variance, torch.cat(coefficients))


def segment_prior(
    points: torch.Tensor, labels: torch.Tensor, kernel: SegmentKernel, tolerance: float | None, rank: int | None = None
) -> Prior:
    """The prior of points (M, d) in mm, float64, with labels (M,) under `kernel`.

    tolerance  share of the total variance that the low-rank form may leave out; None keeps all of G
    rank       limit for each group of segments that move together
    """
    parts: list[tuple[torch.Tensor, Prior]] = []
    for group in kernel.groups():
        index = torch.isin(labels, torch.tensor(group, device=labels.device)).nonzero()[:, 0]
        if len(index) == 0:
            continue
        p, own = points[index], labels[index]
        prior = FullPrior(p, own, kernel) if tolerance is None else LowRankPrior(p, own, kernel, tolerance, rank)
        parts.append((index, prior))
    return GroupedPrior(parts)
