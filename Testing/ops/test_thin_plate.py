"""Thin plates: exact for affine maps, through the points without smoothing, and the minimum of what they minimise."""

from __future__ import annotations

import pytest
import torch
from scipy.interpolate import RBFInterpolator

from DeepRegistrationLib.ops.thin_plate import ThinPlate, ThinPlateSystem, extrapolated


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("smoothing", [0.0, 50.0])
def test_affine_maps_are_exact(d: int, smoothing: float) -> None:
    points, elsewhere = 30 * random(40, d) + 100, 90 * random(25, d, seed=1) + 100
    matrix, shift = random(d, 2, seed=2), random(2, seed=3)
    plate = ThinPlateSystem(points, smoothing).fit(points @ matrix + shift)
    assert torch.allclose(plate(elsewhere), elsewhere @ matrix + shift, atol=1e-7)
    assert abs(float(plate.bending())) < 1e-12


@pytest.mark.parametrize("d", [2, 3])
def test_interpolates_without_smoothing(d: int) -> None:
    points, values = 30 * random(60, d) - 40, random(60, 3, seed=1)
    assert torch.allclose(ThinPlateSystem(points).fit(values)(points), values, atol=1e-8)
    single = ThinPlateSystem(points.float()).fit(values.float())
    assert single(points.float()).dtype == torch.float32
    assert torch.allclose(single(points.float()), values.float(), atol=1e-3)


@pytest.mark.parametrize(("d", "kernel"), [(2, "thin_plate_spline"), (3, "linear")])
@pytest.mark.parametrize("smoothing", [0.0, 2.0, 300.0])
def test_agrees_with_scipy(d: int, kernel: str, smoothing: float) -> None:
    points, values, elsewhere = 20 * random(50, d), random(50, 2, seed=1), 30 * random(40, d, seed=2)
    wanted = RBFInterpolator(points.numpy(), values.numpy(), smoothing=smoothing, kernel=kernel, degree=1)
    got = ThinPlateSystem(points, smoothing).fit(values)(elsewhere)
    assert torch.allclose(got, torch.from_numpy(wanted(elsewhere.numpy())), atol=1e-7)


@pytest.mark.parametrize("d", [2, 3])
def test_is_the_minimum(d: int) -> None:
    """Of all plates through other values at the same points none has a lower energy."""
    points, values, smoothing = 10 * random(30, d), random(30, 1, seed=1), 4.0
    system = ThinPlateSystem(points)

    def energy(at_points: torch.Tensor) -> torch.Tensor:
        misfit = (at_points - values).square().sum()
        return misfit + smoothing / (8 * torch.pi) * system.fit(at_points).bending()

    best = ThinPlateSystem(points, smoothing).fit(values)(points).requires_grad_(True)
    least = energy(best)
    (gradient,) = torch.autograd.grad(least, best)
    assert float(gradient.abs().max()) < 1e-7
    for seed in range(4):
        assert float(energy(best + 0.1 * random(30, 1, seed=9 + seed))) > float(least.detach())


def test_bending_is_the_integral_of_the_squared_second_derivatives() -> None:
    """In the plane, by finite differences over a wide square; the little that lies outside is missed."""
    points = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1], [0.0, 0.0]], dtype=torch.float64)
    values = torch.tensor([[0.0], [0], [0], [0], [1.0]], dtype=torch.float64)
    plate = ThinPlateSystem(points).fit(values)
    step, reach = 0.05, 20.0
    axis = torch.arange(-reach, reach, step, dtype=torch.float64)
    f = plate(torch.stack(torch.meshgrid(axis, axis, indexing="ij")[::-1], dim=-1))[..., 0]
    xx, yy = f.diff(n=2, dim=1)[1:-1] / step**2, f.diff(n=2, dim=0)[:, 1:-1] / step**2
    xy = (f[2:, 2:] - f[:-2, 2:] - f[2:, :-2] + f[:-2, :-2]) / (4 * step**2)
    integral = float((xx.square() + yy.square() + 2 * xy.square()).sum()) * step**2
    assert float(plate.bending()) == pytest.approx(integral, rel=0.03)
    # lengths twice as large: in the plane the integral falls by 4
    assert float(ThinPlateSystem(2 * points).fit(values).bending()) == pytest.approx(float(plate.bending()) / 4)


