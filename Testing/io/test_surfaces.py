"""Model files: what VTK and Slicer write is read, in text and binary, with its world and its names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError, OutputError
from DeepRegistrationLib.core.points import PointSet

vtk = pytest.importorskip("vtk")


def ball(centre=(10.0, -20.0, 30.0), radius=8.0):
    source = vtk.vtkSphereSource()
    source.SetCenter(centre)
    source.SetRadius(radius)
    source.SetThetaResolution(9)
    source.SetPhiResolution(7)
    source.SetOutputPointsPrecision(vtk.vtkAlgorithm.DOUBLE_PRECISION)
    source.Update()
    return source.GetOutput()


def quads():
    cube = vtk.vtkCubeSource()
    cube.SetXLength(4)
    clean = vtk.vtkCleanPolyData()
    clean.SetInputConnection(cube.GetOutputPort())
    clean.Update()
    return clean.GetOutput()


def arrays(data):
    from vtk.util.numpy_support import vtk_to_numpy

    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(data)
    triangles.Update()
    out = triangles.GetOutput()
    cells = vtk_to_numpy(out.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return vtk_to_numpy(out.GetPoints().GetData()).astype(float), cells


def volume_and_area(points, triangles):
    a, b, c = (points[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    return (a * normal).sum() / 6, np.linalg.norm(normal, axis=1).sum() / 2


def write(data, path, *, binary, version=None, space=""):
    kinds = {".vtk": vtk.vtkPolyDataWriter, ".ply": vtk.vtkPLYWriter, ".stl": vtk.vtkSTLWriter}
    kinds[".vtp"] = vtk.vtkXMLPolyDataWriter
    writer = kinds[path.suffix]()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    if path.suffix == ".vtp":
        if space:
            array = vtk.vtkStringArray()
            array.SetName("SPACE")
            array.InsertNextValue(space)
            data.GetFieldData().AddArray(array)
    else:
        writer.SetFileTypeToBinary() if binary else writer.SetFileTypeToASCII()
    if version is not None:
        writer.SetFileVersion(version)
    if space and path.suffix in (".vtk", ".stl"):
        writer.SetHeader(f"model; SPACE={space}")
    if space and path.suffix == ".ply":
        writer.AddComment(f"SPACE={space}")
    assert writer.Write()


FORMS = [(".vtk", 42), (".vtk", 51), (".ply", None), (".stl", None), (".vtp", None)]


@pytest.mark.parametrize("space", ["", "LPS", "RAS"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("suffix", "version"), FORMS)
def test_files_of_vtk(tmp_path, suffix, version, binary, space):
    path = tmp_path / f"left kidney{suffix}"
    data = ball()
    write(data, path, binary=binary, version=version, space=space)
    found = io.read_surfaces(path)
    points, triangles = arrays(ball())
    if space == "RAS":
        points = points * (-1, -1, 1)
    expected = volume_and_area(points, triangles)
    got = found.points.numpy(), found.triangles.numpy()
    assert volume_and_area(*got) == pytest.approx(expected, rel=1e-4)
    assert len(got[0]) == len(points)  # corners of an .stl are one point again
    near = np.abs(got[0][:, None] - points[None]).max(axis=-1).min(axis=1)
    assert near.max() < 1e-3
    assert found.label_names == {1: "left kidney"} and set(found.names) == {"left kidney"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("suffix", "version"), [(".vtk", 42), (".vtk", 51), (".ply", None)])
def test_polygons_become_triangles(tmp_path, suffix, version, binary):
    path = tmp_path / f"cube{suffix}"
    write(quads(), path, binary=binary, version=version)
    found = io.read_surfaces(path)
    volume, area = volume_and_area(found.points.numpy(), found.triangles.numpy())
    assert abs(volume) == pytest.approx(4.0) and area == pytest.approx(18.0)
    assert len(found.triangles) == 12


def test_a_folder_is_one_structure_a_file(tmp_path):
    write(ball(), tmp_path / "liver.vtk", binary=True)
    write(ball((0, 0, 0), 3.0), tmp_path / "left%2Fright.stl", binary=True)
    (tmp_path / "notes.txt").write_text("nothing")
    found = io.read_surfaces(tmp_path)
    assert sorted(found.label_names.values()) == ["left/right", "liver"]
    for label, name in found.label_names.items():
        own = found.labels == label
        centre = found.points[own].mean(0).tolist()
        assert centre == pytest.approx((10, -20, 30) if name == "liver" else (0, 0, 0), abs=0.5)
        faces = found.triangles[own[found.triangles].all(dim=1)]
        assert len(faces) and bool(own[faces].all())
    mixed = found.labels[found.triangles]
    assert bool((mixed == mixed[:, :1]).all())  # no triangle between two structures


def test_several_structures_in_one_file_come_back(tmp_path):
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [6, 5, 5], [5, 6, 5]], dtype=torch.float64)
    names = ["liver"] * 3 + ["left kidney"] * 3
    given = PointSet(points, torch.tensor([4, 4, 4, 9, 9, 9]), names, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    io.write_surfaces(given, tmp_path / "all.ply")
    found = io.read_surfaces(tmp_path / "all.ply")
    assert torch.equal(found.points, points) and torch.equal(found.triangles, given.triangles)
    assert found.labels.tolist() == [4, 4, 4, 9, 9, 9] and list(found.names) == names
    reader = vtk.vtkPLYReader()
    reader.SetFileName(str(tmp_path / "all.ply"))
    reader.Update()
    assert reader.GetOutput().GetNumberOfPolys() == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 3\nend_header\n", "cannot be read as a .ply"),
        ("a.vtk", b"not a file of vtk\n\n\n\n", "cannot be read as a .vtk"),
        ("a.stl", b"solid nothing\nendsolid\n", "no points"),
        ("a.obj", b"v 1 2 3\n", "no model file"),
        ("a.vtk", b"# vtk DataFile Version 4.2\nx\nASCII\nDATASET STRUCTURED_POINTS\n", "not polygons"),
    ],
)
def test_other_files_are_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        io.read_surfaces(tmp_path / name)
    text = str(caught.value)
    assert words in text and name in text and "\n" not in text and text.endswith(".")


def test_places_without_models(tmp_path):
    with pytest.raises(InputError, match="no model files"):
        io.read_surfaces(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        io.read_surfaces(tmp_path / "a.ply")
    with pytest.raises(OutputError, match=r"\.ply"):
        io.write_surfaces(PointSet(torch.zeros(3, 3)), tmp_path / "a.obj")
    path = tmp_path / "cut.vtk"
    write(ball(), path, binary=True)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError, match=r"cut\.vtk"):
        io.read_surfaces(path)
