"""Controls: what they prescribe happens, their gradients are those of finite differences, the boundary stays."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.ops.div_curl import curl, divergence
from DeepRegistrationLib.ops.poisson import FIXED, from_frequencies, laplacian
from DeepRegistrationLib.optim.div_curl_control import Control, DivCurlControl, ForceControl

SHAPES = {2: ((16, 21), (0.5, 0.8)), 3: ((10, 12, 14), (0.5, 0.8, 1.2))}
CPU = torch.device("cpu")


def make(kind: str, d: int) -> Control:
    shape, spacing = SHAPES[d]
    return ForceControl(shape, spacing, CPU) if kind == "force" else DivCurlControl(shape, spacing, CPU, 0.5)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inner_part(d: int) -> tuple[slice, ...]:
    return (slice(None), *(slice(1, -1),) * d)


every = pytest.mark.parametrize(("kind", "d"), [(k, d) for k in ("force", "div-curl") for d in (2, 3)])


@every
def test_identity_moves_nothing_and_costs_nothing(kind: str, d: int) -> None:
    control = make(kind, d)
    assert float(control.force(control.identity()).abs().max()) < 1e-6


@every
def test_outer_voxels_stay(kind: str, d: int) -> None:
    control = make(kind, d)
    u = control.displacement(control.force(control.identity() + noise(*control.identity().shape)))
    assert tuple(u.shape) == (d, *SHAPES[d][0])
    for axis in range(1, d + 1):
        assert not bool(u.narrow(axis, 0, 1).any()) and not bool(u.narrow(axis, u.shape[axis] - 1, 1).any())
    assert float(u.abs().max()) > 0.01


@pytest.mark.parametrize("d", [2, 3])
def test_force_is_the_laplacian_of_the_deformation(d: int) -> None:
    control = make("force", d)
    force = noise(*control.identity().shape)
    u = control.displacement(force)
    found = laplacian(u, SHAPES[d][1], FIXED)[inner_part(d)]
    assert torch.allclose(found, from_frequencies(force, FIXED), atol=1e-4)
    assert torch.allclose(control.force_of(u), force, atol=1e-4)
    # inner products of frequencies are those of the force
    assert float(force.square().sum()) == pytest.approx(float(found.square().sum()), rel=1e-4)


@pytest.mark.parametrize("d", [2, 3])
def test_adjoint_carries_the_gradient_from_the_displacement_to_the_force(d: int) -> None:
    control = make("force", d)
    force, slope = noise(*control.identity().shape), noise(d, *SHAPES[d][0], seed=1)
    along = float((control.displacement(force) * slope).sum())
    assert float((force * control.adjoint(slope)).sum()) == pytest.approx(along, rel=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_wanted_divergence_and_curl_come_about(d: int) -> None:
    """For f - 1 and g of a smooth field that is zero at the boundary: div u = f - 1, curl u = g."""
    shape, spacing = (60, 52) if d == 2 else (34, 30, 32), (1.0,) * d
    control = DivCurlControl(shape, spacing, CPU, 0.4)
    axes = [torch.linspace(0, 1, n) for n in shape]
    bumps = [torch.sin(torch.pi * a) ** 2 for a in axes]
    window = torch.ones(())
    for bump in bumps:
        window = window[..., None] * bump
    u = torch.stack([(k + 1.0) * window for k in range(d)])
    f, g = 1 + divergence(u, spacing)[inner_part(d)], curl(u, spacing)[inner_part(d)]
    q = torch.cat([(f - 0.4).sqrt(), g])
    assert float(f.min()) > 0.4
    assert torch.allclose(control.prescribed(q), f, atol=1e-5)
    found = control.displacement(control.force(q))
    assert float((found - u).abs().max()) < 0.02 * float(u.abs().max())


@pytest.mark.parametrize("smallest", [0.2, 0.8])
def test_wanted_determinant_has_its_lower_bound_by_construction(smallest: float) -> None:
    shape, spacing = SHAPES[2]
    control = DivCurlControl(shape, spacing, CPU, smallest)
    q = control.identity() + 3 * noise(*control.identity().shape)
    assert float(control.prescribed(q).min()) >= smallest


@every
def test_push_is_the_derivative_and_pull_its_adjoint(kind: str, d: int) -> None:
    control = make(kind, d)
    q = control.identity() + 0.1 * noise(*control.identity().shape)
    change = noise(*q.shape, seed=1)
    step = 1e-2
    difference = control.force(q + step * change) - control.force(q - step * change)
    pushed = control.push(q, change)
    assert torch.allclose(difference / (2 * step), pushed, atol=2e-4 * float(pushed.abs().max()) + 1e-5)
    slope = noise(*pushed.shape, seed=2)
    assert float((pushed * slope).sum()) == pytest.approx(float((change * control.pull(q, slope)).sum()), rel=1e-3)


@every
def test_preconditioner_is_symmetric_and_positive_and_exact_for_the_force(kind: str, d: int) -> None:
    """As conjugate gradients ask. For a constant stiffness the system of the force is diagonal."""
    control = make(kind, d)
    q, stiffness, weight = control.identity() + 0.1 * noise(*control.identity().shape), 3.0, 0.2
    gradient, other = noise(*q.shape, seed=3), noise(*q.shape, seed=4)
    found = control.precondition(q, gradient, stiffness, weight)
    assert float((other * found).sum()) == pytest.approx(
        float((gradient * control.precondition(q, other, stiffness, weight)).sum()), rel=1e-3
    )
    assert float((gradient * found).sum()) > 0
    if kind == "force":
        force = control.push(q, found)
        image = control.pull(q, stiffness * force / control.eigenvalues.square() + weight * force)
        assert torch.allclose(image, gradient, atol=1e-3)
