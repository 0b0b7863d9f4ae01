"""The transform of a volume from the motion of its segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from contract.cases import grid_about, rotation
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.ops.segment_kernel import SegmentKernel
from DeepRegistrationLib.ops.surface_points import Surface
from DeepRegistrationLib.optim.bcpd import Drift, Settings, Similarity, drift
from DeepRegistrationLib.optim.segment_field import dense_transform, unfolded
from DeepRegistrationLib.transforms import Affine, DisplacementField
from DeepRegistrationLib.transforms.jacobian import determinant

CENTRES = np.array([[-40.0, 0, 0], [40.0, 0, 0]])
SHIFTS = torch.tensor([[0.0, 6.0, 0.0], [0.0, 0.0, -7.0]], dtype=torch.float64)
GRID = grid_about((5, -3, 2), (60, 44, 30), (3.0, 3.5, 4.0), rotation((1, 2, 3), 20))


def sphere(centre: np.ndarray, radius: float = 25.0, count: int = 400) -> Surface:
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    normals = np.stack([np.cos(turn) * np.sqrt(1 - z**2), np.sin(turn) * np.sqrt(1 - z**2), z], axis=1)
    return Surface(radius * normals + centre, normals, np.full(count, 4 * np.pi * radius**2 / count))


def kernel() -> SegmentKernel:
    return SegmentKernel(*(torch.full((2,), v, dtype=torch.float64) for v in (30.0, 10.0)), torch.eye(2).double())


def solved(start: Affine | None = None) -> tuple[Drift, list[Surface], torch.Tensor, torch.Tensor]:
    surfaces = [sphere(c) for c in CENTRES]
    source = torch.as_tensor(np.concatenate([s.points for s in surfaces]))
    labels = torch.arange(2).repeat_interleave(400)
    target = source + SHIFTS[labels]
    if start is not None:
        source, target = start.apply(source), start.apply(target)
    settings = Settings(motion="none", tolerance=0.005)
    found = drift(source, labels, target, labels, kernel(), torch.eye(2, dtype=torch.float64), settings)
    return found, surfaces, labels, target


@pytest.mark.parametrize("start", [None, Affine(rotation((0, 1, 1), 15) * 1.05, [12.0, -40.0, 9.0])])
def test_surfaces_and_what_they_hold_move_as_they_were_matched(start: Affine | None) -> None:
    found, surfaces, labels, target = solved(start)
    transform = dense_transform(GRID, found, kernel(), surfaces, start)
    points = torch.as_tensor(np.concatenate([s.points for s in surfaces]))
    assert float((transform.apply(points) - target).norm(dim=1).mean()) < 0.4
    # half way to the middle, where there are no surface points
    inner = 0.5 * (points + torch.as_tensor(CENTRES)[labels])
    expected = inner + SHIFTS[labels]
    expected = expected if start is None else start.apply(expected)
    assert float((transform.apply(inner) - expected).norm(dim=1).max()) < 0.5
    assert float(transform.jacobian_determinant(GRID).min()) > 0


def test_far_away_only_the_common_motion_is_left() -> None:
    found, surfaces, _, _ = solved()
    turn = torch.as_tensor(rotation((0, 0, 1), 30))
    common = Similarity(1.1, turn, torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64))
    moved = replace(found, similarity=common, moved=common.apply(found.source + found.displacement))
    large = grid_about((0, 0, 0), (60, 60, 60), (10.0,) * 3)
    transform = dense_transform(large, moved, kernel(), surfaces, None)
    x = torch.tensor([[200.0, 200.0, -200.0], [-900.0, 0.0, 900.0]], dtype=torch.float64)
    assert torch.allclose(transform.apply(x), common.apply(x), atol=0.02)


def test_any_start_is_honoured() -> None:
    """A start that is no matrix: everything goes into one field."""
    start = DisplacementField(torch.full((3, *GRID.shape), 4.0), GRID)
    surfaces = [sphere(c, 12.0) for c in CENTRES / 2]
    source = start.apply(torch.as_tensor(np.concatenate([s.points for s in surfaces])))
    labels = torch.arange(2).repeat_interleave(400)
    target = source + SHIFTS[labels]
    identity = torch.eye(2, dtype=torch.float64)
    found = drift(source, labels, target, labels, kernel(), identity, Settings(motion="none"))
    transform = dense_transform(GRID, found, kernel(), surfaces, start)
    points = torch.as_tensor(np.concatenate([s.points for s in surfaces]))
    assert isinstance(transform, DisplacementField)
    assert float((transform.apply(points) - target).norm(dim=1).mean()) < 0.6


def test_volume_is_the_same_on_a_coarse_and_on_a_fine_grid() -> None:
    found, surfaces, _, _ = solved()
    fine = dense_transform(GRID.with_spacing(1.5), found, kernel(), surfaces, None)
    coarse = dense_transform(GRID.with_spacing(4.0), found, kernel(), surfaces, None)
    x = torch.as_tensor(np.concatenate([s.points for s in surfaces]))
    assert float((fine.apply(x) - coarse.apply(x)).norm(dim=1).mean()) < 0.3


def test_two_dimensions() -> None:
    grid = Grid((70, 60), (2.0, 2.2), (-70.0, -65.0))
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    normals = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    surfaces = [Surface(20 * normals + c[:2], normals, np.ones(200)) for c in CENTRES * 0.8]
    source = torch.as_tensor(np.concatenate([s.points for s in surfaces]))
    labels = torch.arange(2).repeat_interleave(200)
    target = source + SHIFTS[labels][:, 1:]
    identity = torch.eye(2, dtype=torch.float64)
    found = drift(source, labels, target, labels, kernel(), identity, Settings(motion="none"))
    transform = dense_transform(grid, found, kernel(), surfaces, None)
    assert float((transform.apply(source) - target).norm(dim=1).mean()) < 0.4


def test_folds_are_smoothed_away_and_the_rest_is_left() -> None:
    grid = Grid((30, 30, 30), (2.0, 2.0, 2.0))
    x = grid.world_points(dtype=torch.float64)
    field = torch.zeros(3, *grid.shape, dtype=torch.float64)
    field[0] = -9 * torch.tanh((x[..., 0] - 20) / 3)  # left and right pass through each other at x = 20
    assert float(determinant(field, grid).min()) < -1
    calm = unfolded(field, grid)
    assert float(determinant(calm, grid).min()) > 0
    assert torch.equal(calm[:, :, :, 25:], field[:, :, :, 25:])
    smooth = 0.1 * field
    assert unfolded(smooth, grid) is smooth
