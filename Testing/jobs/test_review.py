"""A review in the worker: the numbers and maps of a registration's own result, and of transforms made elsewhere."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
import phantoms
from core.grids import empty_itk, itk_affine, itk_field, linear_map, rotation, some_points, wavy
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import Cancelled, InputError, OutputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.jobs import JobFolder, ResultFolder, Runner
from DeepRegistrationLib.jobs.processes import is_alive
from DeepRegistrationLib.jobs.review import EnsembleRequest, ReviewRequest, perform_review
from DeepRegistrationLib.transforms import Affine

LAUNCH = [sys.executable, str(Path(__file__).with_name("with_tiny.py"))]
ALL_MAPS = ("jacobian", "log-jacobian", "displacement", "inverse-consistency")


@pytest.fixture(scope="module")
def runner():
    with Runner(LAUNCH) as runner:
        yield runner


def last_event(job, seconds=120.0, until=lambda event: event.is_last, seen=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in job.poll():
            if seen is not None:
                seen.append(event)
            if until(event):
                return event
        time.sleep(0.01)
    raise AssertionError(f"nothing came in {seconds} s; log: {job.log_text()}")


def submitted(runner, folder, **problem):
    job = JobFolder.create(folder)
    job.write_problem(problem)
    return runner.submit(job)


# ---------------------------------------------------------------------- the result of a registration


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Two heads with everything a problem can have, as files."""
    folder = tmp_path_factory.mktemp("heads")
    fixed = Grid((40, 44, 36), (5.0, 5.0, 5.0), (-98.0, -108.0, -88.0))
    moving = Grid((42, 40, 38), (4.8, 5.4, 4.8), (-99.0, -106.0, -90.0), rotation(4, -3, 5))
    case = phantoms.brain(fixed, moving, motion_mm=5).problem
    paths = {}
    for name, image in case.images():
        is_labels = name.endswith("segmentation")
        paths[name] = str(folder / f"{name}.{'seg.nrrd' if is_labels else 'nrrd'}")
        (io.write_segmentation if is_labels else io.write_image)(image, paths[name])
    for side in ("fixed", "moving"):
        paths[f"{side}_landmarks"] = str(folder / f"{side}.mrk.json")
        io.write_points(getattr(case, f"{side}_landmarks"), paths[f"{side}_landmarks"])
    return paths


@pytest.fixture(scope="module")
def reviewed(runner, head, tmp_path_factory):
    """Register, review what came out, register again, all in one warm process."""
    folder = tmp_path_factory.mktemp("jobs")
    order = {"method": "convex-adam", "preset": "fast", "values": {"inverse": True}, "device": "cpu", "seed": 1}
    first = submitted(runner, folder, inputs=head, **order)
    registered = last_event(first)
    assert registered.kind == "result", registered.text
    files = registered.data["files"]
    inputs = {name: path for name, path in head.items() if name != "moving_mask"}
    inputs |= {"transform": files["transform"], "inverse": files["inverse"]}
    second = submitted(
        runner, folder, task="review", inputs=inputs, maps=None, provenance=registered.data["provenance"]
    )
    seen = []
    review = last_event(second, seen=seen)
    assert review.kind == "result", review.text
    third = submitted(runner, folder, inputs=head, **order)
    again = last_event(third)
    pids = {job._worker._process.pid for job in (first, second, third)}
    return registered, review, again, seen, pids


