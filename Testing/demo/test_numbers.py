"""The numbers that are printed, and when a run counts as failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo import numbers


def pair(before: float, after: float) -> dict[str, float]:
    return {"before": before, "after": after}


def summary(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "folding_percent": 0.0,
        "seconds": {"registration": 10.0, "apply": 12.0, "whole": 20.0},
        "similarity": {"name": "Mutual information", **pair(1.1, 1.2)},
    }
    return {**base, **changes}


def test_errors_of_a_transform_whose_answer_is_known() -> None:
    # RAS: 3 mm to the right is -3 in LPS
    shift = SimpleNamespace(TransformPoint=lambda p: (p[0] + 3.0, p[1], p[2]))
    node = SimpleNamespace(GetTransformFromParent=lambda: shift)
    x = np.array([[0.0, 0.0, 0.0], [10.0, -5.0, 2.0]])
    step = np.array([3.0, 0.0, 0.0])
    right, wrong = x - step, x + step
    assert numbers.true_errors(node, np.stack([x, right]))["mean"] == pytest.approx(pair(3.0, 0.0))
    assert numbers.true_errors(node, np.stack([x, wrong]))["max"] == pytest.approx(pair(3.0, 6.0))


def test_worse_than_the_start() -> None:
    good, bad = {"mean": pair(5.0, 1.0)}, {"mean": pair(5.0, 6.0)}
    assert numbers.worse(summary(tre_mm=good, dice_mean=pair(0.5, 0.7))) == []
    assert len(numbers.worse(summary(tre_mm=bad, tre_lungs_mm=bad, dice_mean=pair(0.5, 0.4)))) == 3
    # likeness decides only where nothing better is known
    unlike = {"name": "Mutual information", **pair(1.2, 1.1)}
    assert len(numbers.worse(summary(similarity=unlike))) == 1
    assert numbers.worse(summary(similarity=unlike, dice_mean=pair(0.5, 0.7))) == []


def test_segments_that_one_side_lacks_do_not_count() -> None:
    segments = {
        "liver": {"dice_before": 0.5, "dice_after": 0.9},
        "spleen": {"dice_before": None, "dice_after": None},
    }
    assert numbers.dice_by_name({"segments": segments}) == {"liver": pair(0.5, 0.9)}
    assert numbers.dice_by_name({}) == {}


def test_table() -> None:
    dice = {"liver": pair(0.5, 0.9), "heart": pair(0.6, 0.8)}
    text = numbers.table(numbers.rows(summary(dice=dice, dice_mean=numbers.mean_of(dice))))
    lines = text.splitlines()
    assert lines[0].split() == ["before", "after"]
    assert "Dice, mean" in text and "0.550" in text and "0.850" in text
    assert len({len(line) for line in lines}) == 1
    assert "Mutual information" not in text
    assert "Mutual information" in numbers.table(numbers.rows(summary()))
