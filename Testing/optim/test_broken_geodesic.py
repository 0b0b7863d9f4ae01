"""Paths of several pieces: what they are made of, their length, and that more pieces reach farther."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from core.grids import rotation
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.optim.broken_geodesic import Path, Piece, broken_geodesic, path_transform
from DeepRegistrationLib.optim.log_demons import Settings, Side
from DeepRegistrationLib.transforms import VelocityField
from DeepRegistrationLib.transforms.velocity import velocity_norm

GRID = Grid((80, 72), (1.0, 1.1))
SETTINGS = Settings(fluid=1.5, diffusion=1.5, step=1.0, noise=0.02, detail=1.0, iterations=(25, 25, 15), tolerance=5e-3)


def plain(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return values[None]


def letter(grid: Grid, opening: float) -> torch.Tensor:
    """A ring with a gap, thick lines inside: `opening` degrees of the ring are missing."""
    x = grid.world_points() - torch.from_numpy(grid.centre).float()
    r, angle = x.norm(dim=-1), torch.rad2deg(torch.atan2(x[..., 1], x[..., 0])).abs()
    ring = torch.sigmoid((7 - (r - 20).abs()) / 0.7) * torch.sigmoid((angle - opening / 2) / 3)
    return (ring + 0.5 * torch.sigmoid((5 - r) / 0.7)).clamp(0, 1)


def found(pieces: int, fixed: torch.Tensor, moving: torch.Tensor, grid: Grid = GRID) -> Path:
    return broken_geodesic(Side(fixed), Side(moving), grid, SETTINGS, plain, pieces, 0.02, Progress())


@pytest.fixture(scope="module")
def two_paths() -> tuple[Path, Path]:
    fixed, moving = letter(GRID, 100.0), letter(GRID, 10.0)
    return found(1, fixed, moving), found(5, fixed, moving)


def test_more_pieces_reach_farther(two_paths):
    one, more = two_paths
    assert len(one.pieces) == 1 and 2 <= len(more.pieces) <= 5
    assert one.differences[1] < 0.5 * one.differences[0]
    assert more.differences[-1] < 0.7 * one.differences[-1]
    assert all(b < 0.98 * a for a, b in pairwise(more.differences))
    assert more.pieces[0].length == one.pieces[0].length


def test_the_length_is_the_sum_of_the_norms(two_paths):
    path = two_paths[1]
    norms = [velocity_norm(piece.velocity) for piece in path.pieces]
    assert [piece.length for piece in path.pieces] == pytest.approx(norms)
    assert path.length == pytest.approx(sum(norms)) and path.length > 1.0


def test_the_transform_moves_the_image_as_the_path_said(two_paths):
    path = two_paths[1]
    fixed, moving = letter(GRID, 100.0), letter(GRID, 10.0)
    u = path_transform(path, GRID).displacement(GRID)
    index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in GRID.shape], indexing="ij")[::-1]).float()
    where = (index + u / torch.tensor(GRID.spacing)[:, None, None]).flip(0).numpy()
    from scipy.ndimage import map_coordinates

    moved = map_coordinates(moving.numpy(), where, order=1, mode="nearest")
    inside = ((where >= -0.5) & (where <= np.array(GRID.shape)[:, None, None] - 0.5)).all(axis=0)
    assert inside.mean() > 0.8
    assert float(np.square(fixed.numpy() - moved)[inside].mean()) == pytest.approx(path.differences[-1], rel=0.1)


def test_the_path_of_equal_images_has_no_length():
    image = letter(GRID, 40.0)
    path = found(5, image, image.clone())
    assert path.length == 0 and not path.pieces
    transform = path_transform(path, GRID)
    x = GRID.world_points(dtype=torch.float64).reshape(-1, 2)
    assert torch.equal(transform.apply(x), x)


def test_the_length_does_not_depend_on_the_sampling(two_paths):
    fine = GRID.with_size([2 * n for n in GRID.size])
    path = found(5, letter(fine, 100.0), letter(fine, 10.0), fine)
    assert path.length == pytest.approx(two_paths[1].length, rel=0.15)


def _three_pieces(grid: Grid) -> Path:
    generator = torch.Generator().manual_seed(2)
    cells = Grid(grid.size, grid.spacing).with_size([n // 2 for n in grid.size])
    pieces = []
    for _ in range(3):
        rough = torch.randn((3, 4, 4, 4), generator=generator)
        v = torch.nn.functional.interpolate(rough[None], cells.shape, mode="trilinear", align_corners=True)[0]
        pieces.append(Piece(v, cells, velocity_norm(v), {}))
    return Path(pieces)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_pieces_are_composed_last_first_in_the_world(mirror):
    """T = exp(v_1) o exp(v_2) o exp(v_3), velocities turned from index axes to the world."""
    grid = Grid((24, 26, 22), (1.2, 1.0, 1.5), (30.0, -20.0, 8.0), rotation(20, -35, 50) @ np.diag([mirror, 1, 1]))
    path = _three_pieces(grid)
    axes = torch.tensor(grid.direction, dtype=torch.float32)
    x = torch.from_numpy(grid.world_from_index(np.random.default_rng(0).uniform(8, 14, (40, 3))))
    expected = x
    for piece in reversed(path.pieces):
        world = torch.einsum("wk,kzyx->wzyx", axes, piece.velocity)
        expected = VelocityField(world, grid.with_size(piece.cells.size), 7).apply(expected)
    transform = path_transform(path, grid)
    assert float((expected - x).norm(dim=1).max()) > 1.5
    torch.testing.assert_close(transform.apply(x), expected, atol=0.02, rtol=0)
    back = transform.inverse().transform.apply(transform.apply(x))
    assert float((back - x).norm(dim=1).max()) < 0.1 * max(path.pieces[0].cells.spacing)


def test_pieces_go_on_outside_the_field_of_view():
    """A steady flow out of the image is not stopped at its border by the next piece."""
    grid = Grid((20, 16), (1.0, 1.0))
    v = torch.zeros(2, *grid.shape)
    v[0] = 2.0
    pieces = [Piece(v, grid, 2.0, {})] * 3
    corner = torch.tensor([[19.0, 8.0]], dtype=torch.float64)
    moved = path_transform(Path(pieces), grid).apply(corner)
    assert moved[0].tolist() == pytest.approx([21.0 + 2.0 + 2.0, 8.0], abs=1e-4)
