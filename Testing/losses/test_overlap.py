"""Soft Dice against the count of voxels."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.losses.overlap import dice_distance


def squares(start: int) -> torch.Tensor:
    """One segment of 4 x 4 voxels from column `start` on, and one that never moves."""
    shares = torch.zeros(1, 2, 12, 12, dtype=torch.float64)
    shares[0, 0, 2:6, start : start + 4] = 1
    shares[0, 1, 7:11, 2:8] = 1
    return shares


@pytest.mark.parametrize(("apart", "wanted"), [(0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0)])
def test_shifted_squares(apart: int, wanted: float) -> None:
    assert float(dice_distance(squares(2), squares(2 + apart))) == pytest.approx(1 - (wanted + 1) / 2)


def test_segments_that_are_not_there_do_not_count() -> None:
    fixed, moved = squares(2), squares(3)
    fixed[:, 1] = 0
    assert float(dice_distance(fixed, moved)) == pytest.approx(0.25)
    assert float(dice_distance(0 * fixed, moved)) == 0.0


def test_weight_says_where_it_counts() -> None:
    weight = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    weight[..., :3] = 0
    # of 4 columns the fixed square keeps 3, the moved one all: 2 * 3 / (3 + 4)
    assert float(dice_distance(squares(2), squares(3), weight)) == pytest.approx(1 - (6 / 7 + 1) / 2)


def test_pairs_of_a_batch_count_alike() -> None:
    fixed, moved = torch.cat([squares(2), squares(2)]), torch.cat([squares(2), squares(6)])
    assert float(dice_distance(fixed, moved)) == pytest.approx(0.25)


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(2, 2, 4, 4, 3, generator=generator, dtype=torch.float64)
    moved = torch.rand(2, 2, 4, 4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: dice_distance(fixed, m), (moved,))
