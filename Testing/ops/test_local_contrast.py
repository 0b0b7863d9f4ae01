"""Locally normalised intensity: its formula, what it does not see, and what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.local_contrast import local_contrast


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def box_by_loops(image: np.ndarray, radius: int) -> np.ndarray:
    out = np.empty(image.shape)
    for x in np.ndindex(*image.shape):
        out[x] = image[tuple(slice(max(0, i - radius), i + radius + 1) for i in x)].mean()
    return out


@pytest.mark.parametrize(("shape", "radius", "floor"), [((7, 9), 2, 0.5), ((5, 6, 7), 1, 0.5), ((5, 6, 7), 2, 0.1)])
def test_every_voxel_has_the_value_of_the_formula(shape: tuple[int, ...], radius: int, floor: float) -> None:
    image = noise(*shape) + 40
    i = image.double().numpy()
    mean = box_by_loops(i, radius)
    variance = box_by_loops(i**2, radius) - mean**2
    expected = (i - mean) / np.sqrt(variance + floor**2 * variance.mean())
    np.testing.assert_allclose(local_contrast(image, radius, floor), expected, atol=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(4.0, 0.0), (0.01, 0.0), (1.0, -1000.0), (30.0, 500.0)])
def test_gain_and_offset_do_not_matter(gain: float, offset: float) -> None:
    image = noise(8, 9, 10)
    assert torch.allclose(local_contrast(gain * image + offset, 2), local_contrast(image, 2), atol=2e-3)
    assert torch.allclose(local_contrast(-image, 2), -local_contrast(image, 2), atol=1e-5)


def test_contrast_that_fades_across_the_image_is_evened_out() -> None:
    texture = noise(40, 60)
    fading = texture * torch.linspace(0.5, 8, 60)
    found = local_contrast(fading, 3, floor=0.05)
    left, right = found[:, 5:20].std(), found[:, 40:55].std()
    assert 0.8 < float(left / right) < 1.25


def test_noise_in_flat_ground_is_not_blown_up() -> None:
    image = torch.cat([noise(30, 30), 0.01 * noise(30, 30, seed=1)], dim=1)
    found = local_contrast(image, 3)
    assert float(found[:, 45:].abs().max()) < 0.15
    assert float(found[:, :15].std()) > 0.5


def test_squared_difference_is_local_cross_correlation() -> None:
    """With no floor, |n_F - n_M|^2 averages to 2 (1 - LNCC) over an image of one texture."""
    a, b = noise(60, 60), noise(60, 60, seed=1)
    mixed = 0.8 * a + 0.6 * b  # correlation 0.8
    difference = local_contrast(a, 4, 1e-3) - local_contrast(5 * mixed + 3, 4, 1e-3)
    assert float(difference.square().mean()) == pytest.approx(2 * (1 - 0.8), abs=0.04)


def test_flat_image_is_zero() -> None:
    assert float(local_contrast(torch.full((6, 7, 8), -1024.0), 2).abs().max()) == 0


def test_floor_is_set_by_what_counts() -> None:
    image = noise(12, 30)
    loud = image.clone()
    loud[:, 20:] *= 1000
    counts = torch.zeros(12, 30)
    counts[:, :14] = 1
    found, expected = (local_contrast(i, 2, counts=counts)[:, :14] for i in (loud, image))
    assert torch.allclose(found, expected, atol=0.02)
    assert float(local_contrast(loud, 2)[:, :14].std()) < 0.1 * float(expected.std())
    assert torch.allclose(
        local_contrast(image, 2, counts=torch.full((12, 30), 0.5)), local_contrast(image, 2), atol=1e-5
    )


def test_variance_beside_metal_is_accurate() -> None:
    tissue = 20 * noise(30, 200)
    image = tissue.clone()
    image[:, :20] = 30000
    counts = torch.ones(30, 200)
    counts[:, :40] = 0
    expected = local_contrast(tissue, 3, counts=counts)[:, 40:]
    assert torch.allclose(local_contrast(image, 3, counts=counts)[:, 40:], expected, atol=0.05)
