"""Series of images in one file: the values, the world they lie in, and what others read in it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from core.grids import rotation
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError, OutputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image

OBLIQUE = Grid((7, 5, 4), (1.5, 1.2, 2.5), (-20.0, 31.0, 7.0), rotation(12, -20, 30) @ np.diag([1, 1, -1]))
FLAT = Grid((6, 5), (1.5, 0.8), (3.0, -4.0), [[0.0, -1.0], [1.0, 0.0]])


def images(grid, count=3, dtype=torch.float32):
    random = torch.Generator().manual_seed(3)
    return [Image((100 * torch.rand(1, *grid.shape, generator=random)).to(dtype), grid) for _ in range(count)]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("grid", [OBLIQUE, FLAT], ids=["3-D", "2-D"])
def test_what_is_written_is_read(tmp_path, grid, count, compressed):
    given, path = images(grid, count), tmp_path / "a.seq.nrrd"
    io.write_series(given, path, compressed=compressed)
    found = io.read_series(path)
    assert len(found) == count
    for image, original in zip(found, given, strict=True):
        assert image.grid.same_as(grid)
        assert torch.equal(image.data, original.data)


def test_whole_numbers_stay_small_and_mixtures_become_floats(tmp_path):
    io.write_series(images(OBLIQUE, 2, torch.uint8), tmp_path / "a.seq.nrrd", compressed=False)
    assert io.read_series(tmp_path / "a.seq.nrrd")[0].data.dtype == torch.uint8
    mixed = [*images(OBLIQUE, 1, torch.uint8), *images(OBLIQUE, 1)]
    io.write_series(mixed, tmp_path / "b.seq.nrrd")
    first, second = io.read_series(tmp_path / "b.seq.nrrd")
    assert torch.equal(first.data, mixed[0].data.float()) and torch.equal(second.data, mixed[1].data)


def test_simpleitk_reads_one_component_an_image(tmp_path):
    given = images(OBLIQUE)
    io.write_series(given, tmp_path / "a.seq.nrrd")
    read = sitk.ReadImage(str(tmp_path / "a.seq.nrrd"))
    assert read.GetNumberOfComponentsPerPixel() == 3 and read.GetSize() == OBLIQUE.size
    for index in [(0, 0, 0), (6, 4, 3), (3, 1, 2)]:
        place = read.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(place, OBLIQUE.world_from_index(index), atol=1e-9)
        x, y, z = index
        assert read.GetPixel(index) == pytest.approx([float(i.data[0, z, y, x]) for i in given])


def test_slicer_reads_a_sequence(tmp_path, slicer_host):
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    given = images(OBLIQUE)
    io.write_series(given, tmp_path / "a.seq.nrrd")
    scene = slicer.mrmlScene
    storage = slicer.vtkMRMLVolumeSequenceStorageNode()
    sequence = slicer.vtkMRMLSequenceNode()
    for node in (storage, sequence):
        scene.AddNode(node)
    storage.SetFileName(str(tmp_path / "a.seq.nrrd"))
    assert storage.ReadData(sequence) and sequence.GetNumberOfDataNodes() == 3
    assert (sequence.GetIndexName(), sequence.GetNthIndexValue(2)) == ("step", "2")
    matrix = vtk.vtkMatrix4x4()
    for k, image in enumerate(given):
        volume = sequence.GetNthDataNode(k)
        values = vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars()).reshape(OBLIQUE.shape)
        volume.GetRASToIJKMatrix(matrix)
        for index in np.ndindex(*OBLIQUE.size):  # Slicer turns the slices of a left-handed grid round
            place = (*(OBLIQUE.world_from_index(index) * (-1, -1, 1)), 1.0)
            there = np.array(matrix.MultiplyPoint(place))[:3]
            np.testing.assert_allclose(there, np.rint(there), atol=1e-4)
            x, y, z = np.rint(there).astype(int)
            assert values[z, y, x] == image.data[0].numpy()[index[::-1]]
    for node in (storage, sequence):
        scene.RemoveNode(node)


def test_what_does_not_belong_together_is_refused(tmp_path):
    path = tmp_path / "a.seq.nrrd"
    other = Grid(OBLIQUE.size, OBLIQUE.spacing, (0.0, 0.0, 0.0))
    with pytest.raises(OutputError, match="one grid"):
        io.write_series([*images(OBLIQUE, 1), *images(other, 1)], path)
    with pytest.raises(OutputError, match="at least one"):
        io.write_series([], path)
    with pytest.raises(OutputError, match=r"\.seq\.nrrd"):
        io.write_series(images(OBLIQUE), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_was_cut_short_is_one_sentence(tmp_path, compressed):
    path = tmp_path / "a.seq.nrrd"
    io.write_series(images(OBLIQUE), path, compressed=compressed)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.seq\.nrrd") as caught:
        io.read_series(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
