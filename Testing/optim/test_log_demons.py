"""Symmetric log-demons: its step by hand, its symmetry, and known deformations found on uneven grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.optim.log_demons import Settings, Side, demons_step, log_demons, pyramid, warp
from DeepRegistrationLib.transforms.velocity import exponential, velocity_norm

SETTINGS = Settings(
    fluid=2.0, diffusion=1.5, step=1.0, noise=0.02, detail=1.0, iterations=(30, 30, 20), tolerance=1e-3
)


def plain(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return values[None]


def blobs(points: torch.Tensor) -> torch.Tensor:
    """A smooth picture with detail everywhere; points (..., d) mm."""
    rng = np.random.default_rng(3)
    d = points.shape[-1]
    total = torch.zeros(points.shape[:-1], dtype=points.dtype)
    for _ in range(14):
        wave = torch.tensor(rng.normal(size=d) * 0.16, dtype=points.dtype)
        total = total + torch.sin(points @ wave + float(rng.uniform(0, 6)))
    return (total / 14).to(torch.float32)


def swirl(points: torch.Tensor, mm: float) -> torch.Tensor:
    """A displacement (..., d) that dies away from the middle."""
    fade = torch.exp(-points.square().sum(dim=-1, keepdim=True) / (2 * 18.0**2))
    turned = torch.roll(points, 1, dims=-1) * torch.tensor([1.0] + [-1.0] * (points.shape[-1] - 1))
    return mm * fade * (turned / 18.0 + 0.5)


def run(fixed, moving, grid, settings=SETTINGS, weights=(None, None)):
    return log_demons(Side(fixed, weights[0]), Side(moving, weights[1]), grid, settings, plain, Progress())


GRIDS = {
    "2-D": Grid((72, 60), (1.0, 1.3)),
    "anisotropic": Grid((44, 40, 16), (1.5, 1.4, 4.0)),
}


def case(grid: Grid, mm: float):
    """fixed(x) = blobs(x + u(x)), moving = blobs: T(x) = x + u(x)."""
    x = grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)
    u = swirl(x, mm)
    return blobs(x + u), blobs(x), torch.movedim(u, -1, 0).float()


@pytest.mark.parametrize("name", GRIDS)
def test_a_known_deformation_is_found_on_uneven_grids(name):
    grid = GRIDS[name]
    fixed, moving, truth = case(grid, 5.0)
    velocity, cells, energies = run(fixed, moving, grid)
    found = exponential(velocity, cells, 6)
    middle = torch.exp(-(grid.world_points() - torch.from_numpy(grid.centre).float()).square().sum(-1) / 800) > 0.4
    error = (found - truth).norm(dim=0)[middle]
    before = truth.norm(dim=0)[middle]
    assert float(before.mean()) > 2.0
    assert float(error.mean()) < 0.2 * float(before.mean())
    finest = list(energies.values())[-1]
    assert min(finest) < 0.05 * float((fixed - moving).square().mean())


def test_exchanging_the_images_turns_the_velocity_round():
    grid = GRIDS["2-D"]
    fixed, moving, _ = case(grid, 5.0)
    there, _, _ = run(fixed, moving, grid)
    back, _, _ = run(moving, fixed, grid)
    torch.testing.assert_close(there, -back, atol=1e-4, rtol=0)
    assert velocity_norm(there) > 0.5


def test_equal_images_are_not_moved():
    fixed, _, _ = case(GRIDS["2-D"], 5.0)
    velocity, _, energies = run(fixed, fixed.clone(), GRIDS["2-D"])
    assert float(velocity.abs().max()) == 0
    assert all(e < 1e-12 for level in energies.values() for e in level)


def test_a_velocity_on_a_coarser_grid_finds_nearly_the_same():
    grid = GRIDS["2-D"]
    fixed, moving, truth = case(grid, 5.0)
    settings = Settings(2.0, 1.5, 1.0, 0.02, 2.0, (30, 30, 20), 1e-3)
    velocity, cells, _ = run(fixed, moving, grid, settings)
    assert cells.size == (36, 30) and cells.extent == pytest.approx(grid.extent)
    wide = torch.nn.functional.interpolate(exponential(velocity, cells, 6)[None], grid.shape, mode="bilinear")[0]
    middle = (slice(None), slice(20, 40), slice(24, 48))
    assert float((wide - truth)[middle].norm(dim=0).mean()) < 0.15 * float(truth[middle].norm(dim=0).mean())


def test_what_was_not_seen_has_no_say():
    """A bright square where the weight is 0 changes nothing outside the reach of the smoothing."""
    grid = GRIDS["2-D"]
    fixed, moving, _ = case(grid, 3.0)
    weight = torch.ones(grid.shape)
    weight[:, 60:] = 0
    spoiled = moving.clone()
    spoiled[:, 62:] = 9.0
    one_level = Settings(2.0, 1.5, 1.0, 0.02, 1.0, (10,), 1e-4)
    clean, _, _ = run(fixed, moving, grid, one_level, (None, weight))
    dirty, _, _ = run(fixed, spoiled, grid, one_level, (None, weight))
    without, _, _ = run(fixed, spoiled, grid, one_level)
    part = (slice(None), slice(None), slice(0, 45))
    assert float((clean - dirty)[part].abs().max()) < 0.02
    assert float((clean - without).abs().max()) > 0.5


def test_the_step_is_the_formula():
    generator = torch.Generator().manual_seed(1)
    still, moved = torch.rand(2, 3, 6, 7, 8, generator=generator)
    spacing, longest = (0.8, 1.5, 2.5), 1.2
    weight = torch.rand(6, 7, 8, generator=generator)
    step, energy = demons_step(still, moved, weight, spacing, longest, 0.1)
    z, y, x = 2, 3, 4
    top, squared, steep = np.zeros(3), 0.0, 0.0
    for c in range(3):
        mean = 0.5 * (still[c] + moved[c]).double().numpy()
        g = np.array([
            (mean[z, y, x + 1] - mean[z, y, x - 1]) / 1.6,
            (mean[z, y + 1, x] - mean[z, y - 1, x]) / 3.0,
            (mean[z + 1, y, x] - mean[z - 1, y, x]) / 5.0,
        ])  # fmt: skip
        difference = float(still[c, z, y, x] - moved[c, z, y, x])
        top, squared, steep = top + difference * g, squared + difference**2, steep + g @ g
    expected = float(weight[z, y, x]) * top / (steep + (squared + 0.1**2) / (2 * longest) ** 2)
    np.testing.assert_allclose(step[:, z, y, x], expected, rtol=1e-4)
    differences = (still - moved).square().sum(dim=0)
    assert energy == pytest.approx(float((differences * weight).sum() / weight.sum()), rel=1e-5)


def test_no_step_is_longer_than_asked():
    still, moved = torch.rand(2, 1, 20, 20)
    step, _ = demons_step(still, moved, None, (1.0, 3.0), 0.7, 1e-3)
    lengths = step.norm(dim=0)
    assert float(lengths.max()) <= 0.7 + 1e-5
    assert float(lengths.max()) > 0.6


def test_a_step_goes_from_fixed_to_moving():
    """A ramp moved by +0.3 mm along x: moved(x + u) = still(x) for u = +0.3 mm, whatever the spacing."""
    x = torch.arange(20.0) * 0.5
    still, moved = x.expand(1, 9, 20), (x - 0.3).expand(1, 9, 20)
    step, _ = demons_step(still, moved, None, (0.5, 2.0), 100.0, 1e-3)
    torch.testing.assert_close(step[0], torch.full((9, 20), 0.3), atol=1e-4, rtol=0)
    assert float(step[1].abs().max()) == 0


def test_levels_keep_the_field_of_view_and_wait_for_wide_axes():
    grid = Grid((97, 60, 30), (1.0, 1.0, 4.0), (5.0, -4.0, 3.0))
    side = Side(torch.rand(grid.shape), torch.ones(grid.shape))
    levels = pyramid(side, side, grid, 4)
    assert [level[0].size for level in levels] == [(13, 15, 15), (25, 15, 30), (49, 30, 30), (97, 60, 30)]
    assert len(pyramid(side, side, grid, 9)) == 4, "a level that is not smaller is no level"
    for at, f, m in levels:
        assert at.extent == pytest.approx(grid.extent)
        assert f.values.shape == m.weight.shape == at.shape
        assert float(f.weight.min()) == pytest.approx(1.0)
        assert float(f.values.mean()) == pytest.approx(float(side.values.mean()), abs=0.02)


def test_warping_knows_what_lies_outside():
    grid = Grid((6, 5), (2.0, 1.0))
    displacement = torch.zeros(2, *grid.shape)
    displacement[0] = 4.0
    image = torch.arange(6.0).expand(1, 5, 6)
    moved, weight = warp(image, None, displacement, grid)
    assert moved[0, 2, :4].tolist() == pytest.approx([2.0, 3.0, 4.0, 5.0])
    assert weight[2].tolist() == [1, 1, 1, 1, 0, 0]
    seen = torch.ones(grid.shape)
    seen[:, 3] = 0
    assert warp(image, seen, displacement, grid)[1][2].tolist() == [1, 0, 1, 1, 0, 0]


def test_cancel_is_heard_within_an_iteration():
    fixed, moving, _ = case(GRIDS["2-D"], 5.0)
    calls = []

    def cancelled() -> bool:
        calls.append(1)
        return len(calls) > 12

    with pytest.raises(Cancelled):
        log_demons(
            Side(fixed), Side(moving), GRIDS["2-D"], SETTINGS, plain, Progress(lambda _: None, cancelled)
        )
    assert len(calls) == 13
