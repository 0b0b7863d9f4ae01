"""Box mean and maximum against loops over every box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.box import box_maximum, box_mean, box_minimum

SHAPES = [(5, 6), (4, 5, 3), (2, 5, 6), (1, 1, 4), (2, 2)]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def boxes(values: torch.Tensor, radii: list[int]) -> dict[tuple[int, ...], torch.Tensor]:
    """Voxel -> (C, voxels of its box that exist)."""
    return {
        x: values[(slice(None), *(slice(max(0, i - r), i + r + 1) for i, r in zip(x, radii, strict=True)))].flatten(1)
        for x in np.ndindex(*values.shape[1:])
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 2, 7])
def test_every_box(shape: tuple[int, ...], radius: int) -> None:
    values = noise(2, *shape)
    before = values.clone()
    mean, high, low = box_mean(values, radius), box_maximum(values, radius), box_minimum(values, radius)
    for x, box in boxes(values, [radius] * len(shape)).items():
        assert torch.allclose(mean[(slice(None), *x)], box.mean(dim=1))
        assert torch.equal(high[(slice(None), *x)], box.amax(dim=1))
        assert torch.equal(low[(slice(None), *x)], box.amin(dim=1))
    assert torch.equal(values, before)


def test_radius_of_each_axis() -> None:
    values = noise(1, 4, 5, 6)
    found = box_maximum(values, (0, 1, 2))
    for x, box in boxes(values, [0, 1, 2]).items():
        assert float(found[(0, *x)]) == float(box.max())


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4)])
def test_gradient_of_the_mean(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(lambda v: box_mean(v, 1), (noise(2, *shape).requires_grad_(),))
