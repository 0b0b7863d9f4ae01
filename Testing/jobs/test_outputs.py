"""What a run leaves in a folder: names, forms, the world they lie in, all or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import Provenance, RegistrationResult
from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.jobs.outputs import plain, write_outputs
from DeepRegistrationLib.jobs.report import csv_text, write_report
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
    made = json.loads((tmp_path / "provenance.json").read_text())
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


def test_report(result, tmp_path):
    write_outputs(result, evaluate(result), tmp_path, inputs={"fixed": "a<b>.nrrd"})
    pages = {path.suffix: path.read_text() for path in write_report(ResultFolder(tmp_path))}
    assert "ball" in pages[".html"] and "a&lt;b&gt;.nrrd" in pages[".html"]
    assert "http" not in pages[".html"].replace("https://doi.org", "")
    rows = [line.split(",") for line in pages[".csv"].splitlines()]
    dice = next(row for row in rows if row[:3] == ["segments", "ball", "dice_after"])
    assert float(dice[3]) == pytest.approx(
        json.loads(pages[".json"])["metrics"]["segments"]["ball"]["dice_after"]
    )


def test_csv_holds_lists_and_gaps():
    text = csv_text({"landmarks": {"count": 2, "after_mm": [1.5, None]}, "overlap": None})
    assert text.splitlines()[1:] == [
        "landmarks,,count,2",
        "landmarks,1,after_mm,1.5",
        "landmarks,2,after_mm,",
    ]


def test_two_dimensions(tmp_path):
    problem = RegistrationProblem(blob((10.0, 20.0)), blob((12.0, 23.0)))
    result = RegistrationResult(problem, Affine.from_translation([2.0, 3.0]))
    files = write_outputs(result, evaluate(result), tmp_path)
    assert sitk.ReadImage(str(tmp_path / files["moved"])).GetDimension() == 2
