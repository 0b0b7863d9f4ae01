"""Transforms to files and back, and the same map in SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from core.grids import (
    GRIDS,
    empty_itk,
    itk_affine,
    itk_field,
    itk_image,
    linear_map,
    noise,
    some_points,
    wavy,
)
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine, Composition, DisplacementField, VelocityField

every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def through(transform: sitk.Transform, points: torch.Tensor) -> np.ndarray:
    return np.array([transform.TransformPoint(p) for p in points.tolist()])


@every_grid
@pytest.mark.parametrize("ending", [".tfm", ".txt", ".h5", ".hdf5", ".mat"])
def test_linear_transforms(grid, ending, tmp_path):
    transform, path = linear_map(grid), tmp_path / f"t{ending}"
    io.write_transform(transform, path)
    again = io.read_transform(path)
    assert isinstance(again, Affine)
    np.testing.assert_allclose(again.homogeneous, transform.homogeneous, atol=1e-9)
    points = some_points(grid)
    itk = sitk.ReadTransform(str(path))
    np.testing.assert_allclose(through(itk, points), transform.apply(points), atol=1e-9)


@every_grid
@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha", ".h5"])
def test_fields(grid, ending, tmp_path):
    field, path = wavy(grid, 2.0), tmp_path / f"t{ending}"
    io.write_transform(field, path)
    again = io.read_transform(path)
    assert isinstance(again, DisplacementField) and again.grid.same_as(grid)
    torch.testing.assert_close(again.field, field.field, rtol=0, atol=1e-6)
    if ending == ".h5":
        itk = sitk.ReadTransform(str(path))
    else:
        itk = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    points = some_points(grid)
    np.testing.assert_allclose(through(itk, points), field.apply(points), atol=1e-4)


@every_grid
def test_any_transform_as_a_field_on_the_fixed_grid(grid, tmp_path):
    """Applying the exported file with SimpleITK gives the moved image."""
    fixed, path = grid.with_size([n + 2 for n in grid.size]), tmp_path / "transform.nrrd"
    moving = noise(grid)
    velocity = VelocityField(wavy(grid, 1.0, 2).field, grid)
    both = Composition([wavy(grid, 1.0), linear_map(grid)])
    for transform in (linear_map(grid, amount=0.02), both, velocity):
        io.write_transform(transform, path, fixed)
        itk = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
        theirs = sitk.Resample(itk_image(moving), empty_itk(fixed), itk, sitk.sitkLinear, 0.0)
        ours = moving.resampled(fixed, transform, outside=0.0).data[0].numpy()
        apart = np.abs(sitk.GetArrayFromImage(theirs) - ours)
        assert (apart > 0.01).mean() <= 0.004  # rounding at the edge of the field of view
        assert io.read_transform(path).grid.same_as(fixed)


@every_grid
def test_compositions_keep_their_order(grid, tmp_path):
    transform = Composition([linear_map(grid, 1), wavy(grid, 1.0), linear_map(grid, 2)])
    points = some_points(grid, margin=1)
    io.write_transform(transform, tmp_path / "t.h5")
    again = io.read_transform(tmp_path / "t.h5")
    assert [type(p) for p in again.parts] == [Affine, DisplacementField, Affine]
    torch.testing.assert_close(again.apply(points), transform.apply(points), rtol=0, atol=1e-4)
    itk = io.to_sitk_transform(transform)
    np.testing.assert_allclose(through(itk, points), transform.apply(points), atol=1e-4)
    two = Composition([linear_map(grid, 1), linear_map(grid, 2)])
    io.write_transform(two, tmp_path / "t.tfm")
    torch.testing.assert_close(io.read_transform(tmp_path / "t.tfm").apply(points), two.apply(points))


def every_linear_itk_transform():
    centre, axis, step = (10.0, -20.0, 30.0), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
    scale, skew = (1.1, 0.9, 1.2), [0.1, 0.0, 0.2, 0.0, 0.1, 0.0]
    yield "translation 2", sitk.TranslationTransform(2, (3.0, -4.0))
    yield "translation 3", sitk.TranslationTransform(3, (3.0, -4.0, 5.0))
    yield "scale", sitk.ScaleTransform(3, scale)
    yield "euler 2", sitk.Euler2DTransform(centre[:2], 0.4, (1.0, 2.0))
    yield "euler 3", sitk.Euler3DTransform(centre, 0.2, -0.3, 0.5, step)
    yield "similarity 2", sitk.Similarity2DTransform(1.2, 0.3, (1.0, 2.0), centre[:2])
    yield "similarity 3", sitk.Similarity3DTransform(1.2, axis, 0.4, step, centre)
    yield "versor", sitk.VersorTransform(axis, 0.4, centre)
    yield "versor rigid", sitk.VersorRigid3DTransform(axis, 0.4, step, centre)
    yield "scale skew", sitk.ScaleSkewVersor3DTransform(scale, skew, axis, 0.4, step, centre)
    yield "scale versor", sitk.ScaleVersor3DTransform(scale, axis, 0.4, step, centre)
    yield "affine", sitk.AffineTransform([1.1, 0.1, 0.0, 0.2, 0.9, 0.0, 0.0, 0.1, 1.0], step, centre)
    yield "identity", sitk.Transform(3, sitk.sitkIdentity)


@pytest.mark.parametrize("itk", [pytest.param(t, id=n) for n, t in every_linear_itk_transform()])
@pytest.mark.parametrize("ending", [".tfm", ".h5"])
def test_linear_transforms_of_every_kind(itk, ending, tmp_path):
    path = tmp_path / f"t{ending}"
    sitk.WriteTransform(itk, str(path))
    d = itk.GetDimension()
    points = torch.from_numpy(np.random.default_rng(0).uniform(-200, 200, (20, d)))
    mine = io.read_transform(path)
    assert isinstance(mine, Affine)
    np.testing.assert_allclose(mine.apply(points), through(itk, points), atol=1e-8)


@pytest.mark.parametrize("name", ["oblique", "flat oblique"])
def test_b_splines(name, tmp_path):
    grid = GRIDS[name].with_size([4 * n for n in GRIDS[name].size])
    spline = sitk.BSplineTransformInitializer(empty_itk(grid), [4] * grid.dimension)
    rng = np.random.default_rng(0)
    spline.SetParameters((0.5 * rng.normal(size=len(spline.GetParameters()))).tolist())
    sitk.WriteTransform(spline, str(tmp_path / "t.tfm"))
    points = some_points(grid, 100, margin=1)
    on_its_domain = io.read_transform(tmp_path / "t.tfm")
    on_the_grid = io.read_transform(tmp_path / "t.tfm", grid)
    assert on_the_grid.grid == grid
    edge = on_its_domain.grid.world_from_index([-0.5] * grid.dimension)
    np.testing.assert_allclose(edge, spline.GetTransformDomainOrigin(), atol=1e-9)
    np.testing.assert_allclose(on_its_domain.grid.extent, spline.GetTransformDomainPhysicalDimensions())
    for mine in (on_its_domain, on_the_grid):
        np.testing.assert_allclose(mine.apply(points), through(spline, points), atol=0.03)
    assert np.abs(through(spline, points) - points.numpy()).max() > 0.3


def spline_over(grid, mm=1.0, seed=0):
    spline = sitk.BSplineTransformInitializer(empty_itk(grid), [4] * grid.dimension)
    rng = np.random.default_rng(seed)
    spline.SetParameters((mm * rng.normal(size=len(spline.GetParameters()))).tolist())
    return spline


def composites_with_splines(grid):
    """What ITK applies first comes first in the name; a spline lies where its predecessors lead."""
    affine = itk_affine(linear_map(grid, 3))
    wide = grid.padded(6)
    spline, field = spline_over(wide), itk_field(wavy(wide, 1.0))
    yield "spline", [spline]
    yield "spline, affine", [spline, affine]
    yield "affine, spline", [affine, spline]
    yield "affine, spline, affine", [affine, spline, itk_affine(linear_map(grid, 5))]
    yield "affine, field, spline", [affine, field, spline]
    yield "two splines", [spline, spline_over(wide, seed=7)]


COMPOSITES = (
    "spline",
    "spline, affine",
    "affine, spline",
    "affine, spline, affine",
    "affine, field, spline",
    "two splines",
)


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("grid", [GRIDS["oblique"], GRIDS["left-handed"]], ids=["oblique", "left-handed"])
def test_splines_among_others_are_exact_on_the_grid_and_linear_beyond(grid, name, tmp_path):
    parts = dict(composites_with_splines(grid))[name]
    itk = sitk.CompositeTransform(3)
    for part in reversed(parts):
        itk.AddTransform(part)
    sitk.WriteTransform(itk, str(tmp_path / "t.h5"))
    mine = io.read_transform(tmp_path / "t.h5", grid)
    voxels = torch.from_numpy(np.stack(np.unravel_index(np.arange(grid.voxels), grid.shape)[::-1], -1).astype(float))
    centres = torch.from_numpy(grid.world_from_index(voxels.numpy()))
    theirs = through(itk, centres)
    assert np.abs(theirs - centres.numpy()).max() > 0.5
    np.testing.assert_allclose(mine.apply(centres), theirs, atol=2e-4)
    u = mine.displacement(grid).reshape(3, -1).T.numpy()
    np.testing.assert_allclose(u, theirs - centres.numpy(), atol=2e-4)
    beyond = torch.from_numpy(grid.centre + 20.0 * np.array(grid.extent))[None]
    linear = [part for part in parts if part.IsLinear()]
    expected = beyond.numpy()
    for part in linear:
        expected = through(part, torch.from_numpy(expected))
    np.testing.assert_allclose(mine.apply(beyond), expected, atol=1e-6)
    # without a grid the splines are sampled on their own
    loose = io.read_transform(tmp_path / "t.h5")
    np.testing.assert_allclose(loose.apply(centres), theirs, atol=0.05)


def test_a_spline_that_does_not_reach_the_grid_is_refused(tmp_path):
    grid = GRIDS["oblique"]
    far = Grid(grid.size, grid.spacing, np.array(grid.origin) + 500.0, grid.direction)
    sitk.WriteTransform(spline_over(far), str(tmp_path / "t.tfm"))
    with pytest.raises(InputError, match=r"t\.tfm.*covers nothing"):
        io.read_transform(tmp_path / "t.tfm", grid)
    still = sitk.BSplineTransformInitializer(empty_itk(grid), [4] * 3)
    assert float(io.from_sitk_transform(still, grid).displacement(grid).abs().max()) == 0


def test_a_grid_of_another_dimension_is_left_alone():
    flat, grid = GRIDS["flat plain"], GRIDS["oblique"]
    assert io.from_sitk_transform(spline_over(flat), grid).dimension == 2


def test_a_composite_read_from_itk_applies_the_last_first():
    grid = GRIDS["oblique"]
    first, second = linear_map(grid, 1), wavy(grid, 1.0)
    inner = sitk.CompositeTransform([itk_field(second), itk_affine(first)])
    outer = sitk.CompositeTransform([itk_affine(linear_map(grid, 3)), inner])
    points = some_points(grid, margin=1)
    np.testing.assert_allclose(io.from_sitk_transform(outer).apply(points), through(outer, points), atol=1e-4)
    empty = io.from_sitk_transform(sitk.CompositeTransform(3))
    assert torch.equal(empty.apply(points), points)


def test_sampled_on_a_grid_for_itk():
    grid = GRIDS["left-handed"]
    transform = Composition([wavy(grid, 1.0), linear_map(grid)])
    itk = io.to_sitk_transform(transform, grid)
    assert isinstance(itk, sitk.DisplacementFieldTransform)
    voxel = torch.from_numpy(grid.world_from_index([2, 3, 1]))[None]
    np.testing.assert_allclose(through(itk, voxel), transform.apply(voxel), atol=1e-4)


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        io.read_transform(path)
    text = str(caught.value)
    assert str(path) in text and all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")


def test_files_that_are_no_transform(tmp_path):
    refused(tmp_path / "none.tfm", "does not exist")
    refused(tmp_path, "is a folder")
    for name in ("a.tfm", "a.h5", "a.mat", "a.xyz"):
        (tmp_path / name).write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
        refused(tmp_path / name, "ITK transform")
    (tmp_path / "e.txt").write_text('(Transform "EulerTransform")\n(NumberOfParameters 6)\n')
    refused(tmp_path / "e.txt", "elastix", "transformix")
    io.write_image(noise(GRIDS["plain"]), tmp_path / "scan.nii.gz")
    refused(tmp_path / "scan.nii.gz", "1 value(s) a voxel", "no displacement field")
    (tmp_path / "tps.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: ThinPlateSplineKernelTransform_double_3_3\n"
        "Parameters: 0 0 0\nFixedParameters: 0 0 0\n"
    )
    refused(tmp_path / "tps.tfm", "ThinPlateSplineKernelTransform_double_3_3", "displacement field")
    broken = wavy(GRIDS["plain"], 1.0)
    broken.field[0, 0, 0, 0] = float("nan")
    io.write_transform(broken, tmp_path / "nan.nrrd")
    refused(tmp_path / "nan.nrrd", "not finite")
    (tmp_path / "nan.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_2_2\n"
        "Parameters: 1 0 0 nan 0 0\nFixedParameters: 0 0\n"
    )
    refused(tmp_path / "nan.tfm")


@pytest.mark.parametrize("kept", [0.95, 0.6, 0.3])
@pytest.mark.parametrize("ending", [".tfm", ".txt", ".mat", ".h5"])
def test_a_file_that_was_cut_short(ending, kept, tmp_path):
    """ITK reads a shortened text as the identity."""
    path = tmp_path / f"t{ending}"
    itk = sitk.Euler3DTransform((10.5, -20.25, 30.125), 0.2, -0.3, 0.5, (1.0, 2.0, 3.0))
    sitk.WriteTransform(itk, str(path))
    content = path.read_bytes()
    end = content.index(b"\nFixedParameters") + 1 if ending in (".tfm", ".txt") else len(content)
    path.write_bytes(content[: int(end * kept)])
    refused(path)


@pytest.mark.data
def test_a_real_transform(shared_data):
    folder = shared_data / "ct_mr_sarcoma_a"
    transform = io.read_transform(folder / "true_rigid_fixed_to_moving.tfm")
    fixed, moving = (io.read_points(folder / f"{n}_landmarks.txt") for n in ("fixed", "moving"))
    assert float((fixed.mapped(transform).points - moving.points).norm(dim=1).max()) < 0.05
