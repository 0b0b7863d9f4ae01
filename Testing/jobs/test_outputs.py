"""What a run leaves in a folder: names, forms, the world they lie in, all or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import Provenance, RegistrationResult
from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.jobs.outputs import plain, write_inputs, write_outputs
from DeepRegistrationLib.jobs.perform import measure, save
from DeepRegistrationLib.metrics import evaluate
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.tiny import blob


def turned(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def scan(centre, grid, dtype=torch.int16):
    distance = ((grid.world_points() - torch.tensor(centre)) ** 2).sum(dim=-1)
    return Image((1000 * torch.exp(-distance / 60) - 100)[None].to(dtype), grid)


@pytest.fixture
def result():
    """Oblique, anisotropic, left-handed grids that differ, a smooth field, an inverse, labels and a map."""
    fixed_grid = Grid((24, 20, 12), (1.0, 1.2, 2.0), (-5, 3, 40), turned(0.3))
    moving_grid = Grid((20, 22, 14), (1.3, 1.1, 1.7), (-6, 4, 64), turned(-0.2) @ np.diag([1, 1, -1]))
    moving = scan((5.0, 18.0, 52.0), moving_grid)
    labels = Image((moving.data > 300).to(torch.int16) * 7, moving_grid, ImageKind.LABELS, {7: "ball"})
    problem = RegistrationProblem(
        scan((6.0, 16.0, 52.0), fixed_grid), moving, fixed_segmentation=labels, moving_segmentation=labels
    )
    x = fixed_grid.world_points().movedim(-1, 0)
    transform = DisplacementField(
        torch.sin(x / 20) + torch.tensor([-1.0, 2.0, 0.5]).view(3, 1, 1, 1), fixed_grid
    )
    return RegistrationResult(
        problem,
        transform,
        inverse=transform.inverse().transform,
        maps={"uncertainty": Image(torch.ones(1, *fixed_grid.shape), fixed_grid)},
        tables={"anatomical distance": 0.5},
        provenance=Provenance("m", {"a": 1, "b": float("inf")}, 0, "cpu", {"torch": "2"}, 1.5, 10),
    )


@pytest.mark.parametrize(("compressed", "suffix"), [(True, ".nii.gz"), (False, ".nrrd")])
def test_everything_is_written_under_its_name(result, tmp_path, compressed, suffix):
    files = write_outputs(result, evaluate(result), tmp_path / "new" / "out", compressed=compressed)
    volumes = ("moved", "segmentation", "jacobian", "uncertainty")
    assert files == {
        "transform": "transform.nrrd",
        "inverse": "inverse.nrrd",
        "metrics": "metrics.json",
        "provenance": "provenance.json",
        **{name: name + suffix for name in volumes},
    }
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == set(files.values())


def test_resampling_with_simpleitk_gives_the_moved_image(result, tmp_path):
    write_outputs(result, None, tmp_path)
    fixed, moving = io.to_sitk(result.problem.fixed), io.to_sitk(result.problem.moving)
    field = sitk.DisplacementFieldTransform(
        sitk.ReadImage(str(tmp_path / "transform.nrrd"), sitk.sitkVectorFloat64)
    )
    moved = sitk.ReadImage(str(tmp_path / "moved.nii.gz"))
    outside = float(result.problem.moving.data.min())
    resampled = sitk.Resample(moving, fixed, field, sitk.sitkLinear, outside)
    difference = np.abs(sitk.GetArrayFromImage(resampled).astype(float) - sitk.GetArrayFromImage(moved))
    assert difference.mean() < 0.001 * 1000
    assert moved.GetPixelID() == sitk.sitkInt16

    labels = sitk.ReadImage(str(tmp_path / "segmentation.nii.gz"))
    pulled = sitk.Resample(
        io.to_sitk(result.problem.moving_segmentation), fixed, field, sitk.sitkNearestNeighbor
    )
    differ = sitk.GetArrayFromImage(pulled) != sitk.GetArrayFromImage(labels)
    assert differ.mean() < 0.001 and sitk.GetArrayFromImage(labels).max() == 7


def test_the_inverse_lies_on_the_moving_grid_and_undoes_the_transform(result, tmp_path):
    write_outputs(result, None, tmp_path)
    inverse = io.read_transform(tmp_path / "inverse.nrrd")
    assert inverse.grid.same_as(result.problem.moving.grid)
    x = torch.as_tensor(result.grid.world_from_index([[10, 10, 6], [12, 9, 5]]))
    assert torch.allclose(inverse.apply(result.transform.apply(x)), x, atol=0.1)


def test_a_linear_transform_is_a_tfm(result, tmp_path):
    linear = RegistrationResult(result.problem, Affine(turned(0.1), [1, 2, 3]))
    files = write_outputs(linear, None, tmp_path)
    assert files["transform"] == "transform.tfm" and "inverse" not in files
    read = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    expected = linear.transform.apply(torch.tensor([[10.0, 20, 30]], dtype=torch.float64))[0]
    assert np.allclose(read.TransformPoint((10, 20, 30)), expected)


def test_files_of_an_earlier_result_do_not_stay_beside_the_new(result, tmp_path):
    write_outputs(result, evaluate(result), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    bare = RegistrationProblem(result.problem.fixed, result.problem.moving)
    files = write_outputs(RegistrationResult(bare, Affine.identity(3)), None, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*files.values(), "notes.txt"}


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_left_alone(result, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned, busy = (tmp_path / f".unfinished-{pid}-x" for pid in (ended.pid, os.getpid()))
    for place in (abandoned, busy):
        place.mkdir()
        (place / "moved.nii.gz").write_text("")
    write_outputs(result, None, tmp_path)
    assert not abandoned.exists() and busy.exists()


def test_provenance_is_json_and_says_what_was_used(result, tmp_path):
    write_outputs(result, None, tmp_path, inputs={"fixed": "f.nrrd"})
    made = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    assert made["parameters"] == {"a": 1, "b": None}  # JSON knows no infinity
    assert made["segment_names"] == {"7": "ball"} and made["tables"] == {"anatomical distance": 0.5}
    assert made["inputs"]["fixed"].endswith("f.nrrd") and made["fixed_grid"]["size"] == [24, 20, 12]


def test_plain_values():
    assert plain({1: (np.float32(0.5), torch.tensor(2), float("nan"), "x", None, True)}) == {
        "1": [0.5, 2, None, "x", None, True]
    }


def test_a_result_folder_is_read_back(result, tmp_path):
    write_outputs(result, evaluate(result), tmp_path)
    found = ResultFolder(tmp_path)
    inputs = {"fixed": result.problem.fixed, "moving": result.problem.moving}
    back = found.result({**inputs, "moving_segmentation": result.problem.moving_segmentation})
    assert torch.allclose(back.moved().data, result.moved().data, atol=1e-2)
    assert found.metrics["segments"]["ball"]["dice_after"] is not None
    with pytest.raises(InputError, match="has no strain; it has"):
        found.file("strain")


def test_a_folder_without_a_result_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no finished result"):
        ResultFolder(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        ResultFolder(tmp_path / "nowhere")
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        _ = ResultFolder(tmp_path).provenance


def without_nan(numbers):
    return json.loads(json.dumps(numbers, allow_nan=False))


def test_maps_are_read_back_and_a_folder_has_the_numbers_of_its_result(result, tmp_path):
    grid = result.grid
    ramp = torch.linspace(0.5, 4.0, grid.voxels).reshape(1, *grid.shape)
    maps = {"uncertainty": Image(ramp, grid), "intensity-change": Image(-ramp, grid)}
    result = replace(result, maps=maps)
    inputs = write_inputs(result.problem, tmp_path)
    paths = {name: str(tmp_path / file) for name, file in inputs.items()}
    write_outputs(result, measure(result).evaluation, tmp_path / "out", inputs=paths)
    found = ResultFolder(tmp_path / "out")
    assert found.maps.keys() == maps.keys()
    back = found.result()
    for name, image in maps.items():
        assert torch.allclose(back.maps[name].data, image.data, atol=1e-5)
    numbers, expected = without_nan(dr.evaluate(found).to_dict()), found.metrics
    assert expected["segments"]["ball"]["uncertainty_mean_mm"] > 0.5
    assert expected["maps"]["intensity-change"]["min"] == pytest.approx(-3.7, rel=0.01)
    for group in ("segments", "maps"):
        assert numbers[group].keys() == expected[group].keys()
        for name, values in expected[group].items():
            assert numbers[group][name] == pytest.approx(values, rel=1e-4)
    assert back.provenance.method == "m" and back.tables == {"anatomical distance": 0.5}


def test_a_map_that_lies_elsewhere_is_refused(result, tmp_path):
    paths = {name: str(tmp_path / file) for name, file in write_inputs(result.problem, tmp_path).items()}
    files = write_outputs(result, None, tmp_path / "out", inputs=paths)
    far = Grid(result.grid.size, result.grid.spacing, (900.0, 0.0, 0.0))
    io.write_image(Image(torch.ones(1, *far.shape), far), tmp_path / "out" / files["uncertainty"])
    with pytest.raises(InputError, match="does not touch the fixed image"):
        ResultFolder(tmp_path / "out").result()


def test_a_result_kept_with_its_inputs_can_be_moved_about(result, tmp_path):
    landmarks = PointSet(result.grid.world_points()[3:6, 5, 5].double(), names=("a", "b", "c"))
    problem = replace(
        result.problem, fixed_landmarks=landmarks, moving_landmarks=PointSet(landmarks.points + 1.0)
    )
    result = replace(result, problem=problem)
    save(result, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    found = ResultFolder(tmp_path / "second")
    back = found.result()
    assert torch.equal(back.problem.fixed.data, problem.fixed.data)
    assert back.problem.moving.grid.same_as(problem.moving.grid)
    assert list(back.problem.fixed_landmarks.names) == ["a", "b", "c"]
    assert back.moved_segmentation().names == {7: "ball"}
    before, after = dr.evaluate(result).to_dict(), dr.evaluate(tmp_path / "second").to_dict()
    assert after["landmarks"]["after_mm"] == pytest.approx(before["landmarks"]["after_mm"], abs=1e-4)
    assert after["segments"]["ball"]["dice_after"] == before["segments"]["ball"]["dice_after"]
    write_outputs(RegistrationResult(problem, Affine.identity(3)), None, tmp_path / "second")
    assert not [path for path in (tmp_path / "second").iterdir() if path.name.startswith(("fixed", "moving"))]


def test_a_result_in_memory_is_written_and_reported(result, tmp_path):
    pages = dr.report(result, tmp_path / "out")
    assert {path.name for path in pages} == {"report.html", "report.csv", "report.json"}
    assert all(path.parent == tmp_path / "out" for path in pages)
    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    dice = dr.evaluate(result).to_dict()["segments"]["ball"]["dice_after"]
    assert told["metrics"]["segments"]["ball"]["dice_after"] == pytest.approx(dice)
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in html and "ball" in html  # the scans are there to be drawn

    elsewhere = dr.report(str(tmp_path / "out"), out=tmp_path / "pages")
    assert all(path.parent == tmp_path / "pages" for path in elsewhere)
    assert dr.report(ResultFolder(tmp_path / "out")) == pages
    with pytest.raises(InputError, match="out="):
        dr.report(result)
    with pytest.raises(InputError, match="no folder"):
        dr.report(tmp_path / "nowhere")


def test_a_result_or_a_transform_is_evaluated_but_not_both(result):
    with pytest.raises(InputError, match="both given"):
        dr.evaluate(result, transform=result.transform)
    with pytest.raises(InputError, match="'fixed' was given too"):
        dr.evaluate(result, fixed=result.problem.fixed)
    with pytest.raises(InputError, match="transform is missing"):
        dr.evaluate(fixed=result.problem.fixed, moving=result.problem.moving)


def test_a_review_of_a_result_leaves_its_numbers(result, tmp_path):
    given = {name: value for name, value in vars(result.problem).items() if value is not None}
    evaluation = dr.evaluate(transform=result.transform, inverse=result.inverse, **given)
    expected = dr.evaluate(replace(result, maps={})).to_dict()
    assert without_nan(evaluation.to_dict()) == without_nan(expected)


def test_two_dimensions(tmp_path):
    problem = RegistrationProblem(blob((10.0, 20.0)), blob((12.0, 23.0)))
    result = RegistrationResult(problem, Affine.from_translation([2.0, 3.0]))
    files = write_outputs(result, evaluate(result), tmp_path)
    assert sitk.ReadImage(str(tmp_path / files["moved"])).GetDimension() == 2
