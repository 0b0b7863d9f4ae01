"""Model nodes become one file of named surfaces in the world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.inputs import InputNodes, export_inputs, segment_names

MATRIX = np.array([[-2.0, 0, 0, 20.0], [0, -2.0, 0, 22.0], [0, 0, 2.0, -16.0], [0, 0, 0, 1.0]])
PLACED = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])


def model(scene: Any, name: str, centre: tuple[float, float, float], radius: float = 5.0) -> Any:
    source = vtk.vtkSphereSource()
    source.SetCenter(centre)
    source.SetRadius(radius)
    source.Update()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(source.GetOutput())
    return node


@pytest.fixture
def pair(scene: Any, make_volume: Any) -> InputNodes:
    array = np.random.default_rng(0).normal(size=(16, 22, 20)).astype(np.float32)
    liver, kidney = model(scene, "liver", (1, 2, 3)), model(scene, "left kidney", (-5, 8, 0), 3.0)
    other = model(scene, "left kidney", (-4, 7, 1), 3.0)
    return InputNodes(
        make_volume(array, MATRIX, "fixed"),
        make_volume(array, MATRIX, "moving"),
        fixed_surfaces=(liver, kidney),
        moving_surfaces=(other,),
    )


def test_models_are_written_with_their_names_in_lps(scene: Any, pair: InputNodes, tmp_path: Path) -> None:
    mine = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "mine")
    mine.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(PLACED))
    pair.fixed_surfaces[0].SetAndObserveTransformNodeID(mine.GetID())
    exported = export_inputs(pair, tmp_path)
    assert exported.files["fixed_surfaces"] == "fixed_surfaces.ply"
    found = io.read_surfaces(tmp_path / "fixed_surfaces.ply")
    assert found.label_names == {1: "liver", 2: "left kidney"}
    for label, centre in ((1, PLACED @ (1, 2, 3, 1)), (2, np.array((-5, 8, 0, 1)))):
        own = found.labels == label
        np.testing.assert_allclose(found.points[own].mean(0), centre[:3] * (-1, -1, 1), atol=0.05)
        assert bool(own[found.triangles].all(dim=1).any())
    expected = vtk.vtkMassProperties()
    expected.SetInputData(pair.moving_surfaces[0].GetPolyData())
    moving = io.read_surfaces(tmp_path / exported.files["moving_surfaces"])
    a, b, c = (moving.points[moving.triangles[:, k]] for k in range(3))
    area = float((b - a).cross(c - a, dim=1).norm(dim=1).sum() / 2)
    assert area == pytest.approx(expected.GetSurfaceArea(), rel=1e-5)


def test_names_on_both_sides(pair: InputNodes) -> None:
    assert segment_names(pair) == ("left kidney",)
    assert segment_names(replace(pair, moving_surfaces=())) == ("liver", "left kidney")
    assert segment_names(replace(pair, fixed_surfaces=(), moving_surfaces=())) == ()


def test_models_that_cannot_be_used_are_one_sentence(scene: Any, pair: InputNodes, tmp_path: Path) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLModelNode", "nothing")
    with pytest.raises(InputError, match="models of the fixed volume 'nothing' has no surface"):
        export_inputs(replace(pair, fixed_surfaces=(empty,)), tmp_path)
    twice = (pair.fixed_surfaces[1], pair.moving_surfaces[0])
    with pytest.raises(InputError, match="called 'left kidney'"):
        export_inputs(replace(pair, fixed_surfaces=twice), tmp_path)
    with pytest.raises(InputError, match="choose a Model"):
        replace(pair, fixed_surfaces=(pair.fixed,)).check()