def assert_same(found, expected, relative=1e-5, absolute=1e-6, where=""):
    """Nested dictionaries and lists of numbers and texts."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], relative, absolute, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for k, value in enumerate(expected):
            assert_same(found[k], value, relative, absolute, f"{where}/{k}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=relative, abs=absolute), where
    else:
        assert found == expected, where


def test_a_review_gives_the_numbers_of_the_registration(reviewed):
    registered, review, _, _, _ = reviewed
    expected, found = dict(registered.data["metrics"]), dict(review.data["metrics"])
    assert expected["segments"] and expected["landmarks"]["count"] > 5 and expected["inverse_consistency"]
    assert expected["deformation"]["displacement_max_mm"] > 2
    maps = (found.pop("maps"), expected.pop("maps"))
    assert_same(found, expected, relative=1e-4, absolute=1e-4)
    assert set(maps[0]) == set(ALL_MAPS)
    assert_same(maps[0]["jacobian"], maps[1]["jacobian"], relative=1e-4)


def test_the_console_gives_the_numbers_of_the_review(reviewed, head):
    registered, review, _, _, _ = reviewed
    expected = {name: value for name, value in review.data["metrics"].items() if name != "maps"}
    folder = Path(registered.data["files"]["transform"]).parent
    inputs = {name: path for name, path in head.items() if name != "moving_mask"}
    files = {name: registered.data["files"][name] for name in ("transform", "inverse")}
    reviewed_folder = Path(review.data["files"]["moved"]).parent
    for evaluation in (
        dr.evaluate(str(folder)),
        dr.evaluate(ResultFolder(reviewed_folder)),
        dr.evaluate(**inputs, **files),
    ):
        numbers = json.loads(json.dumps(evaluation.to_dict()))
        maps = numbers.pop("maps")
        assert_same(numbers, expected)
        assert_same(maps["jacobian"], review.data["metrics"]["maps"]["jacobian"])


def test_a_registration_in_this_process_has_the_numbers_of_the_worker(reviewed, head):
    order = {"method": "convex-adam", "preset": "fast", "inverse": True, "device": "cpu", "seed": 1}
    numbers = json.loads(json.dumps(dr.evaluate(dr.register(**head, **order)).to_dict()))
    assert_same(numbers, reviewed[0].data["metrics"], relative=1e-4, absolute=1e-4)


def test_the_maps_of_a_review_agree_with_simpleitk(reviewed):
    registered, review, _, _, _ = reviewed
    files = review.data["files"]
    assert {"moved", "segmentation", "metrics", "provenance", *ALL_MAPS} == set(files)
    assert all(Path(path).suffix in (".nrrd", ".json") for path in files.values())
    maps = {name: sitk.ReadImage(files[name]) for name in ALL_MAPS}
    arrays = {name: sitk.GetArrayFromImage(image).astype(float) for name, image in maps.items()}
    field = sitk.ReadImage(registered.data["files"]["transform"], sitk.sitkVectorFloat64)
    inner = (slice(1, -1),) * 3
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    np.testing.assert_allclose(arrays["jacobian"][inner], theirs[inner], atol=1e-5)
    np.testing.assert_allclose(arrays["log-jacobian"][inner], np.log(theirs[inner]), atol=1e-4)
    length = np.linalg.norm(sitk.GetArrayFromImage(field), axis=-1)
    np.testing.assert_allclose(arrays["displacement"], length, atol=1e-4)
    for image in maps.values():
        assert image.GetPixelID() == sitk.sitkFloat32
        assert np.allclose(image.GetOrigin(), field.GetOrigin()) and image.GetSize() == field.GetSize()
        assert np.allclose(image.GetDirection(), field.GetDirection())
    back = sitk.ReadImage(registered.data["files"]["inverse"], sitk.sitkVectorFloat64)
    there, here = sitk.DisplacementFieldTransform(field), sitk.DisplacementFieldTransform(back)
    error = arrays["inverse-consistency"]
    for index in [(20, 22, 18), (12, 30, 20), (25, 15, 10)]:
        x = np.array(maps["jacobian"].TransformIndexToPhysicalPoint(index))
        missed = np.linalg.norm(np.array(here.TransformPoint(there.TransformPoint(x))) - x)
        assert error[index[::-1]] == pytest.approx(missed, abs=2e-3)
    for name in ("moved", "segmentation"):
        before, after = (sitk.GetArrayFromImage(sitk.ReadImage(d[name])) for d in (registered.data["files"], files))
        assert (np.abs(before.astype(float) - after) > 1e-2).mean() < 1e-4


def test_a_review_says_what_it_does_and_keeps_how_the_transform_was_made(reviewed, head):
    registered, review, _, seen, _ = reviewed
    stages = [event.stage for event in seen if event.kind == "progress"]
    assert stages[0] == "Reading the images" and stages.index("Writing") > stages.index("Measuring the deformation")
    fractions = [event.fraction for event in seen if event.kind == "progress"]
    assert fractions == sorted(fractions)
    assert any(event.kind == "metric" and "Dice" in event.text for event in seen)
    made, before = review.data["provenance"], registered.data["provenance"]
    for key in ("method", "parameters", "seed", "seconds", "versions", "fixed_grid", "segment_names"):
        assert made[key] == before[key]
    assert made["inputs"]["fixed"] == head["fixed"] and made["review"]["ensemble"] is None
    folder = ResultFolder(Path(review.data["files"]["moved"]).parent)
    assert folder.metrics == review.data["metrics"]
    assert folder.result().provenance.method == "convex-adam"


def test_a_warm_worker_registers_reviews_and_registers(reviewed):
    registered, _, again, _, pids = reviewed
    assert len(pids) == 1
    assert again.kind == "result" and again.data["metrics"] == registered.data["metrics"]


# ---------------------------------------------------------------------- transforms made elsewhere

FIXED = Grid((22, 20, 14), (1.5, 1.2, 2.5), (-20.0, 31.0, 7.0), rotation(12, -20, 30))
MOVING = Grid((26, 24, 20), (1.4, 1.5, 2.2), (-26.0, 23.0, 3.0), rotation(5, -10, 22))


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


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A smooth pair with landmarks, as files: fixed, moving, and points inside both."""
    folder = tmp_path_factory.mktemp("pair")
    paths = {}
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        x = grid.world_points(dtype=torch.float64)
        values = 500 + 300 * torch.sin(x[..., 0] / 6) * torch.cos(x[..., 1] / 7) + 100 * torch.sin(x[..., 2] / 5)
        paths[name] = str(folder / f"{name}.nrrd")
        io.write_image(Image(values.to(torch.float32)[None], grid), paths[name])
    points = some_points(FIXED, 12, margin=2)
    for side, shift in (("fixed", 0.0), ("moving", 1.0)):
        paths[f"{side}_landmarks"] = str(folder / f"{side}.mrk.json")
        io.write_points(PointSet(points + shift), paths[f"{side}_landmarks"])
    return paths


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


