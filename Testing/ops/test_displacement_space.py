"""Principal components of patches against the eigenvectors of the whole covariance, mirror images included."""

from __future__ import annotations

import itertools

import pytest
import torch

from DeepRegistrationLib.ops.correlation import displacement_window
from DeepRegistrationLib.ops.displacement_space import DisplacementSpace, PatchStatistics, block_size, folded, unfolded


def patches(count: int, r: int, d: int, seed: int = 0) -> torch.Tensor:
    """Bowls around random displacements, and noise."""
    generator = torch.Generator().manual_seed(seed)
    window = displacement_window(r, d)
    centre = 0.5 * r * torch.randn(count, 1, d, generator=generator) + 1.0
    bowl = 1 - torch.exp(-(window - centre).square().sum(dim=-1) / (r + 1))
    return 2 * bowl + 0.2 * torch.randn(bowl.shape, generator=generator) + 3


def mirrored(values: torch.Tensor, r: int, d: int) -> torch.Tensor:
    images = values.reshape(-1, *(2 * r + 1,) * d)
    ways = itertools.product((False, True), repeat=d)
    return torch.cat([images.flip([k + 1 for k in range(d) if way[k]]) for way in ways]).reshape(-1, values.shape[1])


def learned(values: torch.Tensor, r: int, d: int, components: int) -> DisplacementSpace:
    statistics = PatchStatistics(r, d)
    for part in values.split(70):
        statistics.add(part)
    return statistics.space(components)


@pytest.mark.parametrize(("r", "d"), [(3, 2), (2, 3)])
def test_against_the_whole_covariance(r: int, d: int) -> None:
    values, components = patches(300, r, d), 12
    space = learned(values, r, d, components)
    every = mirrored(values, r, d).double()
    mean = every.mean(dim=0)
    variances, directions = torch.linalg.eigh((every - mean).T @ (every - mean) / len(every))
    assert torch.allclose(space.variances.double(), variances.flip(0)[:components], rtol=1e-3)
    assert space.whole == pytest.approx(float(variances.sum()), rel=1e-4)
    # where neighbouring variances differ the projections are the same
    best = directions.flip(1)[:, :components]
    wanted = mean + (values.double() - mean) @ best @ best.T
    assert torch.allclose(space.decode(space.encode(values)).double(), wanted, atol=2e-3)


@pytest.mark.parametrize(("r", "d"), [(3, 2), (2, 3)])
def test_components_are_orthonormal_and_all_of_them_lose_nothing(r: int, d: int) -> None:
    values, k = patches(200, r, d), (2 * r + 1) ** d
    space = learned(values, r, d, k)
    assert torch.allclose(space.decode(space.encode(values)), values, atol=1e-3)
    rows = space.decode(torch.eye(k)) - space.decode(torch.zeros(1, k))
    assert torch.allclose(rows @ rows.T, torch.eye(k), atol=1e-4)
    assert space.basis.shape == (k, block_size(r, d))


def test_more_components_keep_more_and_the_first_are_the_reduced_space() -> None:
    values = patches(400, 4, 3)
    space, other = learned(values, 4, 3, 60), patches(50, 4, 3, seed=1)
    losses = []
    for m in (10, 30, 60):
        small = space.reduced(m)
        assert torch.allclose(small.encode(other), space.encode(other)[:, :m], atol=1e-5)
        losses.append(float((small.decode(small.encode(other)) - other).square().mean()))
    assert losses[0] > 1.1 * losses[1] > 1.1 * losses[2]
    kept = float(space.variances.sum()) / space.whole
    assert 0.5 < kept < 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flips_go_through(axis: int) -> None:
    values, r = patches(200, 3, 3), 3
    space = learned(values, r, 3, 40)

    def flipped(v: torch.Tensor) -> torch.Tensor:
        return v.reshape(-1, 7, 7, 7).flip(axis + 1).reshape(len(v), -1)

    out = space.decode(space.encode(flipped(values)))
    assert torch.allclose(out, flipped(space.decode(space.encode(values))), atol=1e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_folding_is_undone(d: int) -> None:
    values = patches(5, 3, d)
    assert torch.allclose(unfolded(folded(values, 3, d), 3, d), values, atol=1e-5)
    assert float(folded(values, 3, d).norm()) == pytest.approx(float(values.norm()), rel=1e-5)


def test_half_precision_costs_little() -> None:
    values = patches(300, 4, 3)
    space = learned(values, 4, 3, 50)
    half = DisplacementSpace(4, 3, space.mean.half(), space.basis.half(), space.blocks, space.variances, space.whole)
    a, b = space.decode(space.encode(values)), half.decode(half.encode(values))
    assert b.dtype == torch.float32 and float((a - b).abs().max()) < 0.01 * float(a.std())


def test_gradient() -> None:
    space = learned(patches(60, 2, 2), 2, 2, 6)
    double = DisplacementSpace(2, 2, space.mean.double(), space.basis.double(), space.blocks, space.variances, 0.0)
    values = patches(3, 2, 2, seed=4).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: double.decode(double.encode(v)), values)


def test_bad_numbers() -> None:
    statistics = PatchStatistics(2, 2)
    with pytest.raises(ValueError, match="cannot be made"):
        statistics.space(3)
    statistics.add(patches(10, 2, 2))
    with pytest.raises(ValueError, match="cannot be made"):
        statistics.space(26)
