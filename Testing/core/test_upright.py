"""Axes in the order of the world's: every voxel keeps its place and value, and there is a way back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.upright import AxisOrder, upright


def turned(order: tuple[int, ...], flipped: tuple[bool, ...], tilt: float = 0.0) -> Grid:
    """A grid whose axes run along the world's in that order and direction, turned by a little more."""
    d = len(order)
    m = np.zeros((d, d))
    for k, (axis, back) in enumerate(zip(order, flipped, strict=True)):
        m[axis, k] = -1.0 if back else 1.0
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.eye(d)
    turn[:2, :2] = [[c, -s], [s, c]]
    return Grid((5, 6, 7)[:d], (1.0, 2.0, 3.0)[:d], (10.0, -20.0, 30.0)[:d], turn @ m)


ALL = [(o, f) for d in (2, 3) for o in itertools.permutations(range(d)) for f in itertools.product([0, 1], repeat=d)]


@pytest.mark.parametrize(("order", "flipped"), ALL)
def test_axes_run_along_the_worlds_and_voxels_keep_their_places(
    order: tuple[int, ...], flipped: tuple[bool, ...]
) -> None:
    grid = turned(order, flipped, tilt=0.3)
    d = grid.dimension
    axes = upright(grid)
    there = axes.grid(grid)
    near = turned(tuple(range(d)), (False,) * d, tilt=0.3)
    assert np.allclose(there.direction, near.direction)
    image = Image(torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(0)), grid)
    same = image.resampled(there)
    assert torch.allclose(axes.values(image.data), same.data, atol=1e-5)
    assert torch.equal(axes.back(axes.values(image.data)), image.data)


def test_an_upright_grid_stays() -> None:
    grid = Grid((4, 5, 6), (1.0, 2.0, 3.0))
    assert upright(grid) == AxisOrder((0, 1, 2), (False, False, False))
    assert upright(grid).grid(grid) == grid


def test_however_it_is_stored_a_scan_has_one_upright_grid() -> None:
    grid = turned((0, 1, 2), (False, False, False), tilt=0.75)
    for order, flipped in ((o, f) for o, f in ALL if len(o) == 3):
        stored = AxisOrder(order, tuple(bool(f) for f in flipped)).grid(grid)
        assert upright(stored).grid(stored).same_as(upright(grid).grid(grid))