def test_an_earlier_review_survives_a_full_disk(pair, tmp_path, monkeypatch):
    out = tmp_path / "out"
    request = ReviewRequest({**pair, "transform": Affine.identity(3)})
    perform_review(request, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    left, write = [2], io.write_image

    def writer(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        write(*arguments)

    monkeypatch.setattr(io, "write_image", writer)
    with pytest.raises(OutputError, match="disk is full"):
        perform_review(request, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(OutputError):
        perform_review(request, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_fewer_maps_leave_none_of_the_earlier_ones(pair, tmp_path):
    inputs = {**pair, "transform": Affine.identity(3), "inverse": Affine.identity(3)}
    perform_review(ReviewRequest(inputs), tmp_path)
    assert (tmp_path / "inverse-consistency.nii.gz").exists()
    files = perform_review(ReviewRequest(inputs, maps=["jacobian"]), tmp_path).files
    assert {path.name for path in tmp_path.iterdir()} == set(files.values())
    assert set(files) == {"jacobian", "moved", "metrics", "provenance"}


# ---------------------------------------------------------------------- uncertainty


def test_an_ensemble_estimates_the_uncertainty(runner, image_files, tmp_path):
    io.write_transform(Affine.from_translation([2.0, 3.0, 0.0]), tmp_path / "t.tfm")
    inputs = {**image_files, "transform": str(tmp_path / "t.tfm")}
    order = {"method": "tiny", "preset": None, "values": {}, "members": 3, "seed": 5}
    job = submitted(runner, tmp_path, task="review", inputs=inputs, maps=["jacobian"], ensemble=order)
    seen = []
    event = last_event(job, seen=seen)
    assert event.kind == "result", event.text
    note = "disagreement of 3 perturbed runs, not a probability"
    assert any(e.kind == "message" and note in e.text for e in seen)
    assert any(note in text for text in event.data["provenance"]["messages"])
    assert event.data["provenance"]["review"]["ensemble"]["members"] == 3
    assert any("run 2 of 3" in e.stage for e in seen)
    map_ = sitk.GetArrayFromImage(sitk.ReadImage(event.data["files"]["uncertainty"]))
    assert np.isfinite(map_).all() and 0 < map_.mean() < 5
    inside = map_[1:-1, 1:-1, 1:-1]
    summary = event.data["metrics"]["maps"]["uncertainty"]
    assert summary["mean"] == pytest.approx(inside.mean(), rel=1e-5)
    again = dr.evaluate(Path(event.data["files"]["uncertainty"]).parent).to_dict()
    assert again["maps"]["uncertainty"]["mean"] == pytest.approx(summary["mean"], rel=1e-5)


def test_a_given_map_of_uncertainty_is_measured(pair, tmp_path):
    coarse = Grid((12, 12, 12), (6.0, 6.0, 6.0), FIXED.centre - 33.0)
    values = torch.full((1, *coarse.shape), 1.5)
    io.write_image(Image(values, coarse), tmp_path / "u.nrrd")
    labels = Image(torch.ones(1, *FIXED.shape, dtype=torch.int16), FIXED, ImageKind.LABELS, {1: "all"})
    inputs = {**pair, "transform": Affine.identity(3), "uncertainty": str(tmp_path / "u.nrrd")}
    inputs["fixed_segmentation"] = labels
    outcome = perform_review(ReviewRequest(inputs), tmp_path / "out")
    written = io.read_image(tmp_path / "out" / outcome.files["uncertainty"])
    assert written.grid.same_as(FIXED) and torch.allclose(written.data, torch.tensor(1.5))
    assert outcome.evaluation.to_dict()["segments"]["all"]["uncertainty_mean_mm"] == pytest.approx(1.5)


# ---------------------------------------------------------------------- cancel and crash


@pytest.fixture
def slow(runner, image_files, tmp_path):
    """A review that takes its time, at work."""
    io.write_transform(Affine.identity(3), tmp_path / "t.tfm")
    inputs = {**image_files, "transform": str(tmp_path / "t.tfm")}
    order = {"method": "tiny", "values": {"seconds": 30}, "members": 2}
    job = submitted(runner, tmp_path, task="review", inputs=inputs, ensemble=order)
    last_event(job, until=lambda event: "erturbed" in event.stage)
    return job


def test_cancel_is_prompt_and_leaves_nothing(slow):
    pid = slow._worker._process.pid
    begun = time.monotonic()
    slow.cancel()
    assert time.monotonic() - begun < 1.0
    (last,) = [event for event in slow.poll() if event.is_last]
    assert last.category == "cancelled" and last.text == "The review was cancelled."
    assert not is_alive(pid)
    assert not slow.folder.results.exists() or not list(slow.folder.results.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_crash_is_a_sentence_about_a_review(slow, runner, monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.jobs.runner.oom_kills", lambda: 0)
    os.kill(slow._worker._process.pid, signal.SIGSEGV)
    last = last_event(slow, 10)
    assert last.category == "crash" and "The review process crashed (SIGSEGV" in last.text


def test_cancel_within_the_process_leaves_nothing(pair, tmp_path):
    heard = []
    progress = Progress(heard.append, cancelled=lambda: len(heard) > 3)
    with pytest.raises(Cancelled):
        perform_review(ReviewRequest({**pair, "transform": Affine.identity(3)}), tmp_path / "out", progress)
    assert 3 < len(heard) < 6 and not (tmp_path / "out").exists()


def test_the_ensemble_within_the_process(tiny_method, image_files, tmp_path):
    inputs = {**image_files, "transform": Affine.identity(3)}
    request = ReviewRequest(inputs, ensemble=EnsembleRequest("tiny", values={"shift": 1.0}, members=2))
    outcome = perform_review(request, tmp_path / "out")
    assert "not a probability" in outcome.messages[-1]
    assert ResultFolder(tmp_path / "out").maps.keys() == {"uncertainty"}
