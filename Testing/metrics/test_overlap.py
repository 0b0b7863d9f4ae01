"""Dice and volumes against SimpleITK's filter and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.metrics import overlap_by_label


def _labels(values: np.ndarray, spacing: tuple[float, ...]) -> Image:
    return Image(torch.from_numpy(values)[None], Grid(values.shape[::-1], spacing), ImageKind.LABELS)


def test_agrees_with_simpleitk() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4, (2, 9, 10, 11)).astype(np.int16)
    judge = sitk.LabelOverlapMeasuresImageFilter()
    judge.Execute(sitk.GetImageFromArray(a), sitk.GetImageFromArray(b))
    found = overlap_by_label(_labels(a, (1.0, 2.0, 0.5)), _labels(b, (1.0, 2.0, 0.5)))
    assert list(found) == [1, 2, 3]
    for v, overlap in found.items():
        assert overlap.dice == pytest.approx(judge.GetDiceCoefficient(v), abs=1e-12)
        assert overlap.volume_first == pytest.approx((a == v).sum() * 1.0)
        assert overlap.volume_second == pytest.approx((b == v).sum() * 1.0)


def test_half_overlapping_bars() -> None:
    a, b = np.zeros((2, 8, 8), dtype=np.uint8)
    a[2, 0:4], b[2, 2:6] = 7, 7
    overlap = overlap_by_label(_labels(a, (3.0, 2.0)), _labels(b, (3.0, 2.0)))[7]
    assert overlap.dice == pytest.approx(0.5)
    assert overlap.volume_first == pytest.approx(4 * 6.0)


def test_absent_label_has_dice_zero_and_one_absent_in_both_none() -> None:
    a, b = np.zeros((2, 5, 5), dtype=np.uint8)
    a[1, 1] = 2
    found = overlap_by_label(_labels(a, (1.0, 1.0)), _labels(b, (1.0, 1.0)), [2, 3])
    assert found[2].dice == 0.0 and found[3].dice is None


def test_labels_may_be_negative_or_huge() -> None:
    a = np.array([[-5, 0, 2_000_000_000], [-5, 2_000_000_000, 0]], dtype=np.int64)
    found = overlap_by_label(_labels(a, (1.0, 1.0)), _labels(a, (1.0, 1.0)))
    assert {v: o.dice for v, o in found.items()} == {-5: 1.0, 2_000_000_000: 1.0}


def test_other_grid_is_refused() -> None:
    a = np.zeros((5, 5), dtype=np.uint8)
    with pytest.raises(InputError, match="one grid"):
        overlap_by_label(_labels(a, (1.0, 1.0)), _labels(a, (1.0, 2.0)))
