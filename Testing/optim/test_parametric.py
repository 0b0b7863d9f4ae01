"""Spline displacements and their exponential against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from DeepRegistrationLib.ops.splines import knot_count
from DeepRegistrationLib.optim.parametric import FlowField, Positions, SplineField

CPU = torch.device("cpu")
SHAPES = [(17, 20), (9, 14, 11), (1, 12, 10)]


def random_spline(shape: tuple[int, ...], knots: float, size: float, seed: int = 0) -> SplineField:
    g = torch.Generator().manual_seed(seed)
    counts = [knot_count(n, knots) for n in shape]
    return SplineField(shape, knots, size * torch.randn((len(shape), *counts), generator=g))


def whole(shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.arange(n, dtype=torch.float32) for n in shape]


def as_points(positions: Positions) -> torch.Tensor:
    """(N, d) crossings, components x, y[, z], in the order of a flattened lattice."""
    return torch.stack(torch.meshgrid(*positions, indexing="ij")[::-1], dim=-1).reshape(-1, len(positions))


def linear_function(matrix: np.ndarray, middle: np.ndarray):  # type: ignore[no-untyped-def]
    """u(x) = matrix (x - middle), as `SplineField.fitted` wants it."""

    def value(positions: Positions) -> torch.Tensor:
        x = as_points(positions) - torch.from_numpy(middle).float()
        u = x @ torch.from_numpy(matrix).float().T
        return u.T.reshape(len(positions), *[len(p) for p in positions])

    return value


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("flow", [False, True])
def test_points_and_lattice_are_the_same_field(shape: tuple[int, ...], flow: bool) -> None:
    spline = random_spline(shape, 3.5, 1.0)
    field = FlowField(spline, 2.0) if flow else spline
    positions = [torch.linspace(0, n - 1, 7) for n in shape]
    lattice = field.lattice(positions)
    assert lattice.shape == (len(shape), *[7] * len(shape))
    points = field.points(as_points(positions))
    assert torch.allclose(points, lattice.reshape(len(shape), -1).T, atol=1e-4)
    assert float(points.abs().max()) > 0.1


@pytest.mark.parametrize("flow", [False, True])
def test_the_edge_is_held_for_points_outside(flow: bool) -> None:
    spline = random_spline((10, 12), 4.0, 1.0)
    field = FlowField(spline, 2.0) if flow else spline
    outside = torch.tensor([[-5.0, 3.0], [20.0, 4.0], [6.0, -1.0], [14.0, 30.0]])
    inside = torch.tensor([[0.0, 3.0], [11.0, 4.0], [6.0, 0.0], [11.0, 9.0]])
    assert torch.allclose(field.points(outside), field.points(inside), atol=1e-5)


@pytest.mark.parametrize("shape", [(17, 20), (9, 14, 11)])
def test_fitted_spline_has_the_values_it_was_made_from(shape: tuple[int, ...]) -> None:
    d = len(shape)
    matrix = np.arange(1.0, d * d + 1).reshape(d, d) / 20
    value = linear_function(matrix, np.full(d, 2.0))
    spline = SplineField.fitted(shape, 3.0, value, CPU)
    assert torch.allclose(spline.lattice(whole(shape)), value(whole(shape)), atol=0.05)


@pytest.mark.parametrize("shape", [(24, 30), (12, 16, 14)])
def test_finer_knots_hold_the_same_field(shape: tuple[int, ...]) -> None:
    coarse = random_spline(shape, 8.0, 2.0)
    fine = coarse.refined(4.0)
    assert fine.knots == 4.0
    assert fine.coefficients.shape[1:] == tuple(knot_count(n, 4.0) for n in shape)
    there = coarse.lattice(whole(shape))
    assert float((fine.lattice(whole(shape)) - there).abs().max()) < 0.05 * float(there.abs().max())
    assert coarse.refined(8.0) is coarse


def test_flow_of_a_constant_velocity_is_that_constant() -> None:
    spline = SplineField((8, 9), 4.0, torch.tensor([1.5, -2.5])[:, None, None].expand(2, 5, 6).contiguous())
    u = FlowField(spline, 2.0).lattice(whole((8, 9)))
    assert torch.allclose(u, torch.tensor([1.5, -2.5])[:, None, None].expand(2, 8, 9), atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_flow_of_a_linear_velocity_is_the_matrix_exponential(d: int) -> None:
    """v = A (x - m): a turn with some growth, followed where it stays inside the image."""
    shape = (21,) * d
    a = np.zeros((d, d))
    a[0, 1], a[1, 0] = -0.5, 0.5
    a += 0.1 * np.diag(np.arange(d) - 1)
    middle = np.full(d, 10.0)
    spline = SplineField.fitted(shape, 2.0, linear_function(a, middle), CPU)
    x = as_points([torch.arange(6.0, 15.0, 1.3)] * d)
    expected = (x.numpy() - middle) @ (expm(a) - np.eye(d)).T
    found = FlowField(spline, 2.0, steps=8).points(x)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(expected).max() > 1.5


@pytest.mark.parametrize("shape", [(30, 34), (16, 18, 20)])
def test_flow_forth_and_back_is_no_motion(shape: tuple[int, ...]) -> None:
    spline = random_spline(shape, 6.0, 3.0)
    forth = FlowField(spline, 1.0)
    back = FlowField(SplineField(shape, 6.0, -spline.coefficients), 1.0)
    x = as_points([torch.linspace(8, n - 9, 9) if n > 20 else torch.linspace(5, n - 6, 5) for n in shape])
    u = forth.points(x)
    assert float(u.norm(dim=1).mean()) > 1.0
    assert float((u + back.points(x + u)).norm(dim=1).max()) < 0.15


@pytest.mark.parametrize("shape", [(30, 34), (16, 18, 20)])
def test_flow_does_not_fold_where_the_spline_does(shape: tuple[int, ...]) -> None:
    spline = random_spline(shape, 4.0, 5.0)

    def least_determinant(u: torch.Tensor) -> float:
        d = len(shape)
        gradient = torch.stack(
            [torch.stack([torch.gradient(u[c], dim=d - 1 - k)[0] for k in range(d)], dim=-1) for c in range(d)], dim=-2
        )
        return float(torch.linalg.det(gradient + torch.eye(d)).min())

    assert least_determinant(spline.lattice(whole(shape))) < -0.5
    assert least_determinant(FlowField(spline, 1.0).lattice(whole(shape))) > 0


@pytest.mark.parametrize("flow", [False, True])
def test_every_coefficient_that_reaches_the_image_gets_a_gradient(flow: bool) -> None:
    spline = random_spline((10, 10), 3.0, 0.5)
    spline.coefficients.requires_grad_(True)
    field = FlowField(spline, 3.0) if flow else spline
    field.lattice(whole((10, 10))).square().sum().backward()
    gradient = spline.coefficients.grad
    assert gradient is not None and bool(torch.isfinite(gradient).all())
    assert float((gradient != 0).float().mean()) > 0.6
