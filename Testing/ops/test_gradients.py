"""Finite differences of polynomials."""

from __future__ import annotations

import torch

from DeepRegistrationLib.ops.gradients import spatial_gradient


def test_linear_images_have_exact_gradients_everywhere() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (4, 5, 6)), indexing="ij")
    spacing = (0.5, 2.0, 3.0)
    image = (7 * x * 0.5 - 2 * y * 2.0 + 4 * z * 3.0)[None]
    g = spatial_gradient(image, spacing)
    for component, expected in zip(g, (7.0, -2.0, 4.0), strict=True):
        assert torch.allclose(component, torch.full_like(component, expected))


def test_quadratic_is_exact_inside_and_flat_axes_have_none() -> None:
    x = torch.arange(8, dtype=torch.float64)
    image = (x * x).expand(1, 1, 8)
    g = spatial_gradient(image, (1.0, 1.0))
    assert torch.allclose(g[0, 0, 0, 1:-1], 2 * x[1:-1])
    assert float(g[1].abs().max()) == 0.0
