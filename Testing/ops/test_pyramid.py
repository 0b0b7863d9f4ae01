"""Block averages: values, grid, and whole images worked through slab by slab."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.ops import pyramid
from DeepRegistrationLib.ops.pyramid import block_average, block_factors, pooled


def test_a_linear_image_keeps_its_values_at_the_new_centres() -> None:
    grid = Grid((21, 17, 13), (1.0, 1.5, 3.0), (5, -7, 2), [[0, -1, 0], [1, 0, 0], [0, 0, -1]])
    x = grid.world_points(dtype=torch.float64)
    image = Image((x @ torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))[None], grid)
    small = pooled(image, 4.0)
    expected = small.grid.world_points(dtype=torch.float64) @ torch.tensor(
        [0.3, -0.2, 0.1], dtype=torch.float64
    )
    assert np.allclose(small.data[0].numpy(), expected.numpy(), atol=1e-5)
    assert all(2.5 <= s <= 5.0 for s in small.grid.spacing)


def test_slabs_do_not_change_the_outcome(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    data = torch.randint(-1000, 3000, (2, 11, 9, 10), generator=torch.Generator().manual_seed(0)).short()
    whole = block_average(data, (3, 2, 2), (-200, 500))
    monkeypatch.setattr(pyramid, "_CHUNK", 1)
    assert torch.equal(block_average(data, (3, 2, 2), (-200, 500)), whole)
    clamped = data.float().clamp(-200, 500)
    assert torch.allclose(whole[1, 2, 3, 1], clamped[1, 4:6, 6:8, 3:6].mean())


def test_thin_axes_keep_voxels() -> None:
    grid = Grid((100, 7, 100), (1.0, 1.0, 1.0))
    assert block_factors(grid, 8.0, least=6) == (8, 1, 8)
    assert block_factors(grid, 0.1) == (1, 1, 1)
