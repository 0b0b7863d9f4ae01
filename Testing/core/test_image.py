"""Image.resampled against SimpleITK, voxel by voxel, and what an image refuses."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from core.grids import GRIDS, empty_itk, itk_affine, itk_field, itk_image, linear_map, noise, wavy
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.transforms import Composition

#: (moving grid, fixed grid): different in size, spacing, direction and field of view, yet overlapping
PAIRS = {
    name: (grid, Grid([n + 2 for n in grid.size], [0.83 * s for s in grid.spacing], None, turned.direction))
    for (name, grid), turned in zip(
        GRIDS.items(), [GRIDS[k] for k in ("oblique", "left-handed", "plain", "axes swapped", "oblique")] + [
            GRIDS[k] for k in ("flat oblique", "flat left-handed", "flat plain")
        ], strict=True
    )
}


def centred(fixed: Grid, moving: Grid) -> Grid:
    """`fixed` moved so that both fields of view have one centre: some voxels lie outside, most inside."""
    origin = np.array(fixed.origin) + moving.centre - fixed.centre
    return Grid(fixed.size, fixed.spacing, origin, fixed.direction)


def maps(fixed: Grid, moving: Grid):
    """(transform, the same map in SimpleITK), the field on a grid of its own."""
    linear, field = linear_map(moving, 3), wavy(moving.with_size([n + 3 for n in moving.size]), 1.5, 4)
    d = moving.dimension
    both = sitk.CompositeTransform(d)
    both.AddTransform(itk_affine(linear))  # ITK: the last added acts first
    both.AddTransform(itk_field(field))
    return {
        "identity": (None, sitk.Transform(d, sitk.sitkIdentity)),
        "affine": (linear, itk_affine(linear)),
        "field": (field, itk_field(field)),
        "field then affine": (Composition([field, linear]), both),
    }


@pytest.mark.parametrize("kind", ["identity", "affine", "field", "field then affine"])
@pytest.mark.parametrize("moving, fixed", PAIRS.values(), ids=PAIRS.keys())
def test_resampling_is_that_of_simpleitk(moving, fixed, kind):
    fixed = centred(fixed, moving)
    transform, itk = maps(fixed, moving)[kind]
    methods = {ImageKind.INTENSITY: sitk.sitkLinear, ImageKind.LABELS: sitk.sitkNearestNeighbor}
    for labels, method in methods.items():
        image = noise(moving, kind=labels)
        mine = image.resampled(fixed, transform, outside=-7.0)
        theirs = sitk.GetArrayFromImage(sitk.Resample(itk_image(image), empty_itk(fixed), itk, method, -7.0))
        ours = mine.data[0].numpy()
        assert mine.grid == fixed and mine.kind is labels
        assert 0 < (ours == -7).sum() < ours.size  # the case has an inside and an outside
        # rounding may decide differently about the edge of the field of view or the nearer voxel
        differs = np.abs(ours - theirs) > (2e-3 if labels is ImageKind.INTENSITY else 0)
        assert differs.mean() <= (0.002 if kind == "identity" else 0.004), np.argwhere(differs)


def test_labels_keep_their_type_and_names():
    image = Image(torch.ones((1, 3, 4), dtype=torch.uint8), Grid((4, 3)), ImageKind.LABELS, {1: "liver"})
    moved = image.resampled(Grid((5, 5), origin=(-3, -1)))
    assert moved.data.dtype == torch.uint8
    assert moved.names == {1: "liver"}
    assert moved.label_values == [1]
    assert moved.data[0, 0].tolist() == [0, 0, 0, 0, 0]


def test_what_lies_outside():
    grid, far = Grid((3, 3)), Grid((2, 2), origin=(100, 100))
    values = torch.arange(9.0).reshape(1, 3, 3) - 1000
    assert Image(values, grid).resampled(far).data.unique().tolist() == [-1000]
    for kind in (ImageKind.DOSE, ImageKind.MASK, ImageKind.LABELS):
        assert Image(values.to(torch.int16), grid, kind).resampled(far).data.unique().tolist() == [0]


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_a_linear_ramp_stays_one_on_other_grids_of_the_field_of_view(grid):
    slope = torch.arange(1.0, grid.dimension + 1, dtype=torch.float64)
    ramp = Image((grid.world_points(dtype=torch.float64) @ slope)[None].float(), grid)
    for other in (grid.downsampled(2), grid.with_size([n - 2 for n in grid.size])):
        expected = other.world_points(dtype=torch.float64) @ slope
        torch.testing.assert_close(ramp.resampled(other).data[0].double(), expected, atol=2e-3, rtol=1e-5)


def test_values_at_points():
    grid = GRIDS["oblique"]
    image = noise(grid, channels=2)
    place = (3, 5, 2)
    x = torch.from_numpy(grid.world_from_index(place))
    torch.testing.assert_close(image.at(x[None])[:, 0], image.data[:, 2, 5, 3])
    assert image.at(x[None] + 1000, outside=-1.0).flatten().tolist() == [-1, -1]


def test_inputs_stay_as_they_are():
    image, transform = noise(GRIDS["oblique"]), wavy(GRIDS["oblique"], 2.0)
    before = image.data.clone(), transform.field.clone()
    image.resampled(GRIDS["oblique"], transform).data.zero_()
    assert torch.equal(image.data, before[0]) and torch.equal(transform.field, before[1])


@pytest.mark.parametrize("shape", [(4, 3), (1, 3, 4), (1, 1, 4, 3)])
def test_refuses_values_that_do_not_fit(shape):
    with pytest.raises(InputError, match=r"\(channels, 4, 3\)"):
        Image(torch.zeros(shape), Grid((3, 4)))
