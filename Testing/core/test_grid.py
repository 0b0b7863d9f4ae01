"""Grid: index, world and normalised coordinates, other grids of the same field of view, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from core.grids import GRIDS, any_grid, empty_itk, rotation
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import ALIGN_CORNERS, Grid, apply_matrix

every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


@settings(max_examples=40, deadline=None)
@given(any_grid(), st.integers(0, 2**31))
def test_index_and_world_are_as_in_itk(grid, seed):
    index = np.random.default_rng(seed).uniform(-3, 9, size=(5, grid.dimension))
    itk = empty_itk(grid)
    expected = [itk.TransformContinuousIndexToPhysicalPoint(row.tolist()) for row in index]
    np.testing.assert_allclose(grid.world_from_index(index), expected, atol=1e-9)
    np.testing.assert_allclose(grid.index_from_world(expected), index, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(any_grid())
def test_points_of_the_voxels_are_those_of_their_indices(grid):
    index = grid.index_points(dtype=torch.float64)
    world = grid.world_points(dtype=torch.float64)
    assert index.shape == (*grid.shape, grid.dimension)
    for place in np.ndindex(*grid.shape):
        assert index[place].tolist() == list(place[::-1])
        np.testing.assert_allclose(world[place].numpy(), grid.world_from_index(place[::-1]), atol=1e-9)


@every_grid
def test_normalised_coordinates_are_those_of_grid_sample(grid):
    """Sampling the index coordinates at a normalised point gives the index it stands for."""
    index = np.random.default_rng(1).uniform(0, np.array(grid.size) - 1, size=(20, grid.dimension))
    normalised = apply_matrix(grid.index_to_normalised, index)
    ramp = torch.movedim(grid.index_points(dtype=torch.float64), -1, 0)[None]
    at = torch.from_numpy(normalised).reshape((1,) * grid.dimension + index.shape)
    read = F.grid_sample(ramp, at, align_corners=ALIGN_CORNERS, padding_mode="border")
    np.testing.assert_allclose(read.reshape(grid.dimension, -1).T.numpy(), index, atol=1e-9)
    outermost = np.array([[-0.5] * grid.dimension, np.array(grid.size) - 0.5])
    edges = apply_matrix(grid.index_to_normalised, outermost)
    np.testing.assert_allclose(edges, [[-1.0] * grid.dimension, [1.0] * grid.dimension])


@every_grid
def test_centre_corners_and_extent(grid):
    np.testing.assert_allclose(grid.corners.mean(axis=0), grid.centre, atol=1e-9)
    across = np.linalg.norm(grid.corners[-1] - grid.corners[0])
    inner = [(n - 1) * s for n, s in zip(grid.size, grid.spacing, strict=True)]
    assert across == pytest.approx(np.linalg.norm(inner))
    assert grid.voxels * grid.voxel_volume == pytest.approx(np.prod(grid.extent))


@settings(max_examples=40, deadline=None)
@given(any_grid(), st.data())
def test_another_size_keeps_the_edges(grid, data):
    other = grid.with_size([data.draw(st.integers(1, 9)) for _ in grid.size])
    for corner in (0.0, 1.0):
        here = grid.world_from_index([corner * n - 0.5 for n in grid.size])
        there = other.world_from_index([corner * n - 0.5 for n in other.size])
        np.testing.assert_allclose(there, here, atol=1e-8)
    np.testing.assert_allclose(other.extent, grid.extent)


@every_grid
def test_another_spacing_is_about_the_asked_one(grid):
    other = grid.with_spacing(1.6)
    for n, s, e in zip(other.size, other.spacing, grid.extent, strict=True):
        assert n * s == pytest.approx(e)
        assert abs(n - e / 1.6) <= 0.5 or n == 1


@every_grid
@pytest.mark.parametrize("factor", [2, 3])
def test_average_pooling_of_positions_gives_the_positions_of_the_downsampled_grid(grid, factor):
    world = torch.movedim(grid.world_points(dtype=torch.float64), -1, 0)[None]
    pool = F.avg_pool3d if grid.dimension == 3 else F.avg_pool2d
    pooled = torch.movedim(pool(world, factor)[0], 0, -1)
    torch.testing.assert_close(pooled, grid.downsampled(factor).world_points(dtype=torch.float64))


@every_grid
def test_padded_and_cropped_voxels_stay_where_they_are(grid):
    d = grid.dimension
    padded = grid.padded(2)
    np.testing.assert_allclose(padded.world_from_index([2] * d), grid.origin)
    assert padded.cropped([2] * d, grid.size).same_as(grid)
    assert grid.cropped([1] * d, [2] * d).origin == pytest.approx(tuple(grid.world_from_index([1] * d)))


@settings(max_examples=30, deadline=None)
@given(any_grid(), st.integers(1, 60))
def test_blocks_put_together_are_the_grid(grid, voxels):
    pieces = [(part, block.world_points(dtype=torch.float64)) for part, block in grid.blocks(voxels)]
    assert [p.start for p, _ in pieces] == [0, *(p.stop for p, _ in pieces[:-1])]
    torch.testing.assert_close(torch.cat([x for _, x in pieces]), grid.world_points(dtype=torch.float64))


@every_grid
def test_displacements_in_mm_become_voxels_without_the_origin(grid):
    step = np.random.default_rng(2).normal(size=(4, grid.dimension))
    start = grid.world_from_index([1.0] * grid.dimension)
    expected = grid.index_from_world(start + step) - 1.0
    np.testing.assert_allclose(apply_matrix(grid.mm_to_voxels, step), expected, atol=1e-9)


def test_same_as_looks_at_every_part_of_the_geometry():
    grid = GRIDS["oblique"]
    assert grid.same_as(Grid(grid.size, grid.spacing, np.array(grid.origin) + 1e-5, grid.direction))
    assert not grid.same_as(Grid(grid.size, grid.spacing, np.array(grid.origin) + 0.01, grid.direction))
    assert not grid.same_as(Grid(grid.size, np.array(grid.spacing) * 1.01, grid.origin, grid.direction))
    assert not grid.same_as(Grid(grid.size, grid.spacing, grid.origin, rotation(20, -35, 51)))
    assert not grid.same_as(grid.with_size([2, 2, 2]))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(size=(3, 3, 3), direction=np.zeros((3, 3))), ["not orthonormal"]),
        (dict(size=(3, 3), direction=[[1, 0.2], [0, 1]]), ["not orthonormal", "0.2"]),
        (dict(size=(3, 3), direction=np.eye(3)), ["2x2", "9 numbers"]),
        (dict(size=(3, 0)), ["at least one voxel", "(3, 0)"]),
        (dict(size=(3, 3), spacing=(1, -1)), ["-1.0", "positive"]),
        (dict(size=(3, 3), spacing=(1, float("nan"))), ["nan"]),
        (dict(size=(3, 3), origin=(0, float("inf"))), ["inf"]),
        (dict(size=(3,)), ["two or three axes"]),
        (dict(size=(3, 3, 3, 3)), ["two or three axes"]),
        (dict(size=(3, 3), spacing=(1, 1, 1)), ["same number of axes"]),
    ],
)
def test_refuses_what_is_no_grid(arguments, words):
    with pytest.raises(InputError) as caught:
        Grid(**arguments)
    assert all(word in str(caught.value) for word in words), caught.value


def test_grids_are_values():
    assert Grid((3, 4), (1, 2)) == Grid([3, 4], np.array([1, 2]))
    assert hash(Grid((3, 4))) == hash(Grid((3, 4)))
    assert str(GRIDS["anisotropic"]) == "9 x 8 x 5 voxels of 0.7 x 1.1 x 3 mm"
