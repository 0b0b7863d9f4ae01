"""Transforms and images whose tensors lie on another device than the points."""

from __future__ import annotations

import pytest
import torch

from core.grids import GRIDS, linear_map, noise, some_points, wavy
from DeepRegistrationLib.transforms import Composition, VelocityField

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this computer has no CUDA device")


@pytest.mark.parametrize("name", ["oblique", "flat left-handed"])
def test_the_device_does_not_change_the_map(name):
    grid = GRIDS[name]
    points, image = some_points(grid), noise(grid)
    velocity = VelocityField(wavy(grid, 1.0, 1).field, grid)
    both = Composition([wavy(grid, 1.0), linear_map(grid)])
    for here in (linear_map(grid), wavy(grid, 1.0), velocity, both):
        there = here.to("cuda")
        torch.testing.assert_close(there.apply(points), here.apply(points), atol=1e-4, rtol=0)
        torch.testing.assert_close(there.apply(points.cuda()).cpu(), here.apply(points), atol=1e-4, rtol=0)
        assert there.displacement(grid).device == there.device
        torch.testing.assert_close(there.displacement(grid).cpu(), here.displacement(grid), atol=1e-4, rtol=0)
        for source in (image, image.to("cuda")):
            moved = source.resampled(grid, there, outside=0.0)
            assert moved.data.device == source.data.device
            close = (moved.data.cpu() - image.resampled(grid, here, outside=0.0).data).abs() < 0.01
            assert float(close.float().mean()) > 0.99
