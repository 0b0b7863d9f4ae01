"""Normalised gradients and their edge tensors."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.gradients import spatial_gradient
from DeepRegistrationLib.ops.ngf import edge_level, edge_tensor, normalised_gradient


@pytest.mark.parametrize("d", [2, 3])
def test_edge_tensors_multiply_to_the_squared_inner_product(d: int) -> None:
    g = torch.Generator().manual_seed(d)
    a, b = (torch.randn(d, 1, *[5] * d, generator=g, dtype=torch.float64) for _ in range(2))
    inner = (edge_tensor(a) * edge_tensor(b)).sum(dim=0)
    assert torch.allclose(inner, (a * b).sum(dim=0)[0].square())


def test_length_is_one_on_strong_edges_and_small_on_weak_ones() -> None:
    x = torch.arange(10.0, dtype=torch.float64).expand(1, 10, 10)
    n = normalised_gradient(x, (1.0, 1.0), 1e-4)
    assert torch.allclose(n.square().sum(dim=0), torch.ones(1, 10, 10, dtype=torch.float64), atol=1e-6)
    weak = normalised_gradient(x, (1.0, 1.0), 100.0)
    assert float(weak.square().sum(dim=0).max()) == pytest.approx(1e-4, rel=1e-3)


def test_edge_level_is_the_weighted_mean_of_each_channel() -> None:
    x = torch.arange(6.0, dtype=torch.float64).expand(6, 6)
    image = torch.stack([x, 3 * x])
    level = edge_level(spatial_gradient(image, (2.0, 1.0)), torch.ones(1, 6, 6, dtype=torch.float64), 0.5)
    assert level.flatten().tolist() == pytest.approx([0.25, 0.75])
    assert float(edge_level(torch.zeros(2, 1, 4, 4))) > 0
