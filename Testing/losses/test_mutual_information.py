"""Mutual information against closed forms and a hard histogram."""

from __future__ import annotations

import math

import pytest
import torch

from DeepRegistrationLib.losses.mutual_information import (
    mutual_information,
    nmi_objective,
    normalised_mutual_information,
    parzen_weights,
)


def test_windows_are_a_partition_of_one() -> None:
    weights = parzen_weights(torch.linspace(-0.2, 1.2, 57, dtype=torch.float64), 16)
    assert torch.allclose(weights.sum(dim=1), torch.ones(57, dtype=torch.float64))
    assert (weights >= 0).all()


def test_independent_images_share_nothing_and_equal_ones_their_entropy() -> None:
    # two by two: every pair of values equally often
    a = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).repeat(50)
    b = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).repeat(50)
    assert float(mutual_information(a, b)) == pytest.approx(0.0, abs=1e-9)
    # the windows of 0 and 1 do not touch, so the answer is the entropy of a coin
    assert float(mutual_information(a, a)) == pytest.approx(math.log(2), abs=1e-9)
    assert float(mutual_information(a, 1 - a)) == pytest.approx(math.log(2), abs=1e-9)


def test_against_a_sum_over_a_hand_made_histogram() -> None:
    g = torch.Generator().manual_seed(5)
    a, b, w = (torch.rand(40, generator=g, dtype=torch.float64) for _ in range(3))
    bins = 8
    wa, wb = parzen_weights(a, bins), parzen_weights(b, bins)
    joint = torch.zeros(bins, bins, dtype=torch.float64)
    for n in range(40):
        for i in range(bins):
            for j in range(bins):
                joint[i, j] += w[n] * wa[n, i] * wb[n, j]
    joint /= joint.sum()
    expected = 0.0
    for i in range(bins):
        for j in range(bins):
            if joint[i, j] > 0:
                expected += float(joint[i, j] * torch.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum())))
    assert float(mutual_information(a, b, bins, w)) == pytest.approx(expected, abs=1e-8)
    entropy = -float((joint[joint > 0] * joint[joint > 0].log()).sum())
    normalised = 1 + expected / entropy
    assert float(normalised_mutual_information(a, b, bins, w)) == pytest.approx(normalised, abs=1e-8)
    objective = nmi_objective(a[None], w[None], bins)
    assert float(objective(b[None], torch.ones(1, 40, dtype=torch.float64))) == pytest.approx(-normalised, abs=1e-8)


def test_the_normalised_form_runs_from_one_to_two() -> None:
    a = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).repeat(50)
    b = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).repeat(50)
    assert float(normalised_mutual_information(a, b)) == pytest.approx(1.0, abs=1e-9)
    assert float(normalised_mutual_information(a, 1 - a)) == pytest.approx(2 - shared_entropy(), abs=1e-9)


def shared_entropy() -> float:
    """What the windows themselves add to the joint entropy of a coin seen twice, over that entropy."""
    weights = parzen_weights(torch.tensor([0.0], dtype=torch.float64), 32)[0]
    window = -float((weights[weights > 0] * weights[weights > 0].log()).sum())
    return window * 2 / (2 * window + math.log(2)) if window else 0.0


def test_gradients() -> None:
    g = torch.Generator().manual_seed(6)
    a = torch.rand(30, generator=g, dtype=torch.float64)
    b = (0.05 + 0.9 * torch.rand(30, generator=g, dtype=torch.float64)).requires_grad_()
    for loss in (mutual_information, normalised_mutual_information):
        assert torch.autograd.gradcheck(lambda m, loss=loss: loss(a, m, 8), (b,), atol=1e-5)
