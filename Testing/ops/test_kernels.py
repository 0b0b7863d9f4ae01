"""Kernels of smooth velocities against closed forms, in millimetres on grids of unequal spacing."""

from __future__ import annotations

import math

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.kernels import GaussianKernel, GreenOperator, gaussian_matrix, inner_product

GRIDS = {2: Grid((44, 36), (1.0, 1.7)), 3: Grid((30, 26, 17), (1.0, 1.3, 2.1))}


def gaussian(grid: Grid, width: float) -> torch.Tensor:
    """(1, [Z,] Y, X) with integral 1, in the middle of the grid, float64."""
    squared = (grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)).square().sum(dim=-1)
    return (torch.exp(-0.5 * squared / width**2) / (math.sqrt(2 * math.pi) * width) ** grid.dimension)[None]


def noise(grid: Grid, seed: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(channels, *grid.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("d", [2, 3])
class TestGaussian:
    def test_widths_of_gaussians_add_in_squares(self, d: int) -> None:
        grid = GRIDS[d]
        kernel = GaussianKernel(grid, (2.4,), dtype=torch.float64)
        got, wanted = kernel(gaussian(grid, 2.6)), gaussian(grid, math.hypot(2.4, 2.6))
        assert float((got - wanted).abs().max()) < 5e-4 * float(wanted.max())

    def test_is_the_sum_of_all_voxels_weighted_by_distance(self, d: int) -> None:
        grid = Grid(GRIDS[d].size[::-1], GRIDS[d].spacing[::-1])
        field = noise(grid, 1)
        got = GaussianKernel(grid, (3.0,), (2.0,), dtype=torch.float64)(field)[0]
        points = grid.world_points(dtype=torch.float64)
        for place in ((3,) * d, tuple(n - 1 for n in grid.shape), (0,) * d):
            squared = (points - points[place]).square().sum(dim=-1)
            density = torch.exp(-0.5 * squared / 9) / (math.sqrt(2 * math.pi) * 3) ** d
            wanted = 2 * float((density * field[0]).sum()) * grid.voxel_volume
            assert float(got[place]) == pytest.approx(wanted, rel=1e-6, abs=1e-9)

    def test_several_widths_are_the_sum_of_each(self, d: int) -> None:
        grid = GRIDS[d]
        field = noise(grid, 2, channels=d)
        both = GaussianKernel(grid, (2.0, 5.0), (0.3, 4.0), dtype=torch.float64)(field)
        one, other = (GaussianKernel(grid, (w,), (a,), dtype=torch.float64)(field) for w, a in ((2.0, 0.3), (5.0, 4.0)))
        assert torch.allclose(both, one + other)

    def test_is_symmetric_and_positive(self, d: int) -> None:
        grid = GRIDS[d]
        kernel = GaussianKernel(grid, (1.5, 4.0), dtype=torch.float64)
        a, b = noise(grid, 3, d), noise(grid, 4, d)
        assert float(inner_product(kernel(a), b, grid)) == pytest.approx(float(inner_product(a, kernel(b), grid)))
        assert all(float(inner_product(kernel(v), v, grid)) > 0 for v in (a, b, a - b))

    def test_gradient(self, d: int) -> None:
        grid = Grid((5, 4, 6)[:d], (1.0, 2.0, 1.5)[:d])
        kernel = GaussianKernel(grid, (2.0,), dtype=torch.float64)
        assert torch.autograd.gradcheck(kernel, noise(grid, 5, d).requires_grad_(True))


def test_matrix_keeps_constants_inside_and_becomes_the_identity_for_a_narrow_width() -> None:
    rows = gaussian_matrix(60, 2.0, 3.0, dtype=torch.float64).sum(dim=1)
    assert torch.allclose(rows[15:45], torch.ones(30, dtype=torch.float64), atol=1e-9)
    assert float(rows[0]) < 0.7  # half of it lies outside
    assert torch.allclose(gaussian_matrix(9, 2.0, 0.1), torch.eye(9))


@pytest.mark.parametrize("widths", [(), (0.0,), (2.0, -1.0)])
def test_widths_must_be_positive(widths: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive"):
        GaussianKernel(GRIDS[2], widths)


class TestGreen:
    @pytest.mark.parametrize("d", [2, 3])
    def test_undoes_the_operator_of_finite_differences(self, d: int) -> None:
        """(Id - alpha Laplacian)^2 written out with shifts."""
        grid, alpha = GRIDS[d], 3.0
        u = noise(grid, 6, channels=2)
        field = u
        for _ in range(2):
            laplacian = torch.zeros_like(u)
            for axis, s in enumerate(grid.spacing[::-1], start=1):
                laplacian += (field.roll(1, axis) + field.roll(-1, axis) - 2 * field) / s**2
            field = field - alpha * laplacian
        green = GreenOperator(grid, alpha, power=2)
        assert torch.allclose(green(field), u, atol=1e-9)
        assert torch.allclose(green.apply_inverse(u), field, atol=1e-9)

    def test_wave_is_divided_by_its_eigenvalue(self) -> None:
        grid, alpha, power = Grid((40, 30), (0.5, 0.8)), 2.0, 1.5
        k = 2 * math.pi / (20.0, 24.0)[0]
        wave = torch.cos(k * grid.world_points(dtype=torch.float64)[..., 0])[None]
        got = GreenOperator(grid, alpha, power)(wave)
        # of finite differences, and close to that of the continuous Laplacian
        exact = (1 + alpha * (2 - 2 * math.cos(k * 0.5)) / 0.25) ** -power
        assert torch.allclose(got, exact * wave, atol=1e-9)
        assert exact == pytest.approx((1 + alpha * k**2) ** -power, rel=2e-3)

    def test_point_in_open_space_decays_exponentially(self) -> None:
        """In one dimension the Green's function of Id - alpha d^2/dx^2 is exp(-|x| / sqrt(alpha)) / (2 sqrt(alpha))."""
        grid, alpha = Grid((121, 4), (0.25, 1.0)), 1.5
        line = torch.zeros(1, *grid.shape, dtype=torch.float64)
        line[..., 60] = 1 / 0.25  # constant along y; the ends of the line are 12 decay lengths away
        values = GreenOperator(grid, alpha)(line)[0, 0]
        x = 0.25 * (torch.arange(121, dtype=torch.float64) - 60)
        wanted = torch.exp(-x.abs() / math.sqrt(alpha)) / (2 * math.sqrt(alpha))
        assert float((values - wanted).abs().max()) < 0.01 * float(wanted.max())

    def test_margin_keeps_the_far_side_out(self) -> None:
        grid, alpha = Grid((30, 30, 6), (1.0, 1.0, 2.0)), 2.0
        point = torch.zeros(1, *grid.shape, dtype=torch.float64)
        point[0, 3, 15, 0] = 1.0
        periodic, opened = GreenOperator(grid, alpha)(point), GreenOperator(grid, alpha, margin=16.0)(point)
        assert float(periodic[0, 3, 15, -1]) > 0.05 * float(periodic.max())
        assert float(opened[0, 3, 15, -1]) < 1e-6 * float(opened.max())
        larger = grid.padded(14)
        there = torch.nn.functional.pad(point, (14,) * 6)
        inside = GreenOperator(larger, alpha)(there)[0, 14:-14, 14:-14, 14:-14]
        assert torch.allclose(opened[0], inside, atol=1e-6 * float(inside.max()))

    def test_is_symmetric_positive_and_differentiable(self) -> None:
        grid = Grid((6, 5, 4), (1.0, 2.0, 1.5))
        green = GreenOperator(grid, 1.5, 2, margin=4.0)
        a, b = noise(grid, 7), noise(grid, 8)
        assert float((green(a) * b).sum()) == pytest.approx(float((a * green(b)).sum()))
        assert float((green(a) * a).sum()) > 0
        assert torch.autograd.gradcheck(green, a.requires_grad_(True))

    def test_bad_numbers(self) -> None:
        for alpha, power, margin in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, -1.0)):
            with pytest.raises(ValueError, match="positive"):
                GreenOperator(GRIDS[2], alpha, power, margin)
