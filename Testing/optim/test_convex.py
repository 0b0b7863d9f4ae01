"""The discrete search finds planted shifts, says nothing where there is nothing to see, and both ways agree."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.sampling import sample_index
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.ops.correlation import cost_volume, displacement_window
from DeepRegistrationLib.optim.convex import coupled_convex, symmetrise

SHAPES = {2: (18, 20), 3: (12, 13, 14)}
INNER = {2: (slice(None), *[slice(4, -4)] * 2), 3: (slice(None), *[slice(4, -4)] * 3)}


def features(*shape: int, seed: int = 0, channels: int = 6) -> torch.Tensor:
    return torch.randn((channels, *shape), generator=torch.Generator().manual_seed(seed))


def shifted(moving: torch.Tensor, shift: tuple[int, ...]) -> torch.Tensor:
    """fixed with moving(x + shift) = fixed(x); components x, y[, z]."""
    dims = tuple(range(1, moving.dim()))
    return torch.roll(moving, [-s for s in shift[::-1]], dims=dims)


def column(vector: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(vector).reshape(-1, *[1] * len(vector)).float()


@pytest.mark.parametrize("shift", [(3, -1), (0, 2), (-2, 1, 3), (0, 0, -3), (1, 0, 0)])
def test_a_shift_is_found(shift: tuple[int, ...]) -> None:
    d = len(shift)
    moving = features(*SHAPES[d])
    field = coupled_convex(shifted(moving, shift), moving, 3)
    assert field.shape == (d, *SHAPES[d])
    assert float((field - column(shift))[INNER[d]].abs().max()) < 1e-5


def test_two_halves_that_move_apart_are_told_apart() -> None:
    moving = features(10, 10, 24)
    left, right = (-1, 0, 1), (2, 1, 0)
    fixed = shifted(moving, left)
    fixed[..., 12:] = shifted(moving, right)[..., 12:]
    field = coupled_convex(fixed, moving, 2)
    inner = (slice(None), slice(3, -3), slice(3, -3))
    assert float((field - column(left))[inner][..., 3:9].abs().max()) < 1e-5
    assert float((field - column(right))[inner][..., 15:21].abs().max()) < 1e-5


def test_noise_is_talked_out_of_its_outliers() -> None:
    """Many cells alone prefer a wrong displacement; together they agree on the right one."""
    shift = (2, -1)
    moving = features(30, 30, channels=3)
    fixed = shifted(moving, shift) + 0.9 * features(30, 30, seed=1, channels=3)
    alone = displacement_window(3, 2)[cost_volume(fixed, moving, 3, smoothing=0).argmin(dim=0)]
    together = coupled_convex(fixed, moving, 3)
    right = column(shift)
    assert float((alone.movedim(-1, 0) == right).all(dim=0).float().mean()) < 0.5
    assert float((together - right)[:, 4:-4, 4:-4].norm(dim=0).max()) < 1.0


@pytest.mark.parametrize("shape", [(15, 16), (8, 9, 10)])
def test_flat_ground_stays_where_it_is(shape: tuple[int, ...]) -> None:
    assert float(coupled_convex(torch.ones(4, *shape), torch.ones(4, *shape), 3).abs().max()) == 0


def test_first_look_alone_is_the_cheapest_displacement() -> None:
    fixed, moving = features(9, 10), features(9, 10, seed=1)
    best = displacement_window(2, 2)[cost_volume(fixed, moving, 2).argmin(dim=0)]
    assert torch.allclose(coupled_convex(fixed, moving, 2, coupling=()), box_mean(best.movedim(-1, 0), 1), atol=1e-6)


def test_what_moving_does_not_know_does_not_matter() -> None:
    shift = (1, -2)
    moving = features(20, 30)
    fixed = shifted(moving, shift)
    known = torch.ones(20, 30)
    known[:, 20:] = 0
    garbage = moving.clone()
    garbage[..., 20:] = 9 * features(20, 10, seed=2)
    other = moving.clone()
    other[..., 20:] = fixed[..., 20:]  # what would tempt it to stay
    found = [coupled_convex(fixed, m, 3, known)[:, 4:-4] for m in (garbage, other)]
    assert torch.equal(*found)
    assert float((found[0] - column(shift))[..., 4:14].abs().max()) < 1e-5
    assert not torch.allclose(coupled_convex(fixed, other, 3)[:, 4:-4], found[0], atol=0.5)


def test_what_is_not_trusted_in_fixed_has_no_say() -> None:
    shift = (-1, 2)
    moving = features(20, 30)
    trust = torch.ones(20, 30)
    trust[:, 20:] = 0
    fixed = shifted(moving, shift)
    garbage = fixed.clone()
    garbage[..., 20:] = 9 * features(20, 10, seed=2)
    tempting = fixed.clone()
    tempting[..., 20:] = moving[..., 20:]
    found = [coupled_convex(f, moving, 3, None, trust)[:, 4:-4] for f in (garbage, tempting)]
    assert torch.equal(*found)
    # the trusted neighbours pull along what lies beside them; far off nothing moves
    assert float((found[0] - column(shift))[..., 4:20].abs().max()) < 1e-5
    assert float(found[0][..., -2:].norm(dim=0).max()) < float(column(shift).norm())


def test_constant_fields_meet_in_the_middle() -> None:
    forward, backward = column((2.0, 0.5)).expand(2, 9, 9), column((-1.0, 0.0)).expand(2, 9, 9)
    u, w = symmetrise(forward, backward)
    assert torch.allclose(u, column((1.5, 0.25)).expand(2, 9, 9), atol=1e-6)
    assert torch.allclose(w, -u, atol=1e-6)


@pytest.mark.parametrize("d", [2, 3])
def test_symmetrised_fields_undo_each_other(d: int) -> None:
    shape = (16,) * d
    axes = torch.meshgrid(*[torch.arange(16.0)] * d, indexing="ij")[::-1]
    window = torch.stack([torch.sin(a * torch.pi / 15) for a in axes]).prod(dim=0)  # nothing moves at the border
    forward = torch.stack([1.5 * window * torch.cos(0.3 * axes[k - 1]) for k in range(d)])
    backward = torch.stack([-1.0 * window * torch.cos(0.2 * axes[k]) for k in range(d)])

    def left(u: torch.Tensor, w: torch.Tensor) -> float:
        at = torch.stack([a + c for a, c in zip(axes, u, strict=True)], dim=-1)
        return float((u + sample_index(w, at, outside=None)).norm(dim=0).max())

    u, w = symmetrise(forward, backward)
    assert u.shape == (d, *shape)
    assert left(forward, backward) > 1.0
    assert left(u, w) < 0.03 and left(w, u) < 0.03
    assert float(u.norm(dim=0).max()) > 0.5
