"""A finished job that left maps, series, points and candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util

from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs
from DeepRegistrationLib.mrml.results import load_result
from mrml.extras.made import MATRIX, POINTS, SCORES, SHAPE, markups, rigid, series_file, spots


@pytest.fixture
def pair(scene: Any, make_volume: Any, make_segmentation: Any) -> InputNodes:
    fixed = make_volume(spots(), MATRIX, "CT day 1")
    moving = make_volume(spots(), MATRIX, "CT day 0")
    moving.GetDisplayNode().SetAutoWindowLevel(False)
    moving.GetDisplayNode().SetWindowLevel(700.0, 350.0)
    values = slicer.util.arrayFromVolume(moving)
    segments = make_segmentation(moving, {"organ": values > 500, "rim": (values > 250) & (values <= 500)})
    return InputNodes(fixed, moving, moving_segmentation=segments)


@pytest.fixture
def given(pair: InputNodes, tmp_path: Path, fake_worker: Any) -> Any:
    """(folder, data, labels) of a finished job that left everything."""
    exported = export_inputs(pair, tmp_path)
    data = fake_worker(tmp_path, rigid(1), dense=False, segmentation=True)
    fixed = sitk.ReadImage(str(tmp_path / "fixed.nrrd"))
    change = sitk.GetImageFromArray(np.linspace(-40, 10, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    change.CopyInformation(fixed)
    files = data["files"]
    for name in ("intensity_change", "metamorphosed"):
        files[name] = f"{name}.nrrd"
        sitk.WriteImage(change, str(tmp_path / files[name]))
    pictures = [sitk.GetArrayFromImage(fixed) * k for k in (0.0, 0.5, 1.0)]
    files["series.metamorphosis"] = "metamorphosis.seq.nrrd"
    series_file(tmp_path / "metamorphosis.seq.nrrd", fixed, pictures)
    files["series.mask"] = "mask.seq.nrrd"
    series_file(tmp_path / "mask.seq.nrrd", fixed, [np.zeros(SHAPE), np.ones(SHAPE)])
    for side, points in (("fixed", POINTS), ("moving", np.array([rigid(1).TransformPoint(p) for p in POINTS]))):
        files[f"points.{side}_correspondences"] = f"{side}_correspondences.mrk.json"
        markups(tmp_path / f"{side}_correspondences.mrk.json", points)
    for k in (1, 2, 3):
        files[f"alternative.{k}"] = f"alternative-{k}.tfm"
        sitk.WriteTransform(rigid(k), str(tmp_path / f"alternative-{k}.tfm"))
    titles = ["", "upside down", ""]
    told = [{"title": t, "scores": s} for t, s in zip(titles, SCORES, strict=True)]
    data["provenance"] = {"method": "test-method", "alternatives": told, "tables": {"distance": 2.0}}
    return tmp_path, data, exported.labels


@pytest.fixture
def result(pair: InputNodes, given: Any) -> Any:
    folder, data, labels = given
    return load_result(pair, folder, data, labels)
