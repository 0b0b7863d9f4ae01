"""Sets of rotations: proper, evenly spread, uniform, near, and the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from DeepRegistrationLib.optim.rotations import (
    angles_between,
    covering_count,
    nearby_rotations,
    random_rotations,
    spread_rotations,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest(points: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Degrees from each of `asked` to the nearest of `points`."""
    return np.array([angles_between(points, one).min() for one in asked])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("make", [spread_rotations, random_rotations])
def test_they_are_rotations(make, dimension: int) -> None:  # type: ignore[no-untyped-def]
    r = make(60, dimension, generator())
    assert r.shape == (60, dimension, dimension)
    assert np.allclose(r @ np.swapaxes(r, 1, 2), np.eye(dimension), atol=1e-12)
    assert np.allclose(np.linalg.det(r), 1.0)


@pytest.mark.parametrize("count", [300, 1500])
def test_the_spread_ones_leave_no_gap_in_three_dimensions(count: int) -> None:
    asked = random_rotations(3000, 3, generator(5))
    gap = nearest(spread_rotations(count, 3, generator()), asked)
    share = lambda degrees: (np.radians(degrees) - np.sin(np.radians(degrees))) / np.pi  # noqa: E731
    ball = next(w for w in np.arange(1.0, 90.0, 0.1) if share(w) * count >= 1)
    # no point is far from all others, which independent draws do not achieve
    assert gap.max() < 1.45 * ball
    assert nearest(random_rotations(count, 3, generator(1)), asked).max() > 1.6 * ball


def test_the_spread_ones_leave_no_gap_in_two_dimensions() -> None:
    gap = nearest(spread_rotations(36, 2, generator()), random_rotations(500, 2, generator(5)))
    assert 4.5 < gap.max() <= 5.0 + 1e-9


@pytest.mark.parametrize("degrees", [15.0, 30.0])
def test_so_many_cover_everything_within_the_asked_angle(degrees: float) -> None:
    spread = spread_rotations(covering_count(degrees, 3), 3, generator())
    assert nearest(spread, random_rotations(2000, 3, generator(5))).max() < 1.05 * degrees
    assert covering_count(degrees, 2) == 180 / degrees


def test_the_random_ones_are_uniform() -> None:
    r = random_rotations(4000, 3, generator(2))
    w = np.radians(angles_between(r, np.eye(3)))
    assert stats.kstest((w - np.sin(w)) / np.pi, "uniform").pvalue > 0.01
    # where a rotation takes an axis is uniform on the sphere: each coordinate is uniform
    assert stats.kstest((r[:, 2, 0] + 1) / 2, "uniform").pvalue > 0.01
    flat = random_rotations(4000, 2, generator(2))
    assert stats.kstest((np.arctan2(flat[:, 1, 0], flat[:, 0, 0]) / np.pi + 1) / 2, "uniform").pvalue > 0.01


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_near_ones_are_near_and_fill_the_ball(dimension: int) -> None:
    w = angles_between(nearby_rotations(2000, dimension, 12.0, generator()), np.eye(dimension))
    assert w.max() <= 12.0 + 1e-9
    assert stats.kstest((w / 12.0) ** (3 if dimension == 3 else 1), "uniform").pvalue > 0.01


def test_angles() -> None:
    a = np.radians(0.001)
    small = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    assert angles_between(np.eye(3), small) == pytest.approx(0.001)
    assert angles_between(np.eye(3), np.diag([1.0, -1.0, -1.0])) == pytest.approx(180)
    assert angles_between(np.eye(2), -np.eye(2)) == pytest.approx(180)


def test_a_seed_gives_the_same_ones_again() -> None:
    for make in (spread_rotations, random_rotations):
        assert np.array_equal(make(20, 3, generator(4)), make(20, 3, generator(4)))
        assert not np.allclose(make(20, 3, generator(4)), make(20, 3, generator(3)))
