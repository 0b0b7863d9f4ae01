"""MIND at keypoints: sharp heat maps say what warping says, and the gradient knows the whole range."""

from __future__ import annotations

import itertools

import torch

from DeepRegistrationLib.losses.nonlocal_mind import nonlocal_mind, warped_mind


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _lattice(reach: int, d: int) -> torch.Tensor:
    every = itertools.product(range(-reach, reach + 1), repeat=d)
    return torch.tensor(list(every), dtype=torch.float64).flip(1)


def test_a_certain_heat_map_is_a_displacement() -> None:
    fixed, moving = _random(2, 3, 9, 8, 7), _random(2, 3, 9, 8, 7, seed=1)
    points = torch.tensor([[[3.0, 4, 4], [2, 3, 5]], [[4, 4, 4], [3, 5, 3]]], dtype=torch.float64)
    lattice = _lattice(2, 3)
    chosen = torch.tensor([[7, 60], [0, 124]])
    heat = torch.nn.functional.one_hot(chosen, len(lattice)).to(torch.float64)
    displacement = lattice[chosen]
    by_hand = 0.0
    for b, k in itertools.product(range(2), range(2)):
        x, y, z = (int(v) for v in points[b, k])
        i, j, h = (int(v) for v in points[b, k] + displacement[b, k])
        by_hand += float((fixed[b, :, z, y, x] - moving[b, :, h, j, i]).square().sum()) / 12
    assert abs(float(nonlocal_mind(fixed, moving, points, heat, lattice)) - by_hand) < 1e-12
    assert abs(float(warped_mind(fixed, moving, points, displacement)) - by_hand) < 1e-12


def test_an_even_heat_map_gives_the_mean_of_its_surroundings() -> None:
    fixed, moving = _random(1, 2, 7, 7), _random(1, 2, 7, 7, seed=1)
    points, lattice = torch.tensor([[[3.0, 3.0]]], dtype=torch.float64), _lattice(1, 2)
    heat = torch.full((1, 1, 9), 1 / 9, dtype=torch.float64)
    expected = (fixed[0, :, 3, 3] - moving[0, :, 2:5, 2:5].mean(dim=(1, 2))).square().mean()
    assert torch.allclose(nonlocal_mind(fixed, moving, points, heat, lattice), expected)


def test_gradients() -> None:
    fixed, moving = _random(1, 2, 7, 7), _random(1, 2, 7, 7, seed=1)
    points, lattice = 2 + 2 * _random(1, 3, 2, seed=2), 0.9 * _lattice(1, 2)
    logits = _random(1, 3, 9, seed=3).requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda y: nonlocal_mind(fixed, moving, points, torch.softmax(y, dim=2), lattice), (logits,)
    )
    shift = (0.3 + 0.2 * _random(1, 3, 2, seed=4)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda u: warped_mind(fixed, moving, points, u), (shift,))


def test_a_far_target_is_seen_by_the_heat_map_only() -> None:
    """A bright spot five cells away: the gradient of the warping loss is zero there, that of the heat map points to
    it."""
    fixed, moving = torch.zeros(1, 1, 15, 15), torch.zeros(1, 1, 15, 15)
    fixed[0, 0, 7, 7] = 1
    moving[0, 0, 7, 12] = 1
    points, lattice = torch.tensor([[[7.0, 7.0]]]), _lattice(5, 2).float()
    shift = torch.zeros(1, 1, 2, requires_grad=True)
    warped_mind(fixed, moving, points, shift).backward()
    assert shift.grad is not None and not shift.grad.any()
    logits = torch.zeros(1, 1, len(lattice), requires_grad=True)
    nonlocal_mind(fixed, moving, points, torch.softmax(logits, dim=2), lattice).backward()
    assert logits.grad is not None
    best = int((-logits.grad[0, 0]).argmax())
    assert lattice[best].tolist() == [5.0, 0.0]
