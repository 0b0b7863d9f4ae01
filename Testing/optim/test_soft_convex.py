"""The softmin form: its formula by brute force, its gradients by finite differences, its limit, and planted shifts."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.correlation import cost_volume, displacement_window
from DeepRegistrationLib.optim.convex import coupled_convex
from DeepRegistrationLib.optim.soft_convex import soft_cost_volume, soft_coupled_convex, softmin_displacement


def features(*shape: int, seed: int = 0, channels: int = 4, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn((channels, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def shares(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 6), (5, 4, 6)])
@pytest.mark.parametrize("partly", [False, True])
def test_the_cost_is_that_of_the_search(shape: tuple[int, ...], partly: bool) -> None:
    fixed, moving = features(*shape, dtype=torch.float32), features(*shape, seed=1, dtype=torch.float32)
    known, trust = ((shares(*shape, seed=s) > 0.3).float() if partly else None for s in (2, 3))
    soft = soft_cost_volume(fixed, moving, 2, known, trust)
    assert torch.allclose(soft, cost_volume(fixed, moving, 2, known, trust), atol=1e-4)


def test_the_mean_displacement_by_its_formula() -> None:
    cost, field = shares(9, 3, 4), features(3, 4, channels=2)
    window = displacement_window(1, 2).double()
    found = softmin_displacement(cost, field, window, 0.3, 4.0)
    for y in range(3):
        for x in range(4):
            away = (window - field[:, y, x]).square().sum(dim=1)
            weight = torch.exp(-4.0 * (cost[:, y, x] + 0.3 * away))
            mean = (weight[:, None] * window).sum(dim=0) / weight.sum()
            assert torch.allclose(found[:, y, x], mean)


def test_gradient_of_the_mean_displacement() -> None:
    cost, field = shares(9, 3, 4).requires_grad_(), features(3, 4, channels=2).requires_grad_()
    window = displacement_window(1, 2).double()
    assert torch.autograd.gradcheck(lambda c, u: softmin_displacement(c, u, window, 0.4, 3.0), (cost, field))


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 3)])
def test_gradient_of_the_cost(shape: tuple[int, ...]) -> None:
    fixed, moving = features(*shape, channels=2).requires_grad_(), features(*shape, seed=1, channels=2).requires_grad_()
    known, trust = shares(*shape, seed=2), shares(*shape, seed=3)
    assert torch.autograd.gradcheck(lambda f, m: soft_cost_volume(f, m, 1, known, trust), (fixed, moving))


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 3)])
def test_gradient_of_the_whole(shape: tuple[int, ...]) -> None:
    fixed, moving = features(*shape, channels=2).requires_grad_(), features(*shape, seed=1, channels=2).requires_grad_()
    known = shares(*shape, seed=2)

    def solve(f: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return soft_coupled_convex(f, m, 1, known, None, coupling=(0.05, 0.3), sharpness=2.0)

    assert torch.autograd.gradcheck(solve, (fixed, moving))


@pytest.mark.parametrize("shape", [(16, 17), (9, 10, 11)])
def test_the_sharper_the_closer_to_the_hard_form(shape: tuple[int, ...]) -> None:
    fixed, moving = (features(*shape, seed=s, dtype=torch.float32) for s in (0, 1))
    hard = coupled_convex(fixed, moving, 2)
    apart = [
        float((soft_coupled_convex(fixed, moving, 2, sharpness=b) - hard).abs().mean()) for b in (0.3, 3.0, 1e5)
    ]
    assert apart[0] > 2 * apart[1] > 20 * apart[2]
    assert apart[2] < 1e-3


@pytest.mark.parametrize("shift", [(2, -1), (1, 0, -2)])
def test_a_shift_is_found(shift: tuple[int, ...]) -> None:
    shape = (14, 15) if len(shift) == 2 else (10, 11, 12)
    moving = features(*shape, channels=6, dtype=torch.float32)
    fixed = torch.roll(moving, [-s for s in shift[::-1]], dims=tuple(range(1, moving.dim())))
    field = soft_coupled_convex(fixed, moving, 2)
    inner = (slice(None), *[slice(4, -4)] * len(shift))
    wanted = torch.tensor(shift).float().reshape(-1, *[1] * len(shift))
    assert float((field - wanted)[inner].abs().max()) < 0.05


def test_a_margin_stands_for_what_lies_around() -> None:
    """A cut-out with its surroundings gives, away from its edge, what the whole gives."""
    fixed, moving = (features(20, 22, seed=s, dtype=torch.float32) for s in (0, 1))
    known = torch.ones(20, 22)
    known[:, 12:] = 0
    part = (slice(None), slice(4, 16), slice(3, 18))
    wide = (slice(None), slice(2, 18), slice(1, 20))
    whole = soft_cost_volume(fixed, moving, 2, known)
    cut = soft_cost_volume(fixed[part], moving[wide], 2, known[wide[1:]], margin=True)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert torch.allclose(whole[part][inner], cut[inner], atol=1e-5)
    field = soft_coupled_convex(fixed[part], moving[wide], 2, known[wide[1:]], margin=True)
    assert field.shape == (2, 12, 15)


def test_features_can_be_learned_through_it() -> None:
    """Two channels, one of them misleading: descending on the error of the displacement turns that one down."""
    shift = (1, -1)
    moving = features(12, 12, channels=2, dtype=torch.float32)
    fixed = torch.roll(moving, [1, -1], dims=(1, 2))
    fixed[1] = torch.roll(moving[1], [-2, 2], dims=(0, 1))
    scale = torch.ones(2, 1, 1, requires_grad=True)
    wanted = torch.tensor(shift).float().reshape(-1, 1, 1)
    optimiser = torch.optim.Adam([scale], lr=0.1)
    errors = []
    for _ in range(25):
        field = soft_coupled_convex(scale * fixed, scale * moving, 2, coupling=(0.03, 0.3), sharpness=3.0)
        error = (field - wanted)[:, 3:-3, 3:-3].square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.3 * errors[0]
    assert abs(float(scale.detach()[1])) < 0.5 * abs(float(scale.detach()[0]))
