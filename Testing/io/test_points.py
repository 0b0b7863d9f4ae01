"""Landmarks in Slicer's markups, FCSV and plain text."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.grids import GRIDS
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.points import PointSet

ENDINGS = (".mrk.json", ".fcsv", ".txt", ".csv")
finite = st.floats(-1e4, 1e4, allow_nan=False)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.sampled_from([2, 3]).flatmap(lambda d: arrays.arrays(float, (3, d), elements=finite)))
@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip_is_exact(ending, points, tmp_path):
    path = tmp_path / f"points{ending}"
    io.write_points(PointSet(torch.from_numpy(points)), path)
    again = io.read_points(path, dimension=points.shape[1])
    np.testing.assert_array_equal(again.points.numpy(), points)


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_come_back(ending, tmp_path):
    path = tmp_path / f"points{ending}"
    io.write_points(PointSet([[1.0, 2, 3], [4, 5, 6]], names=["carina", "apex"]), path)
    assert list(io.read_points(path).names) == ["carina", "apex"]


def test_names_with_commas_and_quotes(tmp_path):
    names = ['left, "upper"', "Überlauf"]
    for ending in (".mrk.json", ".fcsv"):
        path = tmp_path / f"points{ending}"
        io.write_points(PointSet([[1.0, 2, 3], [4, 5, 6]], names=names), path)
        assert list(io.read_points(path).names) == names


def read(tmp_path, name: str, text: str, **more) -> list[list[float]]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return io.read_points(tmp_path / name, **more).points.tolist()


def refused(tmp_path, name: str, text: str, *words: str, **more) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        io.read_points(tmp_path / name, **more)
    message = str(caught.value)
    assert str(tmp_path / name) in message and all(word in message for word in words), message
    assert "\n" not in message and message.endswith(".")


def markups(*points, **more) -> str:
    return json.dumps({"markups": [{"type": "Fiducial", "controlPoints": list(points), **more}]})


def test_markups_in_both_coordinate_systems(tmp_path):
    point = {"label": "a", "position": [1.0, 2.0, 3.0], "orientation": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}
    for system, expected in (("LPS", [1, 2, 3]), ("RAS", [-1, -2, 3]), ("0", [-1, -2, 3]), ("1", [1, 2, 3])):
        text = markups(point, coordinateSystem=system, coordinateUnits="mm")
        assert read(tmp_path, "a.mrk.json", text) == [expected]
    assert read(tmp_path, "a.mrk.json", markups(point)) == [[1, 2, 3]]


def test_markups_that_cannot_be_used(tmp_path):
    point = {"label": "F-1", "position": [1.0, 2.0, 3.0]}
    name = "a.mrk.json"
    refused(tmp_path, name, '{"markups": [\n  oops\n]}', "Line 2", "oops")
    refused(tmp_path, name, "[1, 2]", "not a Slicer markups file")
    refused(tmp_path, name, json.dumps({"markups": []}), "holds 0 markups")
    refused(tmp_path, name, markups(), "holds no points")
    refused(tmp_path, name, markups(point, coordinateSystem="IJK"), "'IJK'")
    refused(tmp_path, name, markups(point, coordinateUnits="um"), "'um'")
    refused(tmp_path, name, markups({**point, "position": [1, 2]}), "'F-1'", "[1, 2]")
    refused(tmp_path, name, markups({**point, "position": [1, "b", 3]}), "'F-1'")
    refused(tmp_path, name, markups({**point, "positionStatus": "undefined"}), "'F-1'", "not placed")
    refused(tmp_path, name, markups({"label": "F-1"}), "not placed")
    refused(tmp_path, name, markups("x"), "Control point 1")


def test_fcsv_of_every_age(tmp_path):
    row = "vtkMRMLMarkupsFiducialNode_0,1,2,3,0,0,0,1,1,1,0,F-1,,"
    new = "# Markups fiducial file version = 4.11\n# CoordinateSystem = {}\n# columns = id,x,y,z,ow\n{}\n"
    for system, expected in (("LPS", [1, 2, 3]), ("RAS", [-1, -2, 3]), ("0", [-1, -2, 3]), ("1", [1, 2, 3])):
        assert read(tmp_path, "a.fcsv", new.format(system, row)) == [expected]
    assert read(tmp_path, "a.fcsv", f"# Markups fiducial file version = 4.5\n{row}\n") == [[-1, -2, 3]]
    slicer3 = "# numPoints = 1\n# symbolScale = 5\nF0,1,2,3,1,1\n"
    assert read(tmp_path, "a.fcsv", slicer3) == [[-1, -2, 3]]


def test_fcsv_that_cannot_be_used(tmp_path):
    head = "# Markups fiducial file version = 4.11\n"
    refused(tmp_path, "a.fcsv", head, "holds no points")
    refused(tmp_path, "a.fcsv", head + "# CoordinateSystem = IJK\n1,1,2,3\n", "'IJK'")
    refused(tmp_path, "a.fcsv", head + "1,1,two,3,0\n", "Line 2", "1,1,two,3,0")
    refused(tmp_path, "a.fcsv", head + "1,1\n", "Line 2")
    refused(tmp_path, "a.fcsv", head + "1,1,2,3,0,0,0,1,1,1,0,F-1,,,0,0\n", "Line 2", "not placed")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# LPS mm\n1 2 3\n\n4 5 6  # the second\n", [[1, 2, 3], [4, 5, 6]]),
        ("1,2,3\n4,5,6", [[1, 2, 3], [4, 5, 6]]),
        ("x,y,z\n1,2,3\n", [[1, 2, 3]]),
        ("name;x;y;z\ncarina;1;2;3\n", [[1, 2, 3]]),
        ("1\t2\t3\tcarina\n", [[1, 2, 3]]),
        ("1.5 -2e1\n", [[1.5, -20]]),
        ("point\n2\n1 2 3\n4 5 6\n", [[1, 2, 3], [4, 5, 6]]),
        ("# CoordinateSystem = RAS\n1 2 3\n", [[-1, -2, 3]]),
        ("\ufeff1 2 3\r\n4 5 6\r\n", [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_plain_text(text, expected, tmp_path):
    assert read(tmp_path, "a.txt", text) == expected


def test_plain_text_that_cannot_be_used(tmp_path):
    refused(tmp_path, "a.txt", "# nothing\n", "holds no points")
    refused(tmp_path, "a.txt", "1 2 3\n1 2\n", "Line 2", "'1 2'", "first point has 3")
    refused(tmp_path, "a.txt", "1 2 3\n\n1 2 x y\n", "Line 3", "'1 2 x y'")
    refused(tmp_path, "a.txt", "1 2 3 4\n", "Line 1")
    refused(tmp_path, "a.txt", "point\n3\n1 2 3\n", "announces 3 points but holds 1")
    refused(tmp_path, "a.txt", "point\n1 2 3\n", "number of points")
    refused(tmp_path, "a.txt", "index\n1\n1 2 3\n", "voxel indices")
    refused(tmp_path, "a.txt", "nan 2 3\n", "not a finite number")
    refused(tmp_path, "a.txt", "1 2 3\n1 2 4\n", "3 coordinates", "2 dimensions", dimension=2)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="no text"):
        io.read_points(tmp_path / "b.txt")
    with pytest.raises(InputError, match="does not exist"):
        io.read_points(tmp_path / "none.fcsv")


def test_indices_become_millimetres_on_a_grid(tmp_path):
    grid = GRIDS["oblique"]
    got = read(tmp_path, "a.txt", "index\n2\n1 2 3\n0 0 0\n", grid=grid)
    np.testing.assert_allclose(got, grid.world_from_index([[1, 2, 3], [0, 0, 0]]))


@pytest.mark.data
def test_real_landmarks(shared_data):
    points = io.read_points(shared_data / "lung_ct_synthetic" / "fixed_landmarks.txt")
    assert len(points) == 150 and points.dimension == 3
    assert io.read_points(shared_data / "histology_2d" / "fixed_landmarks.txt").dimension == 2
