"""Files go through Slicer's real readers and writers."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha"])
def test_volumes(slicer_host, tmp_path, ending):
    import slicer

    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    matrix = np.array([[0, -1.5, 0, 7.0], [2.0, 0, 0, 8.0], [0, 0, 3.0, 9.0], [0, 0, 0, 1]])
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=matrix, name="Noise")
    file = str(tmp_path / f"noise{ending}")
    assert slicer.util.saveNode(node, file)
    again = slicer.util.loadVolume(file, {"name": "Again"})
    assert again.GetName() == "Again"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(again), voxels)
    read = slicer.util.vtkMatrixFromArray(np.zeros((4, 4)))
    again.GetIJKToRASMatrix(read)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(read), matrix, atol=1e-5)


def test_a_label_map_stays_one(slicer_host, tmp_path):
    import slicer

    node = slicer.util.addVolumeFromArray(
        np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        name="Labels",
        nodeClassName="vtkMRMLLabelMapVolumeNode",
    )
    file = str(tmp_path / "labels.nrrd")
    assert slicer.util.saveNode(node, file)
    assert slicer.util.loadLabelVolume(file).IsA("vtkMRMLLabelMapVolumeNode")


def test_transforms_and_markups(slicer_host, tmp_path):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 12.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
    transform.SetMatrixTransformToParent(matrix)
    assert slicer.util.saveNode(transform, str(tmp_path / "t.tfm"))
    again = slicer.util.loadTransform(str(tmp_path / "t.tfm"))
    assert slicer.util.arrayFromTransformMatrix(again)[0, 3] == pytest.approx(12.0)

    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "P")
    points.AddControlPoint([1.0, 2.0, 3.0], "one")
    assert slicer.util.saveNode(points, str(tmp_path / "p.mrk.json"))
    read = slicer.util.loadMarkups(str(tmp_path / "p.mrk.json"))
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(read), [[1, 2, 3]])


def test_a_missing_file_raises(slicer_host, tmp_path):
    import slicer

    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))


def test_python_slicer_is_on_the_path(slicer_host):
    import shutil
    import sys

    command = shutil.which("PythonSlicer")
    out = subprocess.run(
        [command, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == sys.prefix


def test_packages(slicer_host):
    import slicer.packaging

    assert slicer.packaging.pip_check("numpy>=2")
    slicer.packaging.pip_ensure("numpy>=2", requester="Example")
    with pytest.raises(RuntimeError, match="installs nothing"):
        slicer.packaging.pip_ensure("package-that-is-not-there>=1", requester="Example")
    assert slicer_host.popups.opened[0].text == "package-that-is-not-there>=1"
