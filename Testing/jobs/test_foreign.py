"""Reviews of transforms made by other programs, held against SimpleITK, and of what cannot be reviewed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
from core.grids import empty_itk, itk_affine, itk_field, linear_map, rotation, some_points, wavy
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.jobs.review import ReviewRequest, perform_review
from DeepRegistrationLib.transforms import Affine
from jobs.working import FIXED, MOVING, assert_same, last_event, submitted


def b_spline(grid, mm=2.0, seed=0):
    spline = sitk.BSplineTransformInitializer(empty_itk(grid), [4] * grid.dimension)
    rng = np.random.default_rng(seed)
    spline.SetParameters((mm * rng.normal(size=len(spline.GetParameters()))).tolist())
    return spline


def composite(*first_to_last):
    out = sitk.CompositeTransform(3)
    for part in reversed(first_to_last):
        out.AddTransform(part)
    return out


AFFINE = itk_affine(linear_map(FIXED, 3, amount=0.04))
#: covers the fixed grid where AFFINE takes it, on a grid of its own
SPLINE_BEHIND = b_spline(Grid((12, 12, 12), (6.0, 6.0, 6.0), FIXED.centre - 33.0), seed=4)
FOREIGN = {
    "b-spline.tfm": b_spline(FIXED),
    "b-spline.h5": b_spline(FIXED, seed=2),
    "b-spline-after-affine.h5": composite(AFFINE, SPLINE_BEHIND),
    "affine-after-b-spline.tfm": composite(b_spline(FIXED), AFFINE),
    "b-spline-field-and-affine.h5": composite(
        AFFINE, itk_field(wavy(Grid((20, 20, 20), (4.0, 4.0, 4.0), FIXED.centre - 38.0), 2.0)), SPLINE_BEHIND
    ),
    "affine.tfm": AFFINE,
    "euler.mat": sitk.Euler3DTransform(FIXED.centre.tolist(), 0.1, -0.05, 0.08, (1.0, 2.0, -1.0)),
    "field.nrrd": itk_field(wavy(Grid((15, 16, 17), (3.0, 3.0, 3.0), FIXED.centre - 22.0), 2.0)),
}


def write_foreign(name, transform, folder):
    path = str(folder / name)
    if name.endswith(".nrrd"):
        sitk.WriteImage(sitk.Cast(transform.GetDisplacementField(), sitk.sitkVectorFloat32), path)
    else:
        sitk.WriteTransform(transform, path)
    return path


@pytest.mark.parametrize("name", FOREIGN)
def test_transforms_of_other_programs(name, pair, tmp_path):
    theirs = FOREIGN[name]
    inputs = {**pair, "transform": write_foreign(name, theirs, tmp_path)}
    outcome = perform_review(ReviewRequest(inputs), tmp_path / "out", compressed=False)
    files = {key: str(tmp_path / "out" / file) for key, file in outcome.files.items()}
    fixed, moving = (sitk.ReadImage(pair[side]) for side in ("fixed", "moving"))

    field = sitk.TransformToDisplacementField(
        theirs, sitk.sitkVectorFloat64, fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection()
    )
    length = np.linalg.norm(sitk.GetArrayFromImage(field), axis=-1)
    assert length.max() > 1
    np.testing.assert_allclose(sitk.GetArrayFromImage(sitk.ReadImage(files["displacement"])), length, atol=2e-4)
    # the filter takes the components of the vectors for those along the axes of the grid
    along = sitk.GetImageFromArray(sitk.GetArrayFromImage(field) @ np.array(FIXED.direction), isVector=True)
    along.SetSpacing(field.GetSpacing())
    determinant = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(along))
    inner = (slice(1, -1),) * 3
    found = sitk.GetArrayFromImage(sitk.ReadImage(files["jacobian"]))
    np.testing.assert_allclose(found[inner], determinant[inner], atol=3e-4)
    outside = float(sitk.GetArrayViewFromImage(moving).min())
    resampled = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, theirs, sitk.sitkLinear, outside))
    apart = np.abs(resampled - sitk.GetArrayFromImage(sitk.ReadImage(files["moved"])))
    assert (apart > 0.5).mean() < 0.01  # rounding at the edge of the field of view
    x = some_points(FIXED, 12, margin=2).numpy()
    tre = np.linalg.norm([theirs.TransformPoint(p) for p in x.tolist()] - (x + 1.0), axis=1)
    # between the voxel centres a spline is interpolated
    np.testing.assert_allclose(outcome.evaluation.landmarks.after, tre, atol=0.08)
    assert outcome.evaluation.landmarks.before == pytest.approx(np.sqrt(3))
    assert "inverse-consistency" not in files and "segmentation" not in files


def test_a_foreign_transform_through_the_worker_and_the_console(runner, pair, tmp_path):
    path = write_foreign("t.tfm", FOREIGN["b-spline.tfm"], tmp_path)
    inputs = {**pair, "transform": path}
    event = last_event(submitted(runner, tmp_path, task="review", inputs=inputs, maps=["displacement"]))
    assert event.kind == "result", event.text
    assert set(event.data["files"]) == {"displacement", "moved", "metrics", "provenance"}
    assert event.data["provenance"]["transform_maps"].startswith("fixed to moving")
    by_object = dr.evaluate(
        transform=FOREIGN["b-spline.tfm"],
        fixed=sitk.ReadImage(pair["fixed"]),
        moving=pair["moving"],
        fixed_landmarks=pair["fixed_landmarks"],
        moving_landmarks=pair["moving_landmarks"],
    ).to_dict()
    for group in ("deformation", "landmarks", "similarity"):
        assert_same(json.loads(json.dumps(by_object[group])), event.data["metrics"][group])


def test_two_dimensions(tmp_path):
    grid = Grid((30, 26), (0.8, 1.1), (5.0, -9.0), rotation(20))
    x = grid.world_points(dtype=torch.float64)
    image = Image((100 * torch.sin(x[..., 0] / 4) * torch.cos(x[..., 1] / 5)).to(torch.float32)[None], grid)
    theirs = b_spline(grid, 1.0)
    outcome = perform_review(
        ReviewRequest({"fixed": image, "moving": image, "transform": theirs}), tmp_path / "out", compressed=False
    )
    moved = sitk.Resample(io.to_sitk(image), io.to_sitk(image), theirs, sitk.sitkLinear, float(image.data.min()))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / outcome.files["moved"])))
    assert (np.abs(sitk.GetArrayFromImage(moved) - found) > 0.5).mean() < 0.01


# ---------------------------------------------------------------------- what cannot be reviewed


def far_away(grid):
    return Grid(grid.size, grid.spacing, np.array(grid.origin) + 900.0, grid.direction)


def uncertainty_file(grid, folder, channels=1):
    path = folder / "uncertainty.nrrd"
    io.write_image(Image(torch.ones(channels, *grid.shape), grid), path)
    return str(path)


def with_nan():
    values = torch.rand(1, *MOVING.shape)
    values[0, 3, 3, 3:5] = torch.tensor([float("nan"), float("inf")])
    return Image(values, MOVING)


def nan_field():
    field = wavy(FIXED, 1.0)
    field.field[0, 3, 3, 3] = float("nan")
    return field


BAD = {
    "no transform": (lambda folder: {"transform": None}, ["transform is missing"]),
    "missing file": (lambda folder: {"transform": str(folder / "no.tfm")}, ["no.tfm", "does not exist"]),
    "no transform in it": (lambda folder: {"transform": garbage(folder)}, ["notes.tfm", "ITK transform"]),
    "an image": (lambda folder: {"transform": uncertainty_file(FIXED, folder)}, ["no displacement field"]),
    "a folder": (lambda folder: {"transform": str(folder)}, ["folder"]),
    "in 2-D": (
        lambda folder: {"transform": write_foreign("flat.tfm", sitk.Euler2DTransform(), folder)},
        ["fixed image is 3-D", "transform is 2-D"],
    ),
    "inverse in 2-D": (
        lambda folder: {"inverse": write_foreign("flat.tfm", sitk.Euler2DTransform(), folder)},
        ["fixed image is 3-D", "inverse is 2-D"],
    ),
    "a field elsewhere": (
        lambda folder: {"transform": write_foreign("far.nrrd", itk_field(wavy(far_away(FIXED), 2.0)), folder)},
        ["covers nothing of the fixed image"],
    ),
    "a spline elsewhere": (
        lambda folder: {"transform": write_foreign("far.tfm", b_spline(far_away(FIXED)), folder)},
        ["far.tfm", "covers nothing"],
    ),
    "leads away": (
        lambda folder: {
            "transform": write_foreign("away.tfm", sitk.TranslationTransform(3, (900.0, 0.0, 0.0)), folder)
        },
        ["outside the moving image", "fixed to moving"],
    ),
    "not finite": (lambda folder: {"transform": nan_field()}, ["not finite"]),
    "NaN": (lambda folder: {"moving": with_nan()}, ["moving image", "2 of 12480 voxels", "NaN"]),
    "another object": (lambda folder: {"transform": 5}, ["transform is a int"]),
    "uncertainty elsewhere": (
        lambda folder: {"uncertainty": uncertainty_file(far_away(FIXED), folder)},
        ["'uncertainty'", "does not touch the fixed image"],
    ),
    "uncertainty of vectors": (
        lambda folder: {"uncertainty": uncertainty_file(FIXED, folder, 3)},
        ["'uncertainty'", "3 in 3-D"],
    ),
    "moving in 2-D": (
        lambda folder: {"moving": Image(torch.rand(1, 20, 20), Grid((20, 20)))},
        ["fixed image is 3-D", "moving image is 2-D"],
    ),
    "landmarks that do not pair up": (
        lambda folder: {"moving_landmarks": PointSet(torch.zeros(3, 3))},
        ["12 fixed but 3 moving landmarks"],
    ),
    "unknown input": (lambda folder: {"fixd": "a.nrrd"}, ["'fixd'"]),
}


def garbage(folder):
    (folder / "notes.tfm").write_text("shopping list")
    return str(folder / "notes.tfm")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, pair, tmp_path):
    make, words = BAD[name]
    inputs = {**pair, "transform": Affine.identity(3), **make(tmp_path)}
    with pytest.raises(InputError) as caught:
        perform_review(ReviewRequest(inputs), tmp_path / "new" / "out")
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert "\n" not in said and said.endswith(".")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"maps": ["jacobain"]}, ["'jacobain'", "log-jacobian"]),
        ({"ensemble": {"members": 3}}, ["needs a method"]),
        ({"ensemble": {"method": "tinny"}}, ["'tinny'", "did you mean 'tiny'"]),
        ({"ensemble": {"method": "tiny", "members": 1}}, ["members=1"]),
        ({"device": "abacus", "ensemble": {"method": "tiny"}}, ["'abacus'"]),
    ],
)
def test_a_bad_order_is_a_sentence_of_the_worker(order, words, runner, image_files, tmp_path):
    io.write_transform(Affine.identity(3), tmp_path / "t.tfm")
    inputs = {**image_files, "transform": str(tmp_path / "t.tfm")}
    job = submitted(runner, tmp_path, task="review", inputs=inputs, **order)
    event = last_event(job)
    assert event.kind == "error" and event.category == "input", event
    assert all(word in event.text for word in words), event.text
    assert not job.folder.results.exists()
