"""Surfaces of shapes whose surface is known: where it lies, how large it is, which way is out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contract.cases import GRIDS, rotation
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.surface_points import (
    Surface,
    contact_share,
    label_surface,
    mean_distance,
    mesh_surface,
    signed_distance,
    spread_points,
)

RADIUS = 30.0


def ball(grid: Grid, centre: np.ndarray, radius: float = RADIUS) -> torch.Tensor:
    return (grid.world_points(dtype=torch.float64) - torch.as_tensor(centre)).norm(dim=-1) < radius


def sphere(name: str) -> tuple[Surface, Grid]:
    grid = GRIDS[name][0]
    return label_surface(ball(grid, grid.centre), grid), grid


def even_sphere(count: int, radius: float = RADIUS) -> Surface:
    """Points of a spiral from pole to pole, all for the same area."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    normals = np.stack([np.cos(turn) * np.sqrt(1 - z**2), np.sin(turn) * np.sqrt(1 - z**2), z], axis=1)
    return Surface(radius * normals, normals, np.full(count, 4 * np.pi * radius**2 / count))


@pytest.mark.parametrize("name", GRIDS)
def test_points_lie_between_voxels_on_the_sphere(name: str) -> None:
    surface, grid = sphere(name)
    out = surface.points - grid.centre
    radii = np.linalg.norm(out, axis=1)
    # of the ball that has as much volume as the voxels
    drawn = (0.75 / np.pi * float(ball(grid, grid.centre).sum()) * grid.voxel_volume) ** (1 / 3)
    # points on the voxels' faces would be off by up to half a voxel
    assert abs(radii.mean() - drawn) < 0.06 * max(grid.spacing)
    assert radii.std() < 0.12 * max(grid.spacing)
    assert (np.einsum("kd,kd->k", surface.normals, out / radii[:, None]) > 0.9).mean() > 0.9
    assert surface.areas.sum() == pytest.approx(4 * np.pi * drawn**2, rel=0.03)


def test_contour_of_a_disc() -> None:
    grid = Grid((80, 60), (1.5, 2.0), (10.0, -200.0), [[0.0, 1.0], [1.0, 0.0]])
    surface = label_surface(ball(grid, grid.centre), grid)
    radii = np.linalg.norm(surface.points - grid.centre, axis=1)
    assert abs(radii.mean() - RADIUS) < 0.15 and radii.std() < 0.3
    assert surface.areas.sum() == pytest.approx(2 * np.pi * RADIUS, rel=0.03)


def test_where_the_field_of_view_cuts_there_is_no_surface() -> None:
    grid = Grid((40, 40, 20), (2.0, 2.0, 2.0))
    centre = grid.world_from_index([20, 20, -0.5])
    surface = label_surface(ball(grid, centre), grid)
    assert surface.areas.sum() == pytest.approx(2 * np.pi * RADIUS**2, rel=0.08)
    # a label map that was cropped to the segment, in a view that holds all of it
    view = grid.padded(30)
    assert label_surface(ball(grid, centre), grid, view).areas.sum() == pytest.approx(3 * np.pi * RADIUS**2, rel=0.08)
    assert len(label_surface(torch.ones(grid.shape, dtype=torch.bool), grid)) == 0


def test_one_voxel_thick_is_not_lost() -> None:
    grid = Grid((30, 30, 12), (2.0, 2.0, 3.0))
    sheet = torch.zeros(grid.shape, dtype=torch.bool)
    sheet[5, 5:25, 5:25] = True
    surface = label_surface(sheet, grid)
    assert surface.areas.sum() == pytest.approx(2 * 40**2, rel=0.2)
    assert np.abs(surface.points[:, 2] - 15).max() < 3.0


def test_a_large_segment_is_averaged_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegistrationLib.ops.surface_points._BOX_LIMIT", 8000)
    surface, grid = sphere("plain")
    radii = np.linalg.norm(surface.points - grid.centre, axis=1)
    assert abs(radii.mean() - RADIUS) < 1.2
    assert surface.areas.sum() == pytest.approx(4 * np.pi * RADIUS**2, rel=0.12)


def test_spread_points_are_even_and_repeat() -> None:
    surface, _ = sphere("anisotropic")
    chosen = spread_points(surface, 200, seed=3)
    assert len(set(chosen.tolist())) == 200
    assert np.array_equal(chosen, spread_points(surface, 200, seed=3))
    points = surface.points[chosen]
    apart = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(200)
    nearest = apart.min(axis=1)
    # 200 points on this sphere are at best 8 mm apart; thrown at random, the nearest is 3.8 mm off on average
    assert nearest.min() > 3.5 and nearest.mean() > 6
    everything = spread_points(surface, 10**6)
    assert np.array_equal(everything, np.arange(len(surface)))


def _box(size: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float) * size
    triangles = [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]  # fmt: skip
    return corners, np.array(triangles)


@pytest.mark.parametrize("turned", [False, True])
def test_mesh_is_sampled_by_area_with_normals_out(turned: bool) -> None:
    points, triangles = _box((20.0, 40.0, 60.0))
    surface = mesh_surface(points, triangles[:, ::-1] if turned else triangles, seed=1, count=5000)
    assert surface.areas.sum() == pytest.approx(2 * (800 + 1200 + 2400))
    on_side = surface.points[:, 0] < 1e-9
    assert on_side.mean() == pytest.approx(2400 / 8800, rel=0.02)
    assert np.allclose(surface.normals[on_side], [-1, 0, 0])
    out = surface.points - np.array([10.0, 20.0, 30.0])
    assert (np.einsum("kd,kd->k", out, surface.normals) > 0).all()
    with pytest.raises(InputError, match="99"):
        mesh_surface(points, np.array([[0, 1, 99]]))


def test_signed_distance_to_a_sphere() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)) * 30
    expected = np.linalg.norm(points, axis=1) - RADIUS
    found = signed_distance(even_sphere(8000), points)
    assert np.abs(found - expected).max() < 0.6
    assert signed_distance(even_sphere(500), points, limit=10.0).max() <= 10.0


def test_mean_distance_of_concentric_spheres() -> None:
    assert mean_distance(even_sphere(9000).points, even_sphere(8000, 34.0).points) == pytest.approx(4.0, abs=0.1)


def test_contact_is_the_share_of_the_smaller_one() -> None:
    large, small = _box((60.0, 60.0, 60.0)), _box((20.0, 20.0, 20.0))
    a = mesh_surface(*large, count=60_000)
    beside = mesh_surface(small[0] + [60.5, 20, 20], small[1], count=3000)
    apart = mesh_surface(small[0] + [70.0, 20, 20], small[1], count=3000)
    inside = mesh_surface(small[0] + [20.0, 20, 20], small[1], count=3000)
    assert contact_share(a, beside, 1.0) == pytest.approx(1 / 6, abs=0.04)
    assert contact_share(a, apart, 1.0) == 0.0
    assert contact_share(inside, a, 1.0) == pytest.approx(1.0)


def test_turning_the_world_turns_the_surface() -> None:
    grid = Grid((30, 34, 28), (2.0, 2.2, 2.4), (5.0, -8.0, 3.0))
    turn = rotation((1, 2, -1), 40)
    other = Grid(grid.size, grid.spacing, turn @ np.array(grid.origin), turn @ np.array(grid.direction))
    inside = ball(grid, grid.centre, 22.0)
    here, there = label_surface(inside, grid), label_surface(inside, other)
    assert np.allclose(here.points @ turn.T, there.points) and np.allclose(here.normals @ turn.T, there.normals)
