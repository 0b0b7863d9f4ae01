"""Cubic B-splines against scipy and against what every B-spline obeys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from DeepRegistrationLib.ops.splines import basis, evaluate, fit, knot_count, linear_basis

CASES = [(20, 4.0), (17, 2.5), (9, 3.7), (5, 8.0), (1, 4.0), (12, 1.0)]


def positions(length: int) -> torch.Tensor:
    return torch.linspace(0, length - 1, 41)


def knots_at(length: int, spacing: float) -> torch.Tensor:
    """The first knot lies one spacing before voxel 0."""
    return (torch.arange(knot_count(length, spacing)) - 1) * spacing


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("length", "spacing"), CASES)
def test_weights_are_those_of_scipy(length: int, spacing: float) -> None:
    found = basis(positions(length), length, spacing).numpy()
    for k, centre in enumerate(knots_at(length, spacing).numpy()):
        element = BSpline.basis_element(centre + spacing * np.arange(-2, 3), extrapolate=False)
        np.testing.assert_allclose(found[:, k], np.nan_to_num(element(positions(length).numpy())), atol=1e-5)


@pytest.mark.parametrize(("length", "spacing"), CASES)
def test_weights_add_up_to_one(length: int, spacing: float) -> None:
    weights = basis(positions(length), length, spacing)
    assert torch.allclose(weights.sum(dim=1), torch.ones(41), atol=1e-6)
    assert float(weights.min()) >= 0
    # positions half a voxel outside are asked for where grids share their edges
    outside = basis(torch.tensor([-0.5, length - 0.5]), length, spacing)
    assert torch.allclose(outside.sum(dim=1), torch.ones(2), atol=1e-6)


@pytest.mark.parametrize(("length", "spacing"), CASES)
def test_linear_coefficients_give_the_linear_function(length: int, spacing: float) -> None:
    weights = basis(positions(length), length, spacing)
    assert torch.allclose(weights @ knots_at(length, spacing), positions(length), atol=1e-4)


def test_evaluate_is_the_sum_over_all_knots() -> None:
    coefficients = random(2, 5, 6, 7)
    bases = [random(p, k, seed=p) for p, k in ((3, 5), (8, 6), (4, 7))]
    expected = torch.einsum("cijk,zi,yj,xk->czyx", coefficients, *bases)
    assert torch.allclose(evaluate(coefficients, bases), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(14, 17), (9, 14, 11)])
def test_fit_finds_the_coefficients_again(shape: tuple[int, ...]) -> None:
    """Twice as many positions as knots settle all of them: the spline is reproduced."""
    spacing = 3.0
    places = [torch.linspace(0, n - 1, 2 * n) for n in shape]
    bases = [basis(p, n, spacing) for p, n in zip(places, shape, strict=True)]
    coefficients = random(2, *[knot_count(n, spacing) for n in shape])
    values = evaluate(coefficients, bases)
    again = fit(values, bases, stiffness=1e-9)
    assert float((evaluate(again, bases) - values).abs().max()) < 1e-3
    assert float((evaluate(fit(values, bases), bases) - values).square().mean().sqrt()) < 0.02


def test_fit_holds_constants_exactly_also_outside_the_image() -> None:
    bases = [basis(torch.linspace(0, 9, 7), 10, 4.0)] * 2
    found = fit(torch.full((1, 7, 7), 2.5), bases)
    assert torch.allclose(found, torch.full_like(found, 2.5), atol=1e-4)


def test_fit_is_a_least_squares_answer_where_knots_are_few() -> None:
    """One axis; the normal equations with the weight on neighbouring coefficients, as the docstring has them."""
    b = basis(torch.linspace(0, 29, 60), 30, 6.0).double().numpy()
    values = random(2, 60).double().numpy()
    stiffness = 0.3
    d = np.diff(np.eye(b.shape[1]), axis=0)
    stacked = np.vstack([b, np.sqrt(stiffness) * d])
    target = np.hstack([values, np.zeros((2, len(d)))])
    expected = np.linalg.lstsq(stacked, target.T, rcond=None)[0].T
    found = fit(torch.from_numpy(values).float(), [torch.from_numpy(b).float()], stiffness)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("count", "spacing"), [(6, 1.0), (4, 2.5), (2, 3.0), (1, 1.0)])
def test_linear_weights_are_those_of_numpy(count: int, spacing: float) -> None:
    nodes = random(count).numpy()
    at = torch.linspace(-2, count * spacing + 2, 37)
    expected = np.interp(at.numpy(), np.arange(count) * spacing, nodes)
    np.testing.assert_allclose(linear_basis(at, count, spacing).numpy() @ nodes, expected, atol=1e-5)
