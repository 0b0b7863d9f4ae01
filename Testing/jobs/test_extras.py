"""Series, points, alternatives and surfaces in the folder of a result: written, recorded, read back, all or nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
from DeepRegistrationLib import io
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import OutputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import Alternative, RegistrationResult
from DeepRegistrationLib.jobs import JobFolder, ResultFolder
from DeepRegistrationLib.jobs.outputs import write_outputs
from DeepRegistrationLib.jobs.perform import save
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.transforms import Affine, DisplacementField
from jobs.working import FIXED, MOVING
from methods.tiny import blob, make_spec


def turned(degrees):
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])


def surfaces(shift=0.0):
    points = torch.tensor([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], dtype=torch.float64) + torch.tensor(
        FIXED.centre + shift
    )
    return PointSet(points, torch.tensor([1, 1, 1, 1]), ["liver"] * 4, torch.tensor([[0, 1, 2], [0, 1, 3]]))


@pytest.fixture
def result():
    def scan(grid):
        x = grid.world_points(dtype=torch.float64)
        return Image((500 + 300 * torch.sin(x[..., 0] / 6) * torch.cos(x[..., 1] / 7)).float()[None], grid)

    problem = RegistrationProblem(scan(FIXED), scan(MOVING), fixed_surfaces=surfaces(), moving_surfaces=surfaces(1.0))
    bend = torch.sin(FIXED.world_points().movedim(-1, 0) / 9)
    pictures = [Image(k * torch.ones(1, *FIXED.shape), FIXED) for k in range(4)]
    marks = PointSet(torch.rand(5, 3, dtype=torch.float64) * 10, names=[f"p{k}" for k in range(5)])
    best = Affine(turned(4), [1.0, 2.0, 3.0])
    return RegistrationResult(
        problem,
        best,
        tables={"distance between anatomies": 12.5},
        series={"images": pictures, "mask": pictures[:2]},
        points={
            "fixed_correspondences": marks,
            "moving_correspondences": marks.mapped(best),
            "none": PointSet(torch.zeros(0, 3)),
        },
        alternatives=[
            Alternative(best, {"similarity": 0.9, "overlap": 0.75}),
            Alternative(Affine(turned(95), [0.0, -4.0, 1.0]), {"similarity": 0.5}, "upside down"),
            Alternative(DisplacementField(bend, FIXED), {"similarity": float("nan")}),
        ],
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_every_kind_is_written_under_its_name(result, tmp_path, compressed):
    files = write_outputs(result, None, tmp_path, compressed=compressed)
    extra = {name: file for name, file in files.items() if "." in name}
    assert extra == {
        "series.images": "images.seq.nrrd",
        "series.mask": "mask.seq.nrrd",
        "points.fixed_correspondences": "fixed_correspondences.mrk.json",
        "points.moving_correspondences": "moving_correspondences.mrk.json",
        "alternative.1": "alternative-1.tfm",
        "alternative.2": "alternative-2.tfm",
        "alternative.3": "alternative-3.nrrd",
    }
    assert {path.name for path in tmp_path.iterdir()} == set(files.values())
    made = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    assert made["files"] == {name: file for name, file in files.items() if name != "provenance"}
    assert made["tables"] == {"distance between anatomies": 12.5}
    assert made["alternatives"][1] == {"title": "upside down", "scores": {"similarity": 0.5}}
    assert made["alternatives"][2]["scores"] == {"similarity": None}
    assert ResultFolder(tmp_path).maps == {}
    read = sitk.ReadTransform(str(tmp_path / "alternative-2.tfm"))
    there = result.alternatives[1].transform.apply(torch.tensor([[10.0, 20, 30]], dtype=torch.float64))[0]
    assert np.allclose(read.TransformPoint((10, 20, 30)), there)


def test_a_folder_gives_the_result_back(result, tmp_path):
    save(result, tmp_path)
    back = ResultFolder(tmp_path).result()
    assert back.series.keys() == result.series.keys()
    for name, images in result.series.items():
        assert len(back.series[name]) == len(images)
        for a, b in zip(back.series[name], images, strict=True):
            assert a.grid.same_as(FIXED) and torch.equal(a.data, b.data)
    assert set(back.points) == {"fixed_correspondences", "moving_correspondences"}
    for name, points in back.points.items():
        assert torch.allclose(points.points, result.points[name].points, atol=1e-6)
        assert list(points.names) == list(result.points[name].names)
    x = torch.as_tensor(FIXED.world_from_index([[5, 5, 5], [10, 9, 8]]))
    for a, b in zip(back.alternatives, result.alternatives, strict=True):
        assert a.title == b.title and torch.allclose(a.transform.apply(x), b.transform.apply(x), atol=1e-3)
    assert back.alternatives[0].scores == {"similarity": 0.9, "overlap": 0.75}
    assert back.tables == result.tables
    for side in ("fixed", "moving"):
        found, given = (getattr(r.problem, f"{side}_surfaces") for r in (back, result))
        assert torch.equal(found.points, given.points) and torch.equal(found.triangles, given.triangles)
        assert found.label_names == {1: "liver"}


def test_files_of_an_earlier_result_do_not_stay(result, tmp_path):
    write_outputs(result, None, tmp_path)
    plain = replace(result, series={}, points={}, alternatives=[])
    files = write_outputs(plain, None, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(files.values())


def test_nothing_is_left_where_one_of_them_cannot_be_written(result, tmp_path):
    other = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    broken = replace(result, series={"images": [*result.series["images"], Image(torch.ones(1, 4, 4, 4), other)]})
    with pytest.raises(OutputError, match="one grid"):
        write_outputs(broken, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_of_it_has_no_pictures_of_series(result, tmp_path):
    write_outputs(result, None, tmp_path, compressed=False)
    from DeepRegistrationLib.reports.pictures import result_pictures

    pictures, notes = result_pictures(ResultFolder(tmp_path))
    assert pictures and not any("images" in p.title or "map 'series" in n for p in pictures for n in [*notes, ""])


def test_the_pipeline_brings_them_onto_the_fixed_grid_and_the_cpu(result):
    coarse = Grid((8, 8, 8), (4.0, 4.0, 4.0), (-20.0, 30.0, 0.0))

    def run(problem, parameters, context):
        image = Image(torch.ones(1, *coarse.shape), coarse)
        return replace(result, problem=problem, series={"images": [image, image.with_data(2 * image.data)]}, maps={})

    spec = make_spec("extra", run=run)
    found = register_problem(
        replace(result.problem, fixed_surfaces=None, moving_surfaces=None), spec, context=Context(torch.device("cpu"))
    )
    assert [i.grid.same_as(FIXED) for i in found.series["images"]] == [True, True]
    assert float(found.series["images"][1].data.max()) == pytest.approx(2.0)
    assert found.points.keys() == result.points.keys() and len(found.alternatives) == 3


def test_surfaces_of_the_console_go_through_the_worker(tmp_path):
    """Objects as files in the job folder, and a folder of model files as it is."""
    from DeepRegistrationLib.jobs.blocking import _export
    from DeepRegistrationLib.jobs.perform import Request

    folder = JobFolder.create(tmp_path)
    io.write_surfaces(surfaces(), tmp_path / "liver.ply")
    given = {"fixed": "f.nrrd", "moving": "m.nrrd", "fixed_surfaces": surfaces(), "moving_surfaces": tmp_path}
    assert _export(Request(given, "tiny"), folder)
    inputs = folder.inputs()
    assert inputs["fixed_surfaces"].endswith("fixed_surfaces.ply") and inputs["moving_surfaces"] == str(tmp_path)
    for path in (inputs["fixed_surfaces"], inputs["moving_surfaces"]):
        assert torch.equal(io.read_surfaces(path).points, surfaces().points)


def test_surfaces_that_lie_elsewhere_or_are_not_used_are_said(tiny_method):
    fixed, moving = blob((10.0, 20.0, 12.0)), blob((12.0, 23.0, 11.0))
    near = PointSet(torch.tensor([[9.0, 20.0, 10.0], [10.0, 21.0, 11.0], [11.0, 20.0, 12.0]]))
    result = dr.register(fixed, moving, method="tiny", fixed_surfaces=near, in_process=True)
    assert any("does not use the fixed surfaces" in m for m in result.provenance.messages)
    far = PointSet(near.points + 1000)
    with pytest.raises(Exception, match="fixed surfaces do not touch the fixed image"):
        dr.register(fixed, moving, method="tiny", fixed_surfaces=far, in_process=True)
