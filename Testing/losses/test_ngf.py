"""Distance of normalised gradient fields against closed forms and a voxel-by-voxel reference."""

from __future__ import annotations

import math

import pytest
import torch

from DeepRegistrationLib.losses.ngf import ngf_distance, ngf_objective


def ramp(direction: tuple[float, float, float], slope: float = 1.0) -> torch.Tensor:
    """A plane of constant gradient, size 9 in every axis, spacing 1."""
    z, y, x = torch.meshgrid(*[torch.arange(9.0, dtype=torch.float64)] * 3, indexing="ij")
    return slope * (direction[0] * x + direction[1] * y + direction[2] * z)[None]


@pytest.mark.parametrize("angle", [0, 30, 60, 90, 180])
def test_two_planes_have_the_cosine_of_their_angle(angle: float) -> None:
    a = math.radians(angle)
    value = ngf_distance(
        ramp((1, 0, 0)),
        ramp((math.cos(a), math.sin(a), 0), slope=7.0),
        (1.0, 1.0, 1.0),
        eta_fixed=1e-6,
        eta_moved=1e-6,
    )
    assert float(value) == pytest.approx(1 - math.cos(a) ** 2, abs=1e-9)


def test_the_edge_level_damps_weak_edges() -> None:
    # |grad| = eta in both: |n|^2 = 1/2, so the squared product is 1/4
    plane = ramp((0, 1, 0), slope=0.3)
    value = ngf_distance(plane, plane, (1.0, 1.0, 1.0), eta_fixed=0.3, eta_moved=0.3)
    assert float(value) == pytest.approx(0.75, abs=1e-12)


def test_brute_force_with_weights_and_spacing() -> None:
    g = torch.Generator().manual_seed(3)
    a, b = (torch.rand(1, 4, 5, 6, generator=g, dtype=torch.float64) for _ in range(2))
    w = torch.rand(1, 4, 5, 6, generator=g, dtype=torch.float64)
    spacing, eta = (0.5, 1.0, 2.0), 0.2

    def slope(image: torch.Tensor, at: tuple[int, int, int]) -> list[float]:
        out = []
        for k, s in enumerate(spacing):
            axis = 2 - k
            low, high = list(at), list(at)
            low[axis], high[axis] = max(0, at[axis] - 1), min(image.shape[axis + 1] - 1, at[axis] + 1)
            out.append(float(image[(0, *high)] - image[(0, *low)]) / ((high[axis] - low[axis]) * s))
        return out

    top = bottom = 0.0
    for at in torch.cartesian_prod(*[torch.arange(n) for n in (4, 5, 6)]).tolist():
        p, q = slope(a, tuple(at)), slope(b, tuple(at))
        inner = sum(x * y for x, y in zip(p, q, strict=True)) ** 2
        lengths = (sum(x * x for x in p) + eta**2) * (sum(x * x for x in q) + eta**2)
        top += float(w[(0, *at)]) * inner / lengths
        bottom += float(w[(0, *at)])
    value = ngf_distance(a, b, spacing, eta_fixed=eta, eta_moved=eta, weight=w)
    assert float(value) == pytest.approx(1 - top / bottom, abs=1e-10)


def test_objective_is_zero_for_equal_edges_and_ignores_contrast() -> None:
    image = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.ones_like(image)
    from DeepRegistrationLib.ops.gradients import spatial_gradient
    from DeepRegistrationLib.ops.ngf import edge_level

    inverted = 5 - 2 * image
    eta = edge_level(spatial_gradient(inverted, (1, 1, 1)), weight)
    value = ngf_objective(image, weight, (1, 1, 1), eta)(inverted, weight)
    assert float(value) == pytest.approx(0.0, abs=1e-9)
    other = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(ngf_objective(image, weight, (1, 1, 1), 0.3)(other, weight)) > 0.2


def test_gradients() -> None:
    g = torch.Generator().manual_seed(1)
    a = torch.rand(1, 4, 4, 4, generator=g, dtype=torch.float64)
    b = torch.rand(1, 4, 4, 4, generator=g, dtype=torch.float64, requires_grad=True)
    w = torch.rand(1, 4, 4, 4, generator=g, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, v: ngf_distance(a, m, (1, 2, 1), eta_fixed=0.1, eta_moved=0.1, weight=v), (b, w)
    )
    fixed_weight = w.detach().clone()
    objective = ngf_objective(a, fixed_weight, (1, 2, 1), 0.1)
    assert torch.autograd.gradcheck(objective, (b, w))
