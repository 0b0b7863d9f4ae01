"""The Laplacian and its inverse against sparse matrices, closed forms and known frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.fft
import scipy.sparse as sparse
import torch
from scipy.sparse.linalg import spsolve

from DeepRegistrationLib.ops import poisson
from DeepRegistrationLib.ops.poisson import (
    BOUNDARIES,
    FIXED,
    FREE,
    PERIODIC,
    apply_function,
    eigenvalues,
    fast_size,
    from_frequencies,
    laplacian,
    solve_poisson,
    to_frequencies,
)

#: shape ([Z,] Y, X) and spacing x, y[, z]
CASES = [((6, 9), (0.7, 2.0)), ((5, 6, 7), (1.0, 0.5, 3.0)), ((4, 4, 1), (1.0, 2.0, 1.5))]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def second_differences(n: int, h: float, boundary: str) -> sparse.csr_matrix:
    matrix = sparse.lil_matrix((n, n))
    for i in range(n):
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                matrix[i, j] += 1
            elif boundary == PERIODIC:
                matrix[i, j % n] += 1
            elif boundary == FREE:
                matrix[i, i] += 1
        matrix[i, i] -= 2
    return (matrix / h**2).tocsr()


def sparse_laplacian(shape: Sequence[int], spacing: Sequence[float], boundary: str) -> sparse.csr_matrix:
    """On values in the order of a tensor ([Z,] Y, X)."""
    total = sparse.csr_matrix((math.prod(shape),) * 2)
    for axis, n in enumerate(shape):
        line = second_differences(n, spacing[len(shape) - 1 - axis], boundary)
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        total = total + sparse.kron(sparse.kron(sparse.eye(before), line), sparse.eye(after))
    return total.tocsr()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_laplacian_is_the_sparse_matrix(shape: tuple[int, ...], spacing: tuple[float, ...], boundary: str) -> None:
    values = noise(2, *shape)
    wanted = sparse_laplacian(shape, spacing, boundary) @ values.reshape(2, -1).numpy().T
    assert np.allclose(laplacian(values, spacing, boundary).reshape(2, -1).numpy().T, wanted)


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_fixed_boundary_gives_the_sparse_solution(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    source = noise(3, *shape)
    wanted = spsolve(sparse_laplacian(shape, spacing, FIXED).tocsc(), source.reshape(3, -1).numpy().T)
    found = solve_poisson(source, spacing).reshape(3, -1).numpy().T
    assert np.allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("power", [1, 2])
def test_shifted_operator_gives_the_sparse_solution(boundary: str, power: int) -> None:
    """(Laplacian - shift)^power, a Green's operator of smooth deformations."""
    shape, spacing = CASES[1]
    source = noise(1, *shape, seed=1)
    matrix = sparse_laplacian(shape, spacing, boundary) - 0.3 * sparse.eye(math.prod(shape))
    wanted = source.reshape(-1).numpy()
    for _ in range(power):
        wanted = spsolve(matrix.tocsc(), wanted)
    found = solve_poisson(source, spacing, boundary, shift=0.3, power=power).reshape(-1).numpy()
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("boundary", [FREE, PERIODIC])
@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_without_a_fixed_boundary_means_are_left_out(
    shape: tuple[int, ...], spacing: tuple[float, ...], boundary: str
) -> None:
    source = noise(2, *shape) + 5
    u = solve_poisson(source, spacing, boundary)
    axes = tuple(range(1, source.dim()))
    assert torch.allclose(laplacian(u, spacing, boundary), source - source.mean(dim=axes, keepdim=True), atol=1e-5)
    assert torch.allclose(u.mean(dim=axes), torch.zeros(2, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
def test_transforms_are_orthonormal_and_diagonalise_the_laplacian(boundary: str, n: int) -> None:
    unit = torch.eye(n, dtype=torch.float64)
    basis = to_frequencies(unit, boundary)
    assert torch.allclose(basis.T @ basis, unit, atol=1e-12)
    assert torch.allclose(from_frequencies(basis, boundary), unit, atol=1e-12)
    operator = laplacian(unit, (0.8,), boundary)
    diagonal = torch.diag(eigenvalues((n,), (0.8,), boundary).double())
    assert torch.allclose(basis.T @ operator @ basis, diagonal, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_long_axes_by_fourier_transforms_give_the_same(
    boundary: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = noise(2, 3, n)
    short = to_frequencies(values, boundary)
    monkeypatch.setattr(poisson, "_MATRIX", 0)
    assert torch.allclose(to_frequencies(values, boundary), short, atol=1e-12)
    assert torch.allclose(from_frequencies(short, boundary), values, atol=1e-12)


def test_sine_and_cosine_transforms_agree_with_scipy() -> None:
    values = noise(2, 5, 8)
    sine = scipy.fft.dstn(values.numpy(), type=1, axes=(1, 2), norm="ortho")
    cosine = scipy.fft.dctn(values.numpy(), type=2, axes=(1, 2), norm="ortho")
    assert np.allclose(to_frequencies(values, FIXED).numpy(), sine)
    assert np.allclose(to_frequencies(values, FREE).numpy(), cosine)


def test_solution_of_a_smooth_source_converges_to_the_closed_form() -> None:
    """u = sin(pi x / a) sin(2 pi y / b) on a 30 x 20 mm plate: an error of second order in the spacing."""
    a, b = 30.0, 20.0
    errors = []
    for n in (15, 31, 63):
        h = a / (n + 1), b / (n + 1)
        x = (torch.arange(n, dtype=torch.float64) + 1)[None] * h[0]
        y = (torch.arange(n, dtype=torch.float64) + 1)[:, None] * h[1]
        u = torch.sin(math.pi * x / a) * torch.sin(2 * math.pi * y / b)
        source = -(math.pi**2) * (1 / a**2 + 4 / b**2) * u
        errors.append(float((solve_poisson(source[None], h)[0] - u).abs().max()))
    assert errors[0] < 0.02
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.1)
    assert errors[2] == pytest.approx(errors[1] / 4, rel=0.1)


def test_parabola_is_met_exactly() -> None:
    """u'' = 2 with u = 0 at both ends: second differences make no error on parabolas."""
    n, h = 9, 0.5
    x = (torch.arange(n) + 1) * h
    u = solve_poisson(torch.full((1, n), 2.0), (h,))[0]
    assert torch.allclose(u, x * (x - (n + 1) * h), atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("longest", [0, 320])
def test_gradients_flow_through(boundary: str, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poisson, "_MATRIX", longest)
    source = noise(1, 3, 4, 5).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda s: solve_poisson(s, (1.0, 2.0, 0.5), boundary, shift=0.1), source)


def test_any_function_of_the_laplacian() -> None:
    """exp(t Laplacian) is diffusion: two short times make a long one, and a mean is kept."""
    values = noise(1, 12, 10)
    once = apply_function(values, (1.0, 2.0), lambda e: torch.exp(2.0 * e), FREE)
    twice = values
    for _ in range(2):
        twice = apply_function(twice, (1.0, 2.0), torch.exp, FREE)
    assert torch.allclose(once, twice, atol=1e-5)
    assert float(once.mean()) == pytest.approx(float(values.mean()), abs=1e-6)
    assert float(once.std()) < 0.5 * float(values.std())


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_inputs_stay_and_types_are_kept(boundary: str) -> None:
    source = noise(2, 6, 5).float()
    before = source.clone()
    assert solve_poisson(source, (1.0, 1.0), boundary).dtype == torch.float32
    assert torch.equal(source, before)


def test_fast_sizes() -> None:
    assert [fast_size(n) for n in (1, 7, 311)] == [1, 7, 311]
    assert [fast_size(n) for n in (321, 323, 360)] == [323, 323, 374]  # n + 1 = 324, 324, 375
    assert fast_size(321, FREE) == 324
    assert all(fast_size(n) >= n for n in range(1, 700))


@pytest.mark.parametrize("changes", [{"boundary": "open"}, {"shift": -1.0}, {"power": 0}])
def test_what_cannot_be_meant_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        solve_poisson(torch.zeros(1, 4, 4), (1.0, 1.0), **changes)  # type: ignore[arg-type]
