"""Every transform against SimpleITK, their composition, and their types."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.grids import GRIDS, itk_affine, itk_field, linear_map, some_points, wavy
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.sampling import BLOCK
from DeepRegistrationLib.transforms import Affine, Composition, DisplacementField, VelocityField, compose
from DeepRegistrationLib.transforms.compose import as_displacement_field

every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def through(transform: sitk.Transform, points: torch.Tensor) -> np.ndarray:
    return np.array([transform.TransformPoint(p) for p in points.tolist()])


@every_grid
def test_affine_maps_points_as_itk(grid):
    transform, points = linear_map(grid), some_points(grid, margin=-3)
    np.testing.assert_allclose(transform.apply(points), through(itk_affine(transform), points), atol=1e-9)


@every_grid
def test_field_maps_points_as_itk_inside_and_outside(grid):
    field, points = wavy(grid, 2.0), some_points(grid, 200, margin=-2)
    inside = (points - torch.from_numpy(grid.centre)).norm(dim=1) > 0
    np.testing.assert_allclose(
        field.apply(points)[inside], through(itk_field(field), points[inside]), atol=2e-4
    )
    outside = torch.from_numpy(grid.world_from_index([-5.0] * grid.dimension))[None]
    assert torch.equal(field.apply(outside), outside)


@every_grid
def test_the_displacement_is_that_of_the_points(grid):
    other = grid.with_size([n + 1 for n in grid.size])
    for transform in (linear_map(grid), wavy(grid, 2.0), Composition([wavy(grid, 1.0), linear_map(grid)])):
        for on in (grid, other):
            x = on.world_points(dtype=torch.float64)
            u = transform.apply(x.reshape(-1, grid.dimension)).reshape(x.shape) - x
            torch.testing.assert_close(
                torch.movedim(transform.displacement(on), 0, -1), u.float(), atol=1e-4, rtol=0
            )
            assert as_displacement_field(transform, on).grid == on


def test_displacement_of_a_grid_of_several_blocks():
    grid = GRIDS["oblique"].with_size((64, 70, 150))
    assert grid.voxels > 2 * BLOCK
    transform = linear_map(grid)
    u = transform.displacement(grid)
    for place in ((0, 0, 0), (63, 69, 149), (10, 20, 77)):
        x = torch.from_numpy(grid.world_from_index(place))
        expected = (transform.apply(x[None])[0] - x).float()
        torch.testing.assert_close(u[(slice(None), *place[::-1])], expected, atol=1e-4, rtol=0)


@every_grid
def test_composition_applies_the_first_part_first(grid):
    first, second, third = linear_map(grid, 1), wavy(grid, 2.0), linear_map(grid, 2)
    points = some_points(grid, margin=1)
    composite = sitk.CompositeTransform(grid.dimension)
    for part in (itk_affine(third), itk_field(second), itk_affine(first)):  # ITK: the last added acts first
        composite.AddTransform(part)
    expected = through(composite, points)
    np.testing.assert_allclose(Composition([first, second, third]).apply(points), expected, atol=2e-4)
    np.testing.assert_allclose(
        compose(first, Composition([second, third])).apply(points), expected, atol=2e-4
    )


def test_compose_multiplies_linear_parts_out():
    grid = GRIDS["oblique"]
    a, b, c, f = linear_map(grid, 1), linear_map(grid, 2), linear_map(grid, 3), wavy(grid, 1.0)
    points = some_points(grid)
    product = compose(a, b)
    assert isinstance(product, Affine) and product.is_linear
    torch.testing.assert_close(product.apply(points), b.apply(a.apply(points)))
    parts = compose(a, compose(b, f), c).parts
    assert [type(p) for p in parts] == [Affine, DisplacementField, Affine]
    assert compose(f) is f
    assert not Composition([a, f]).is_linear and Composition([a, b]).is_linear


@every_grid
def test_index_displacements_point_along_the_axes_of_the_grid(grid):
    d = grid.dimension
    steps = torch.zeros((d, *grid.shape))
    steps[0], steps[d - 1] = 1.0, 2.0
    field = DisplacementField.from_index_displacement(steps, grid)
    start = torch.from_numpy(grid.world_from_index([0.0] * d))[None]
    end = [1.0] + [0.0] * (d - 2) + [2.0]
    np.testing.assert_allclose(field.apply(start)[0], grid.world_from_index(end), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([2, 3]), st.integers(0, 1000))
def test_affine_forms(d, seed):
    rng = np.random.default_rng(seed)
    a, c, t = np.eye(d) + 0.3 * rng.normal(size=(d, d)), rng.normal(size=d) * 50, rng.normal(size=d)
    about, x = Affine.about(c, a, t), rng.normal(size=(1, d)) * 100
    np.testing.assert_allclose(about.apply(torch.from_numpy(x))[0], a @ (x[0] - c) + c + t, atol=1e-9)
    again = Affine.from_homogeneous(about.homogeneous)
    np.testing.assert_allclose(again.apply(torch.from_numpy(x)), about.apply(torch.from_numpy(x)))
    back = about.inverse()
    assert back.residual_mm == 0.0
    np.testing.assert_allclose(back.transform.apply(about.apply(torch.from_numpy(x))), x, atol=1e-7)
    determinant = about.jacobian_determinant(GRIDS["plain" if d == 3 else "flat plain"])
    np.testing.assert_allclose(determinant, np.linalg.det(a), rtol=1e-5)


def test_points_keep_their_type():
    grid = GRIDS["oblique"]
    for transform in (linear_map(grid), wavy(grid, 1.0), Composition([linear_map(grid), wavy(grid, 1.0)])):
        for dtype in (torch.float32, torch.float64):
            points = some_points(grid).to(dtype)
            assert transform.apply(points).dtype == dtype
        assert transform.apply(points[:0]).shape == (0, 3)
        assert transform.to("cpu").dimension == 3 and transform.device.type == "cpu"


def test_refusals():
    grid = GRIDS["plain"]
    with pytest.raises(InputError, match="determinant 0"):
        Affine(np.zeros((3, 3)), np.zeros(3)).inverse()
    with pytest.raises(InputError, match="not finite"):
        Affine(np.eye(3), [0, 0, np.nan])
    with pytest.raises(InputError, match="dxd matrix"):
        Affine(np.eye(2), [0, 0, 0])
    with pytest.raises(InputError, match=r"needs the shape \(3, 7, 8, 9\)"):
        DisplacementField(torch.zeros(3, 9, 8, 7), grid)
    with pytest.raises(InputError, match="same dimension"):
        Composition([Affine.identity(2), Affine.identity(3)])
    with pytest.raises(InputError, match="at least one"):
        Composition([])


def test_a_velocity_field_is_its_flow():
    """For v(x) = B x the flow is exp(B) x: the matrix exponential is the closed form."""
    grid = GRIDS["oblique"].with_size((24, 25, 23))
    b = np.array([[0.05, -0.12, 0.0], [0.1, 0.02, 0.03], [0.0, 0.04, -0.06]])
    x = grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)
    v = torch.movedim(x @ torch.from_numpy(b).T, -1, 0).float()
    expected = Affine.about(grid.centre, torch.linalg.matrix_exp(torch.from_numpy(b)).numpy(), np.zeros(3))
    middle = some_points(grid, margin=7)
    error = VelocityField(v, grid).apply(middle) - expected.apply(middle)
    assert float(error.abs().max()) < 2e-3
    assert float((middle - expected.apply(middle)).norm(dim=1).max()) > 0.3
