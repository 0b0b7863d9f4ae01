"""A review in the worker: the numbers and maps of a registration's result, uncertainty, cancel, crash, full disks."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
import phantoms
from core.grids import rotation
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import Cancelled, OutputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.jobs.processes import is_alive
from DeepRegistrationLib.jobs.review import EnsembleRequest, ReviewRequest, perform_review
from DeepRegistrationLib.transforms import Affine
from jobs.working import FIXED, assert_same, last_event, submitted

ALL_MAPS = ("jacobian", "log-jacobian", "displacement", "inverse-consistency")


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
