"""Slices lie where they are said to lie, whatever the grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.reports import slices
from reports.made import ball, beside, middle, volume, world


def points(plane: slices.Plane) -> np.ndarray:
    """(H, W, d) LPS mm of the pixels."""
    column, row = np.meshgrid(np.arange(plane.size[0]), np.arange(plane.size[1]))
    right, down = np.array(plane.right), np.array(plane.down)
    return np.array(plane.origin) + plane.pixel * (column[..., None] * right + row[..., None] * down)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pixel_shows_the_place_it_stands_for(axis):
    """A scan whose grey value is its own x, y or z is sampled on planes across an oblique, left-handed grid."""
    image = volume(world()[..., axis].astype(np.float32))
    for plane in slices.planes_through(image, middle()):
        found = slices.sample(image, plane)
        known = np.isfinite(found)
        assert known.mean() > 0.4 and not known.all()  # the corners lie outside the oblique scan
        # half a voxel at the border has no neighbour to go on towards
        error = np.abs(found - points(plane)[..., axis])[known]
        assert np.percentile(error, 90) < 1e-3 and error.max() <= 1.6


def test_planes_go_through_the_place_and_hold_the_whole_scan():
    image = volume(np.zeros(world().shape[:3], np.float32))
    place = beside(3.0, -4.0, 5.0)
    for plane in slices.planes_through(image, place):
        normal = np.cross(plane.right, plane.down)
        assert abs(normal @ (np.array(plane.origin) - place)) < 1e-9
        at = points(plane)
        for axis in (plane.right, plane.down):
            inside = world() @ np.array(axis)
            drawn = at @ np.array(axis)
            assert drawn.min() - plane.pixel <= inside.min() and inside.max() <= drawn.max() + plane.pixel


def side(mask: np.ndarray) -> tuple[float, float]:
    """Mean row and column of what is drawn, as shares of the picture from its middle, -0.5 to 0.5."""
    row, column = np.argwhere(mask).mean(axis=0)
    return row / mask.shape[0] - 0.5, column / mask.shape[1] - 0.5


@pytest.mark.parametrize(
    ("towards", "expected"),
    [
        ((12.0, 0, 0), {"axial": (0, 1), "coronal": (0, 1)}),  # the patient's left is on the right
        ((0, 12.0, 0), {"axial": (1, 0), "sagittal": (0, 1)}),  # the back is below, and on the right
        ((0, 0, 12.0), {"coronal": (-1, 0), "sagittal": (-1, 0)}),  # up is above
    ],
)
def test_the_patient_is_seen_the_radiological_way(towards, expected):
    place = beside(*towards)
    image = volume(ball(place, 5.0).astype(np.float32))
    for plane in slices.planes_through(image, place):
        row, column = side(slices.sample(image, plane) > 0.5)
        for found, wanted in zip((row, column), expected.get(plane.title, (0, 0)), strict=True):
            assert np.sign(found) * (abs(found) > 0.08) == wanted, plane.title
    letters = {plane.title: plane.letters for plane in slices.planes_through(image, place)}
    assert letters == {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}


def test_a_ball_is_round_on_every_plane_though_voxels_are_not():
    image = volume(ball(tuple(middle()), 14.0).astype(np.float32))
    for plane in slices.planes_through(image, middle()):
        drawn = slices.sample(image, plane) > 0.5
        wide, high = np.ptp(np.argwhere(drawn), axis=0) * plane.pixel
        assert abs(wide - 28) < 3.1 and abs(high - 28) < 3.1


def test_small_scans_are_enlarged_and_large_ones_made_smaller():
    for size, spacing in (((9, 9, 9), 2.0), ((900, 500, 3), 0.5)):
        image = sitk.Image(size, sitk.sitkUInt8)
        image.SetSpacing((spacing,) * 3)
        plane = slices.planes_through(image, slices.centre_of(image))[0]
        assert 250 <= max(plane.size) <= 450


def test_two_dimensions():
    image = sitk.GetImageFromArray(np.arange(20 * 30, dtype=np.float32).reshape(20, 30))
    image.SetSpacing((2.0, 1.0))
    (plane,) = slices.planes_through(image, slices.centre_of(image))
    assert plane.size[0] == pytest.approx(3 * plane.size[1], rel=0.02) and plane.letters == ""
    found = slices.sample(image, plane, linear=False)
    assert (found[0, 0], found[-1, -1]) == (0, 599)


def test_places():
    inside = ball(beside(5.0, -4.0, 6.0), 6.0)
    labels = volume(inside.astype(np.uint8) * 3)
    assert np.allclose(slices.centre_of_labels(labels), world()[inside].mean(axis=0), atol=1e-6)
    assert slices.centre_of_labels(volume(np.zeros_like(inside, dtype=np.uint8))) is None
    values = np.ones(inside.shape, np.float32)
    values[9, 20, 31], values[0, 0, 0] = -1, -5  # the border does not count
    assert np.allclose(slices.place_of_smallest(volume(values)), world()[9, 20, 31])
    assert np.allclose(slices.centre_of(labels), middle())
    assert slices.contains(labels, middle()) and not slices.contains(labels, beside(100, 0, 0))


def test_files_that_are_no_volume_are_a_sentence(tmp_path):
    (tmp_path / "text.nrrd").write_text("no image")
    series = sitk.JoinSeries([sitk.Image(4, 4, 4, sitk.sitkUInt8)] * 2)
    sitk.WriteImage(series, str(tmp_path / "series.nrrd"))
    for name, words in (
        ("gone.nrrd", "no longer there"),
        ("text.nrrd", "could not be read"),
        ("series.nrrd", "series"),
    ):
        with pytest.raises(InputError, match=words):
            slices.read_volume(tmp_path / name)
