"""Transforms and images whose tensors lie on another device than the points."""

from __future__ import annotations

import pytest
import torch

from core.grids import GRIDS, linear_map, noise, some_points, wavy
from DeepRegistrationLib.transforms import Composition, VelocityField


@pytest.mark.parametrize("name", ["oblique", "flat left-handed"])
def test_the_device_does_not_change_the_map(name: str, card: torch.device) -> None:
    grid = GRIDS[name]
    points, image = some_points(grid), noise(grid)
    velocity = VelocityField(wavy(grid, 1.0, 1).field, grid)
    both = Composition([wavy(grid, 1.0), linear_map(grid)])
    for here in (linear_map(grid), wavy(grid, 1.0), velocity, both):
        there = here.to(card)
        torch.testing.assert_close(there.apply(points), here.apply(points), atol=1e-4, rtol=0)
        narrow = points.float()
        torch.testing.assert_close(there.apply(narrow.to(card)).cpu(), here.apply(narrow), atol=1e-4, rtol=0)
        assert there.displacement(grid).device == there.device
        torch.testing.assert_close(there.displacement(grid).cpu(), here.displacement(grid), atol=1e-4, rtol=0)
        for source in (image, image.to(card)):
            moved = source.resampled(grid, there, outside=0.0)
            assert moved.data.device == source.data.device
            close = (moved.data.cpu() - image.resampled(grid, here, outside=0.0).data).abs() < 0.01
            assert float(close.float().mean()) > 0.99
