"""Shooting against the geodesic equations integrated by brute force, closed forms and conserved quantities."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.gradients import spatial_gradient
from DeepRegistrationLib.ops.kernels import GaussianKernel
from DeepRegistrationLib.ops.smoothing import gaussian_smooth
from DeepRegistrationLib.optim.shooting import Diverged, Geodesic, follow, shoot
from DeepRegistrationLib.transforms.inverse import inverse_residual

WIDTH = 12.0
GRIDS = {2: Grid((52, 46), (2.0, 2.3)), 3: Grid((26, 22, 24), (4.0, 4.6, 4.2))}


def bump(grid: Grid, offset: tuple[float, ...], width: float) -> torch.Tensor:
    """Height 1 at `offset` mm from the middle of the grid; float64."""
    at = torch.as_tensor(grid.centre) + torch.tensor(offset[: grid.dimension], dtype=torch.float64)
    squared = (grid.world_points(dtype=torch.float64) - at).square().sum(dim=-1)
    return torch.exp(-0.5 * squared / width**2)


def scene(d: int) -> tuple[Grid, torch.Tensor, torch.Tensor]:
    """Source and a momentum that moves and stretches it by some 8 mm."""
    grid = GRIDS[d]
    source = bump(grid, (0, 0, 0), 14.0)
    factor = 6.0 if d == 2 else 9.0
    return grid, source, factor * (bump(grid, (7, -3, 2), 10.0) - bump(grid, (-9, 5, -3), 10.0))


def geodesic(grid: Grid, steps: int = 10, gain: float = 0.0, masks: tuple[torch.Tensor, ...] = ()) -> Geodesic:
    return Geodesic(grid, GaussianKernel(grid, (WIDTH,), (WIDTH**2,), dtype=torch.float64), steps, gain, masks)


def growing(grid: Grid, steps: int) -> tuple[torch.Tensor, ...]:
    return tuple(bump(grid, (4, 4, 0), 8.0 + 12.0 * k / steps) for k in range(steps + 1))


def by_brute_force(
    source: torch.Tensor, p: torch.Tensor, rules: Geodesic, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """I_1 and p_1 of the equations as they stand, on the voxels, Runge and Kutta's second order."""
    spacing = rules.grid.spacing
    last = len(rules.masks) - 1

    def mask(t: float) -> torch.Tensor | float:
        if not rules.masks:
            return 1.0
        k = min(int(t * last), last - 1) if last > 0 else 0
        return rules.masks[0] if last == 0 else torch.lerp(rules.masks[k], rules.masks[k + 1], t * last - k)

    def change(image: torch.Tensor, p: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        slope = spatial_gradient(image[None], spacing)[:, 0]
        v = rules.kernel(-p * slope)
        flux = spatial_gradient(p * v, spacing)
        divergence = torch.stack([flux[k, k] for k in range(len(v))]).sum(dim=0)
        return -(slope * v).sum(dim=0) + rules.gain * mask(t) * p, -divergence

    image = source
    for n in range(steps):
        a, b = change(image, p, n / steps)
        a, b = change(image + 0.5 / steps * a, p + 0.5 / steps * b, (n + 0.5) / steps)
        image, p = image + a / steps, p + b / steps
    return image, p


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("gain", [0.0, 0.05])
@pytest.mark.parametrize("masked", [False, True])
def test_follows_the_geodesic_equations(d: int, gain: float, masked: bool) -> None:
    if masked and gain == 0:
        pytest.skip("a mask says nothing without a gain")
    grid, source, p = scene(d)
    rules = geodesic(grid, gain=gain, masks=growing(grid, 10) if masked else ())
    shot = shoot(source, p, rules)
    wanted, _ = by_brute_force(source, p, rules, 60)
    moved = float((wanted - source).abs().max())
    assert moved > 0.2, "too little happens to tell"
    assert float(shot.backward.norm(dim=0).max()) > 5.0
    # the differences of the brute force are coarse in 3-D: of 0.14 there, 0.03 is left on voxels half as wide
    assert float((shot.image - wanted).abs().max()) < (0.06 if d == 2 else 0.15) * moved
    if gain > 0:
        assert shot.added is not None and float(shot.added.abs().max()) > 0.1
        without = shoot(source, p, replace(rules, gain=0.0))
        assert float((without.image - wanted).abs().max()) > 0.18 * moved


def test_without_momentum_nothing_happens() -> None:
    grid, source, p = scene(2)
    shot = shoot(source, 0 * p, geodesic(grid, gain=0.1))
    assert torch.allclose(shot.image, source) and float(shot.energy) == 0
    assert float(shot.backward.abs().max()) == 0


def test_intensity_grows_by_gain_mask_and_momentum_where_nothing_moves() -> None:
    """In a constant image v = 0 at the start, and a momentum that is constant too keeps it so: I_1 = S + gain M p."""
    grid = GRIDS[2]
    masks = tuple(torch.full(grid.shape, k / 10, dtype=torch.float64) for k in range(11))
    flat = torch.ones(grid.shape, dtype=torch.float64)
    shot = shoot(0.5 * flat, 3.0 * flat, geodesic(grid, gain=0.2, masks=masks))
    assert torch.allclose(shot.image, 0.5 + 0.2 * 3.0 * 0.5 * flat)  # the mean of the masks is a half


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("gain", [0.0, 0.03])
def test_energy_is_conserved(d: int, gain: float) -> None:
    grid, source, p = scene(d)
    course = follow(source, p, geodesic(grid, gain=gain))
    assert course.drift < 0.003
    start = course.velocity_energy[0] + course.intensity_energy[0]
    assert start == pytest.approx(float(shoot(source, p, geodesic(grid, gain=gain)).energy))
    if gain > 0:
        assert course.intensity_energy[0] > 0.05 * start


def test_energy_changes_by_the_work_of_a_growing_mask() -> None:
    grid, source, p = scene(2)
    course = follow(source, p, geodesic(grid, gain=0.05, masks=growing(grid, 10)))
    total = [v + z for v, z in zip(course.velocity_energy, course.intensity_energy, strict=True)]
    assert abs(total[-1] - total[0]) > 0.1 * total[0]
    assert course.drift < 0.005


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("way", ["lddmm", "everywhere", "masked"])
def test_energy_is_conserved_whatever_the_detail(d: int, way: str) -> None:
    """A disc with an edge of a voxel, a momentum that differs from voxel to voxel, and a mask with soft edges."""
    grid, _, p = scene(d)
    source = (bump(grid, (0, 0, 0), 14.0) > 0.5).double()
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = (0.8 if d == 2 else 0.6) * p * (1 + noise)
    mask = gaussian_smooth((bump(grid, (4, 4, 0), 20.0) > 0.5).double()[None], 1.5)[0]
    gain = 0.0 if way == "lddmm" else 0.03
    course = follow(source, p, geodesic(grid, 8, gain, (mask,) if way == "masked" else ()))
    assert float(course.backward[-1].norm(dim=0).max()) > 5.0
    assert course.drift < (0.02 if way == "masked" else 0.005)


def test_flow_that_the_steps_fold_is_refused() -> None:
    grid, source, p = scene(2)
    for way in (shoot, follow):
        with pytest.raises(Diverged):
            way(source, 30 * p, geodesic(grid))


@pytest.mark.parametrize("d", [2, 3])
def test_forward_map_undoes_the_backward_one(d: int) -> None:
    grid, source, p = scene(d)
    course = follow(source, p, geodesic(grid))
    axes = Grid(grid.size, grid.spacing)
    assert float(course.backward[-1].norm(dim=0).max()) > 5.0
    assert inverse_residual(course.backward[-1], course.forward[-1], axes) < 0.04 * min(grid.spacing)


def test_course_is_the_shooting() -> None:
    grid, source, p = scene(2)
    rules = geodesic(grid, gain=0.03, masks=growing(grid, 10))
    shot, course = shoot(source, p, rules), follow(source, p, rules)
    assert torch.allclose(shot.backward, course.backward[-1])
    assert shot.added is not None and course.added[-1] is not None
    assert torch.allclose(shot.added, course.added[-1]) and torch.allclose(shot.deformed, course.deformed[-1])
    assert len(course.backward) == len(course.added) == len(course.work) == len(course.forward) == 11


def test_the_same_in_millimetres_on_a_finer_grid() -> None:
    grid, source, _ = scene(2)
    fine = grid.with_size([2 * n for n in grid.size])
    two = [6.0 * (bump(g, (7, -3), 10.0) - bump(g, (-9, 5), 10.0)) for g in (grid, fine)]
    coarse_u = shoot(source, two[0], geodesic(grid)).backward
    fine_u = shoot(bump(fine, (0, 0), 14.0), two[1], geodesic(fine)).backward
    pooled = torch.nn.functional.avg_pool2d(fine_u[None], 2)[0]
    assert float((pooled - coarse_u).norm(dim=0).max()) < 0.02 * float(coarse_u.norm(dim=0).max())


@pytest.mark.parametrize("save_memory", [False, True])
def test_gradient_is_that_of_finite_differences(save_memory: bool) -> None:
    grid = Grid((7, 6), (8.0, 9.0))
    source = bump(grid, (0, 0), 14.0)
    p = (2 * bump(grid, (6, -3), 10.0)).requires_grad_(True)
    rules = replace(geodesic(grid, 4, 0.05, growing(grid, 4)), save_memory=save_memory)

    def value(p: torch.Tensor) -> torch.Tensor:
        shot = shoot(source, p, rules)
        return (shot.image - 0.3).square().sum() + 0.1 * shot.backward.square().mean() + shot.energy

    assert torch.autograd.gradcheck(value, p, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("save_memory", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_tick_is_heard_there_and_back(save_memory: bool, backward: bool) -> None:
    grid, source, p = scene(2)
    p = p.requires_grad_(True)
    stop: list[bool] = []
    count: list[int] = []

    def tick() -> None:
        count.append(1)
        if stop:
            raise KeyboardInterrupt

    shot = shoot(source, p, replace(geodesic(grid), tick=tick, save_memory=save_memory))
    assert len(count) >= 10
    if backward:
        stop.append(True)
        with pytest.raises(KeyboardInterrupt):
            torch.autograd.grad(shot.image.sum(), p)
    else:
        torch.autograd.grad(shot.image.sum(), p)
        assert len(count) >= 19


def test_number_of_masks() -> None:
    grid = GRIDS[2]
    with pytest.raises(ValueError, match="3 masks"):
        geodesic(grid, 10, 0.1, growing(grid, 2))
