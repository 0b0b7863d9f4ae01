"""Files against Slicer's own storage nodes: what one writes the other reads as the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.grids import GRIDS, linear_map, noise, some_points, wavy
from DeepRegistrationLib import io
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.transforms import Affine

slicer = pytest.importorskip("slicer", reason="Slicer's MRML (slicer-core) is not installed")

GRID = GRIDS["oblique"].with_size((16, 18, 12))
RAS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def scene():
    return slicer.vtkMRMLScene()


def load(scene, kind: str, storage: str, path):
    node = scene.AddNewNodeByClass(kind)
    reader = scene.AddNode(getattr(slicer, storage)())
    reader.SetFileName(str(path))
    assert reader.ReadData(node)
    return node


def save(scene, node, storage: str, path) -> None:
    writer = scene.AddNode(getattr(slicer, storage)())
    writer.SetFileName(str(path))
    assert writer.WriteData(node)


def load_transform(scene, path):
    return load(scene, "vtkMRMLTransformNode", "vtkMRMLTransformStorageNode", path)


def through(node, points: torch.Tensor) -> np.ndarray:
    """LPS points of the fixed image to the moving one, which is Slicer's "from parent"."""
    transform = node.GetTransformFromParent()
    return np.array([transform.TransformPoint(*p) for p in points.numpy() * RAS]) * RAS


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha", ".h5"])
def test_fields(scene, ending, tmp_path):
    field = wavy(GRID, 3.0)
    io.write_transform(field, tmp_path / f"t{ending}")
    node = load_transform(scene, tmp_path / f"t{ending}")
    voxels = GRID.world_points(dtype=torch.float64).reshape(-1, 3)
    np.testing.assert_allclose(through(node, voxels), field.apply(voxels), atol=1e-5)
    # Slicer takes cubic interpolation between the voxels
    between = some_points(GRID, margin=1)
    np.testing.assert_allclose(through(node, between), field.apply(between), atol=0.03)
    save(scene, node, "vtkMRMLTransformStorageNode", tmp_path / f"again{ending}")
    again = io.read_transform(tmp_path / f"again{ending}")
    assert again.grid.same_as(GRID)
    torch.testing.assert_close(again.field, field.field, atol=1e-5, rtol=0)


def test_outside_the_grid_slicer_holds_the_edge_and_the_library_is_zero(scene, tmp_path):
    field = wavy(GRID, 3.0)
    io.write_transform(field, tmp_path / "t.nrrd")
    node = load_transform(scene, tmp_path / "t.nrrd")
    edge, half, far = (torch.from_numpy(GRID.world_from_index([[x, 4.0, 4.0]])) for x in (0.0, -0.45, -6.0))
    at_edge = field.apply(edge) - edge
    assert float(at_edge.norm()) > 1
    for point in (half, far):
        np.testing.assert_allclose(through(node, point) - point.numpy(), at_edge, atol=1e-4)
    torch.testing.assert_close(field.apply(half) - half, at_edge, atol=1e-4, rtol=0)
    assert torch.equal(field.apply(far), far)


@pytest.mark.parametrize("ending", [".tfm", ".h5", ".txt", ".mat"])
def test_linear_transforms(scene, ending, tmp_path):
    transform = linear_map(GRID)
    io.write_transform(transform, tmp_path / f"t{ending}")
    node = load_transform(scene, tmp_path / f"t{ending}")
    assert node.IsLinear()
    points = some_points(GRID)
    np.testing.assert_allclose(through(node, points), transform.apply(points), atol=1e-9)
    save(scene, node, "vtkMRMLTransformStorageNode", tmp_path / f"again{ending}")
    again = io.read_transform(tmp_path / f"again{ending}")
    assert isinstance(again, Affine)
    np.testing.assert_allclose(again.homogeneous, transform.homogeneous, atol=1e-9)


@pytest.mark.parametrize(
    "ending, storage",
    [(".mrk.json", "vtkMRMLMarkupsJsonStorageNode"), (".fcsv", "vtkMRMLMarkupsFiducialStorageNode")],
)
def test_landmarks(scene, ending, storage, tmp_path):
    points = PointSet(some_points(GRID, 3), names=["carina", 'left, "upper"', "apex"])
    io.write_points(points, tmp_path / f"p{ending}")
    node = load(scene, "vtkMRMLMarkupsFiducialNode", storage, tmp_path / f"p{ending}")
    assert [node.GetNthControlPointLabel(k) for k in range(3)] == list(points.names)
    seen = np.array([node.GetNthControlPointPosition(k) for k in range(3)])
    np.testing.assert_allclose(seen * RAS, points.points, atol=1e-9)
    assert all(node.GetNthControlPointPositionStatus(k) == node.PositionDefined for k in range(3))
    save(scene, node, storage, tmp_path / f"again{ending}")
    again = io.read_points(tmp_path / f"again{ending}")
    np.testing.assert_allclose(again.points, points.points, atol=1e-5)
    assert list(again.names) == list(points.names)


def test_segmentations(scene, tmp_path):
    labels = noise(GRID, kind=ImageKind.LABELS).data % 4
    image = Image(labels, GRID, ImageKind.LABELS, {1: "liver", 2: "left kidney", 3: "tumour"})
    storage = "vtkMRMLSegmentationStorageNode"
    io.write_segmentation(image, tmp_path / "a.seg.nrrd")
    node = load(scene, "vtkMRMLSegmentationNode", storage, tmp_path / "a.seg.nrrd")
    held = node.GetSegmentation()
    segments = [held.GetNthSegment(k) for k in range(held.GetNumberOfSegments())]
    assert {s.GetLabelValue(): s.GetName() for s in segments} == image.names
    entry = "Anatomy~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes~^^~^^"
    segments[0].SetTag("TerminologyEntry", entry)
    segments[0].SetColor(0.1, 0.2, 0.3)
    save(scene, node, storage, tmp_path / "slicer.seg.nrrd")
    read = io.read_segmentation(tmp_path / "slicer.seg.nrrd")
    assert read.names == image.names
    assert torch.equal(read.resampled(GRID).data.int(), labels.int())
    io.write_segmentation(read, tmp_path / "moved.seg.nrrd", like=tmp_path / "slicer.seg.nrrd")
    liver = load(scene, "vtkMRMLSegmentationNode", storage, tmp_path / "moved.seg.nrrd").GetSegmentation()
    import vtk

    found = vtk.reference("")
    assert liver.GetNthSegment(0).GetTag("TerminologyEntry", found) and str(found) == entry
    np.testing.assert_allclose(liver.GetNthSegment(0).GetColor(), (0.1, 0.2, 0.3), atol=1e-6)


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha"])
def test_volumes(scene, ending, tmp_path):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = noise(GRID)
    io.write_image(image, tmp_path / f"a{ending}")
    storage = "vtkMRMLVolumeArchetypeStorageNode"
    node = load(scene, "vtkMRMLScalarVolumeNode", storage, tmp_path / f"a{ending}")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ras = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ ras, GRID.index_to_world, atol=1e-4)
    values = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(GRID.shape)
    np.testing.assert_array_equal(values, image.data[0])
