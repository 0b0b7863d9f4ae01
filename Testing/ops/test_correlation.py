"""The cost volume against a loop over cells and displacements."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.ops.correlation import cost_volume, displacement_window

SHAPES = {2: (6, 7), 3: (4, 5, 6)}


def features(shape: tuple[int, ...], seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn((channels, *shape), generator=torch.Generator().manual_seed(seed))


def cost_by_loops(fixed: np.ndarray, moving: np.ndarray, window: np.ndarray) -> np.ndarray:
    last = np.array(fixed.shape[1:]) - 1
    out = np.empty((len(window), *fixed.shape[1:]))
    for k, delta in enumerate(window):
        for x in np.ndindex(*fixed.shape[1:]):
            # components x, y[, z] of a displacement are the tensor axes backwards
            there = np.clip(np.array(x) + delta[::-1].astype(int), 0, last)
            out[(k, *x)] = ((fixed[(slice(None), *x)] - moving[(slice(None), *there)]) ** 2).sum()
    return out


@pytest.mark.parametrize("d", [2, 3])
def test_window_has_every_displacement_once(d: int) -> None:
    window = displacement_window(2, d)
    assert {tuple(w) for w in window.tolist()} == set(itertools.product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=d))
    assert len(window) == 5**d
    assert window[1].tolist() == [-1.0] + [-2.0] * (d - 1)  # x runs fastest


@pytest.mark.parametrize("d", [2, 3])
def test_every_cost_is_the_squared_distance(d: int) -> None:
    fixed, moving = features(SHAPES[d], 1), features(SHAPES[d], 2)
    expected = cost_by_loops(fixed.numpy(), moving.numpy(), displacement_window(2, d).numpy())
    np.testing.assert_allclose(cost_volume(fixed, moving, 2, smoothing=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_cost_is_averaged_as_often_as_asked(d: int) -> None:
    fixed, moving = features(SHAPES[d], 1), features(SHAPES[d], 2)
    once = box_mean(cost_volume(fixed, moving, 1, smoothing=0), 1)
    assert torch.allclose(cost_volume(fixed, moving, 1, smoothing=1), once)
    assert torch.allclose(cost_volume(fixed, moving, 1), box_mean(once, 1))


@pytest.mark.parametrize("shift", [(2, 0, -1), (0, -2, 1), (1, 2, 0), (-2, 1, 2)])
def test_known_shift_is_the_cheapest(shift: tuple[int, int, int]) -> None:
    """moving(x + shift) = fixed(x), components x, y, z."""
    fixed = features((9, 9, 9), 3)
    moving = torch.roll(fixed, shift[::-1], dims=(1, 2, 3))
    cost = cost_volume(fixed, moving, 2)
    best = displacement_window(2, 3)[cost.argmin(dim=0)]
    inner = best[4:-4, 4:-4, 4:-4].reshape(-1, 3)
    assert inner.tolist() == [list(map(float, shift))] * len(inner)
    assert float(cost.amin(dim=0)[4:-4, 4:-4, 4:-4].max()) < 1e-4


def test_unknown_ground_costs_what_is_typical() -> None:
    fixed, moving = features((6, 8), 4), features((6, 8), 5)
    known = torch.ones(6, 8)
    known[:, :3] = 0
    known[2, 5] = 0.25
    window = displacement_window(2, 2).numpy()
    bare = cost_by_loops(fixed.numpy(), moving.numpy(), window)
    seen = np.zeros_like(bare)
    for k, delta in enumerate(window):
        for y, x in np.ndindex(6, 8):
            there = (y + int(delta[1]), x + int(delta[0]))
            if 0 <= there[0] < 6 and 0 <= there[1] < 8:  # beyond the grid nothing is known
                seen[k, y, x] = known[there]
    # where nothing at all is known, no displacement is better than another
    typical = (bare * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1e-3)
    expected = seen * bare + (1 - seen) * typical
    found = cost_volume(fixed, moving, 2, known, smoothing=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert float(found[:, :, 0].std(dim=0).min()) == 0


def test_everything_known_changes_nothing_inside() -> None:
    fixed, moving = features((9, 9), 6), features((9, 9), 7)
    with_map = cost_volume(fixed, moving, 2, torch.ones(9, 9), smoothing=0)
    bare = cost_volume(fixed, moving, 2, smoothing=0)
    assert torch.allclose(with_map[:, 2:-2, 2:-2], bare[:, 2:-2, 2:-2], atol=1e-5)
    assert not torch.allclose(with_map, bare, atol=1e-2)


def test_untrusted_cells_leave_the_say_to_their_neighbours() -> None:
    fixed, moving = features((6, 8), 9), features((6, 8), 10)
    trust = torch.rand(6, 8, generator=torch.Generator().manual_seed(11))
    trust[:, 5:] = 0
    bare = cost_volume(fixed, moving, 1, smoothing=0)
    assert torch.allclose(cost_volume(fixed, moving, 1, fixed_trust=trust, smoothing=0), trust * bare)
    smoothed = cost_volume(fixed, moving, 1, fixed_trust=trust, smoothing=1)
    assert torch.allclose(smoothed, box_mean(trust * bare, 1))
    assert float(smoothed[..., 5].min()) > 0 and float(smoothed[..., 6:].abs().max()) == 0
