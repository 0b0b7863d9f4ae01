"""MIND-SSC against its formula, voxel by voxel, and what it must not see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.ops.mind import mind_ssc

SHAPES = {2: (7, 9), 3: (5, 6, 7)}


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pairs(d: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Unit neighbours sqrt(2) apart."""
    units = [sign * np.eye(d, dtype=int)[k] for k in range(d) for sign in (-1, 1)]
    return [(p, q) for p, q in itertools.combinations(units, 2) if np.sum((p - q) ** 2) == 2]


def by_loops(image: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    """The features of every voxel (channels, *shape), from the words of the docstring; edges are held."""

    def value(at: np.ndarray) -> float:
        return float(image[tuple(np.clip(at, 0, np.array(image.shape) - 1))])

    d = image.ndim
    box = [np.array(o) for o in itertools.product(range(-radius, radius + 1), repeat=d)]
    s = np.empty((len(pairs(d)), *image.shape))
    for channel, (p, q) in enumerate(pairs(d)):
        for x in np.ndindex(*image.shape):
            s[(channel, *x)] = np.mean([(value(x + o + dilation * p) - value(x + o + dilation * q)) ** 2 for o in box])
    s -= s.min(axis=0)
    v = s.mean(axis=0)
    return np.exp(-s / np.clip(v, 0.001 * v.mean(), 1000 * v.mean()))


@pytest.mark.parametrize(("d", "radius", "dilation"), [(2, 1, 2), (2, 2, 1), (2, 1, 4), (3, 1, 1), (3, 1, 2)])
def test_every_voxel_has_the_value_of_the_formula(d: int, radius: int, dilation: int) -> None:
    image = noise(SHAPES[d])
    image[0] += 3  # a border unlike its surroundings, to tell held edges from others
    found = mind_ssc(image, radius, dilation).numpy()
    expected = by_loops(image.numpy().astype(np.float64), radius, dilation)
    # channels may stand in any order, the same at every voxel
    for channel in expected:
        assert min(np.abs(found - channel).reshape(len(found), -1).max(axis=1)) < 2e-4
    for channel in found:
        assert min(np.abs(expected - channel).reshape(len(found), -1).max(axis=1)) < 2e-4


@pytest.mark.parametrize(("d", "channels"), [(2, 4), (3, 12)])
def test_channels_and_range(d: int, channels: int) -> None:
    features = mind_ssc(noise(SHAPES[d]).to(torch.float64))
    assert features.shape == (channels, *SHAPES[d])
    assert features.dtype == torch.float32
    assert float(features.min()) >= 0
    # the most alike pair of every voxel has the feature 1
    assert torch.equal(features.amax(dim=0), torch.ones(SHAPES[d]))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(("gain", "offset"), [(-1.0, 0.0), (3.5, -200.0), (-0.02, 7.0)])
def test_contrast_may_be_turned_over_scaled_and_shifted(d: int, gain: float, offset: float) -> None:
    image = noise(SHAPES[d])
    assert torch.allclose(mind_ssc(gain * image + offset), mind_ssc(image), atol=2e-3)
    assert not torch.allclose(mind_ssc(image**3), mind_ssc(image), atol=0.1)


def test_features_go_along_with_the_image() -> None:
    image = noise((20, 24))
    moved = torch.roll(image, (2, -3), dims=(0, 1))
    inner = (slice(None), slice(6, 14), slice(6, 16))
    expected = torch.roll(mind_ssc(image), (2, -3), dims=(1, 2))
    assert torch.allclose(mind_ssc(moved)[inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 6), (4, 4, 4), (1, 5, 5)])
def test_flat_image_is_finite(shape: tuple[int, ...]) -> None:
    assert torch.equal(mind_ssc(torch.full(shape, 40.0)), torch.ones(4 if len(shape) == 2 else 12, *shape))


def test_scale_is_set_by_what_counts() -> None:
    """A voxel of little contrast is measured against the mean over the counted voxels only."""
    image = noise((12, 30))
    loud = image.clone()
    loud[:, 20:] *= 1e4
    counts = torch.zeros(12, 30)
    counts[:, :14] = 1
    left = (slice(None), slice(None), slice(0, 14))
    assert torch.allclose(mind_ssc(loud, counts=counts)[left], mind_ssc(image, counts=counts)[left], atol=1e-4)
    assert not torch.allclose(mind_ssc(loud)[left], mind_ssc(image)[left], atol=0.1)
    assert torch.allclose(mind_ssc(image, counts=torch.full((12, 30), 0.5)), mind_ssc(image), atol=1e-5)
