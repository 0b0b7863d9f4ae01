"""Sums of the soft assignment against all pairs written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from DeepRegistrationLib.optim.soft_assignment import SoftAssignment

M, N = 70, 90


def clouds() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)

    def points(count: int) -> torch.Tensor:
        return 20 * torch.randn(count, 3, dtype=torch.float64, generator=generator)

    y_labels, x_labels = (torch.randint(3, (n,), generator=generator) for n in (M, N))
    log_weights = torch.randn(M, dtype=torch.float64, generator=generator) - math.log(M)
    return points(M), y_labels, points(N), x_labels, log_weights


TRANSITIONS = {
    "identity": torch.eye(3, dtype=torch.float64),
    "confused": torch.tensor([[0.8, 0.1, 0.0], [0.2, 0.9, 0.1], [0.0, 0.0, 0.9]], dtype=torch.float64),
    "one": torch.ones(3, 3, dtype=torch.float64),
}


@pytest.mark.parametrize("transition", TRANSITIONS)
@pytest.mark.parametrize("outliers", [0.0, 1e-6])
@pytest.mark.parametrize("variance", [400.0, 9.0])
def test_sums_are_those_of_all_pairs(
    transition: str, outliers: float, variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("DeepRegistrationLib.optim.soft_assignment._CHUNK", 16)
    y, y_labels, x, x_labels, log_weights = clouds()
    u = TRANSITIONS[transition]
    squared = torch.cdist(x, y).square()
    density = torch.exp(-squared / (2 * variance)) / (2 * math.pi * variance) ** 1.5
    joint = log_weights.exp() * u[x_labels][:, y_labels] * density
    p = joint / (joint.sum(dim=1, keepdim=True) + max(outliers, 1e-30 / (2 * math.pi * variance) ** 1.5))
    found = SoftAssignment(x, x_labels, y_labels, u)(y, log_weights, variance, outliers)
    assert torch.allclose(found.mass, p.sum(dim=0), atol=1e-4)
    assert torch.allclose(found.known, p.sum(dim=1), atol=1e-4)
    assert torch.allclose(found.pulled, p.T @ x, atol=3e-3)
    if outliers == 0 and variance > 100:
        assert torch.allclose(found.known, torch.ones(N, dtype=torch.float64), atol=1e-5)


def test_points_with_no_candidate_are_left_alone() -> None:
    """A label that the other side has not, and a point so far off that no density is left of it."""
    y = torch.zeros(2, 3, dtype=torch.float64)
    x = torch.tensor([[0.5, 0, 0], [0, 0, 0], [1e5, 0, 0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0])
    assign = SoftAssignment(x, labels, torch.tensor([0, 0]), torch.eye(2, dtype=torch.float64))
    found = assign(y, torch.full((2,), -math.log(2.0), dtype=torch.float64), 1.0, 0.0)
    assert torch.allclose(found.known, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    assert torch.isfinite(found.pulled).all() and float(found.mass.sum()) == pytest.approx(1.0)
