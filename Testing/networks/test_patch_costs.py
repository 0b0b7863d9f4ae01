"""Costs of all displacements of a patch against looking at each of them."""

from __future__ import annotations

import itertools

import pytest
import torch

from DeepRegistrationLib.networks.patch_costs import PatchCosts
from DeepRegistrationLib.ops.correlation import displacement_window


@pytest.mark.parametrize(("half_width", "patch"), [(3, 1), (2, 0), (1, 2)])
def test_against_a_loop(half_width: int, patch: int) -> None:
    generator = torch.Generator().manual_seed(1)
    fixed, moving = torch.rand(4, 7, 8, 9, generator=generator), torch.rand(4, 7, 8, 9, generator=generator)
    cells = torch.tensor([[0, 0, 0], [8, 7, 6], [4, 3, 5], [1, 6, 2]])
    got = PatchCosts(half_width, patch)(fixed, moving, cells)

    def at(features: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        x, y, z = (int(p.clamp(0, n - 1)) for p, n in zip(place, (9, 8, 7), strict=True))
        return features[:, z, y, x]

    offsets = torch.tensor(list(itertools.product(range(-patch, patch + 1), repeat=3)))
    window = displacement_window(half_width, 3).long()
    for i, cell in enumerate(cells):
        for k in range(0, len(window), 7):
            terms = [(at(fixed, cell + o) - at(moving, cell + o + window[k])).square().mean() for o in offsets]
            if bool(((cell + offsets + window[k]) == (cell + offsets + window[k]).clamp(min=0)).all()):
                assert float(got[i, k]) == pytest.approx(float(torch.stack(terms).mean()), abs=1e-5)


def test_many_points_are_done_a_few_at_a_time_and_the_true_shift_costs_least() -> None:
    moving = torch.rand(6, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    fixed = moving.roll((-2, 1, 3), dims=(1, 2, 3))  # fixed(x) = moving(x + (-3, -1, 2))
    cells = torch.tensor(list(itertools.product((6, 7, 8, 9), repeat=3)))
    model = PatchCosts(4, 1)
    calls = []
    model.some.register_forward_hook(lambda *_: calls.append(1))
    costs = model(fixed, moving, cells)
    assert costs.shape == (64, 729) and len(calls) > 1
    best = displacement_window(4, 3)[costs.argmin(dim=1)]
    assert best.tolist() == [[-3.0, -1.0, 2.0]] * 64
    assert float(costs.amin(dim=1).abs().max()) < 1e-5
