"""Roughness of linear and random fields."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.losses.regularity import diffusion


def test_a_linear_field_has_the_square_of_its_gradient() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (5, 6, 7)), indexing="ij")
    field = torch.stack([0.1 * x - 0.2 * z, 0.3 * y, torch.full_like(x, 4.0)])[None].repeat(2, 1, 1, 1, 1)
    assert float(diffusion(field)) == pytest.approx(0.1**2 + 0.2**2 + 0.3**2)


def test_brute_force_in_2d() -> None:
    field = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along_x = [(field[0, :, j, i + 1] - field[0, :, j, i]).square().sum() for j in range(3) for i in range(3)]
    along_y = [(field[0, :, j + 1, i] - field[0, :, j, i]).square().sum() for j in range(2) for i in range(4)]
    assert float(diffusion(field)) == pytest.approx(float(sum(along_x) / 9 + sum(along_y) / 8))


def test_an_axis_of_one_voxel_has_no_gradient() -> None:
    assert float(diffusion(torch.rand(1, 3, 1, 1, 1))) == 0.0