@pytest.mark.parametrize("d", [2, 3])
def test_much_smoothing_leaves_the_best_affine_map(d: int) -> None:
    points, values = 10 * random(30, d), random(30, 1, seed=1)
    rows = torch.cat([torch.ones(30, 1, dtype=torch.float64), points], dim=1)
    best = rows @ torch.linalg.lstsq(rows, values).solution
    assert torch.allclose(ThinPlateSystem(points, 1e9).fit(values)(points), best, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_points_that_determine_no_affine_map(d: int) -> None:
    one = ThinPlateSystem(torch.full((1, d), 5.0)).fit(torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(one(torch.randn(6, d)), torch.tensor([[3.0, 4.0]]).expand(6, 2))
    line = torch.zeros(7, d, dtype=torch.float64)
    line[:, 0] = torch.arange(7.0)
    plate = ThinPlateSystem(line).fit(2 * line[:, :1] + 1)
    beside = line.clone()
    beside[:, 1] = 4.0
    assert torch.allclose(plate(beside), 2 * line[:, :1] + 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(21, 30), (13, 17, 22), (1, 9, 12)])
def test_dense_is_the_plate_at_every_voxel(shape: tuple[int, ...]) -> None:
    d = len(shape)
    size = torch.tensor(shape[::-1], dtype=torch.float64)
    unit = torch.rand(25, d, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    points = unit * (size - 1)
    values = torch.sin(3 * points / size + 1)
    plate = ThinPlateSystem(points, 5.0).fit(values)
    axes = [torch.arange(n, dtype=torch.float64) for n in shape]
    every = plate(torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)).movedim(-1, 0)
    assert torch.allclose(plate.dense(shape, 1), every, atol=1e-9)
    between = plate.dense(shape, 3)
    assert between.shape == (d, *shape)
    assert float((between - every).abs().max()) < 0.05 * float(every.abs().max())
    single = extrapolated(points.float(), values.float(), shape, 5.0, step=3)
    assert torch.allclose(single.double(), between, atol=1e-3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plate = ThinPlateSystem(random(20, 3)).fit(random(20, 3, seed=1))
    where = random(5, 11, 3, seed=2)
    whole = plate(where)
    monkeypatch.setattr("DeepRegistrationLib.ops.thin_plate._BLOCK", 70)
    assert torch.allclose(plate(where), whole) and whole.shape == (5, 11, 3)
    assert plate(where[:0]).shape == (0, 11, 3)


def test_gradient() -> None:
    points = 4 * random(9, 3).abs()

    def dense(values: torch.Tensor) -> torch.Tensor:
        plate: ThinPlate = ThinPlateSystem(points, 0.5).fit(values)
        return torch.cat([plate(random(4, 3, seed=1)).reshape(-1), plate.dense((4, 5, 6), 1).reshape(-1)])

    assert torch.autograd.gradcheck(dense, random(9, 3, seed=2).requires_grad_(True))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="coincide"):
        ThinPlateSystem(torch.tensor([[1.0, 2, 3], [1, 2, 3], [4, 4, 4]]))
    ThinPlateSystem(torch.tensor([[1.0, 2, 3], [1, 2, 3], [4, 4, 4]]), 0.1)
    with pytest.raises(ValueError, match="not negative"):
        ThinPlateSystem(torch.rand(5, 3), -1.0)
    with pytest.raises(ValueError, match="need points"):
        ThinPlateSystem(torch.rand(0, 3))
    with pytest.raises(ValueError, match="do not fit"):
        ThinPlateSystem(torch.rand(5, 3)).fit(torch.rand(4, 3))
