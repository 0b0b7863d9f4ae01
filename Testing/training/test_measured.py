"""Numbers of a validation: their means, and what is counted."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.training.measured import dice, folding, means


def test_means_are_over_the_rows_that_have_a_number() -> None:
    rows = [{"TRE (mm)": 1.0}, {"TRE (mm)": 3.0, "Dice": 0.5}, {"Feature error": 2.0, "Dice": 0.7}]
    found = means(rows)
    assert list(found) == ["TRE (mm)", "Dice", "Feature error"]
    assert found == pytest.approx({"TRE (mm)": 2.0, "Dice": 0.6, "Feature error": 2.0})
    assert means([]) == {}


def test_dice_counts_the_segments_of_the_fixed_scan() -> None:
    fixed, moved = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    fixed[0, 0, :2], moved[0, 0, 1:3] = 1, 1  # 8 voxels each, 4 of them shared
    fixed[0, 1, :2], moved[0, 1, :2] = 0.6, 0.4  # by less than half
    moved[0, 2] = 1  # not in the fixed scan
    assert dice(fixed, moved) == pytest.approx((0.5 + 0.0) / 2)
    assert dice(torch.zeros(1, 1, 4, 4), moved[:, :1]) == 1.0


def test_folding_leaves_the_border_out() -> None:
    turned = torch.zeros(1, 2, 8, 8)
    turned[0, 0] = -2 * torch.arange(8.0)  # x -> -x
    assert folding(turned) == 100.0
    assert folding(torch.zeros(1, 2, 8, 8)) == 0.0
