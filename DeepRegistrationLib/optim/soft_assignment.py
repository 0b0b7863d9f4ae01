"""Which point of a mixture of Gaussians each target point comes from, softly.

    p_mn = a_m u(l_n, l_m) N(x_n; y_m, sigma^2 I) e_m / (c_n + sum_k a_k u(l_n, l_k) N(x_n; y_k, sigma^2 I) e_k)
    c_n = omega / (1 - omega) p_out,     e_m = exp(-s^2 d v_m / (2 sigma^2))

(Hirose, A Bayesian formulation of coherent point drift, IEEE TPAMI 43(7), 2021, doi:10.1109/TPAMI.2020.2971687, with
the label transition u of the multi-organ form.) Only the sums that the updates need leave this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

#: target points looked at at once
_CHUNK = 2048
#: a target point whose best candidate is less likely than this belongs to nobody
_TINY = 1e-30


@dataclass(frozen=True)
class Assignment:
    """mass (M,) nu_m = sum_n p_mn; pulled (M, d) sum_n p_mn x_n in mm; known (N,) nu'_n = sum_m p_mn."""

    mass: torch.Tensor
    pulled: torch.Tensor
    known: torch.Tensor


class SoftAssignment:
    """The target points (N, d) in mm with labels (N,), and u (L, L): u[l, k] the probability that a source point
    labelled k makes a target point labelled l."""

    def __init__(
        self, target: torch.Tensor, labels: torch.Tensor, source_labels: torch.Tensor, transition: torch.Tensor
    ) -> None:
        self.target = target
        self.rows: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for label in torch.unique(labels).tolist():
            columns = (labels == label).nonzero()[:, 0]
            reached = (transition[label, source_labels] > 0).nonzero()[:, 0]
            if len(reached):
                log_u = transition[label, source_labels[reached]].log()
                self.rows += [(part, reached, log_u) for part in columns.split(_CHUNK)]

    def __call__(self, source: torch.Tensor, log_weights: torch.Tensor, variance: float, outliers: float) -> Assignment:
        """source (M, d) mm, log_weights (M,) = ln(a_m e_m), variance sigma^2 in mm^2,
        outliers = omega p_out / (1 - omega).

        Distances in float32 about the middle of each block, sums in the type of `source`.
        """
        (m, d), n = source.shape, len(self.target)
        mass, pulled = source.new_zeros(m), source.new_zeros((m, d))
        known = source.new_zeros(n)
        floor = max(outliers * (2 * math.pi * variance) ** (d / 2), _TINY)
        for columns, reached, log_u in self.rows:
            y = source[reached]
            middle = y.mean(dim=0)
            x, y = self.target[columns] - middle, y - middle
            heights = self._heights(x, y, log_weights[reached] + log_u, variance)
            total = heights.sum(dim=0).to(source.dtype)
            share = 1 / (total + floor)
            known[columns] = total * share
            weighted = torch.cat([x * share[:, None], share[:, None]], dim=1)
            sums = (heights @ weighted.to(heights.dtype)).to(source.dtype)
            mass.index_add_(0, reached, sums[:, d])
            pulled.index_add_(0, reached, sums[:, :d] + sums[:, d:] * middle)
        return Assignment(mass, pulled, known)

    @staticmethod
    def _heights(x: torch.Tensor, y: torch.Tensor, log_weights: torch.Tensor, variance: float) -> torch.Tensor:
        """(M', N') exp(log_weights_m - |x_n - y_m|^2 / (2 variance)) as one matrix product and one exponential."""
        one_x, one_y = torch.ones_like(x[:, :1]), torch.ones_like(y[:, :1])
        right = torch.cat([x, one_x, -x.square().sum(dim=1, keepdim=True) / (2 * variance)], dim=1)
        constant = log_weights[:, None] - y.square().sum(dim=1, keepdim=True) / (2 * variance)
        left = torch.cat([y / variance, constant, one_y], dim=1)
        return (left.float() @ right.float().T).exp_()
