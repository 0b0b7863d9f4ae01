"""Images to files and back, files as SimpleITK wrote them, and files that cannot be used."""

from __future__ import annotations

import gzip
import locale
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from core.grids import GRIDS, empty_itk, noise
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", GRIDS)
def test_round_trip_and_simpleitk_sees_the_same(name, ending, tmp_path):
    image = noise(GRIDS[name])
    path = tmp_path / f"image{ending}"
    io.write_image(image, path)
    again = io.read_image(path)
    assert again.grid.same_as(image.grid)
    assert torch.equal(again.data, image.data)
    itk = sitk.ReadImage(str(path))
    place = [1] * itk.GetDimension()
    assert itk.GetPixel(place) == image.data[(0, *place)]
    world = image.grid.world_from_index(place)
    np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint(place), world, atol=1e-3)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("name", ["oblique", "flat oblique"])
def test_channels(name, ending, tmp_path):
    image = noise(GRIDS[name], channels=4)
    io.write_image(image, tmp_path / f"image{ending}")
    assert torch.equal(io.read_image(tmp_path / f"image{ending}").data, image.data)


@pytest.mark.parametrize(
    "written, read",
    [
        (np.uint8, torch.uint8),
        (np.int8, torch.int8),
        (np.int16, torch.int16),
        (np.int32, torch.int32),
        (np.int64, torch.int64),
        (np.float32, torch.float32),
        (np.float64, torch.float32),
        (np.uint16, torch.int16),
        (np.uint32, torch.int32),
    ],
)
def test_number_types(written, read):
    image = io.from_sitk(sitk.GetImageFromArray(np.array([[0, 7], [100, 3]], dtype=written)))
    assert image.data.dtype == read and image.data.flatten().tolist() == [0, 7, 100, 3]


def test_large_unsigned_numbers_keep_their_value():
    for dtype, value, read in ((np.uint16, 65535, torch.int32), (np.uint32, 2**32 - 1, torch.int64)):
        image = io.from_sitk(sitk.GetImageFromArray(np.array([[value, 0]], dtype=dtype)))
        assert image.data.dtype == read and int(image.data.max()) == value


def test_half_precision_and_booleans_can_be_written():
    grid = Grid((2, 1))
    for values in (torch.tensor([[[1.5, 2.0]]], dtype=torch.bfloat16), torch.tensor([[[True, False]]])):
        assert torch.equal(io.from_sitk(io.to_sitk(Image(values, grid))).data.float(), values.float())


def test_rescaled_nifti_is_read_in_its_units(tmp_path):
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(8, dtype=np.int16).reshape(2, 2, 2)), str(path))
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 2.0, -1000.0)  # scl_slope, scl_inter
    path.write_bytes(content)
    assert io.read_image(path).data.flatten().tolist() == [2.0 * k - 1000 for k in range(8)]


def test_pictures(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (5, 6, 4), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(tmp_path / "rgba.png"))
    image = io.read_image(tmp_path / "rgba.png")
    assert image.dimension == 2 and image.data.shape == (3, 5, 6)
    assert np.array_equal(image.data.numpy(), values[..., :3].transpose(2, 0, 1))
    io.write_image(image, tmp_path / "rgb.png")
    assert torch.equal(io.read_image(tmp_path / "rgb.png").data, image.data)


def test_masks_and_labels(tmp_path):
    values = np.array([[0, 1, 255], [0, 0, 3]], dtype=np.float64)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "a.nrrd"))
    mask = io.read_image(tmp_path / "a.nrrd", ImageKind.MASK)
    assert mask.data.dtype == torch.uint8 and mask.data[0].tolist() == [[0, 1, 1], [0, 0, 1]]
    labels = io.read_image(tmp_path / "a.nrrd", ImageKind.LABELS)
    assert labels.data.dtype == torch.int16 and labels.label_values == [1, 3, 255]


def test_a_series_of_one_volume_is_that_volume(tmp_path):
    values = np.random.default_rng(0).normal(size=(1, 4, 3, 2)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(tmp_path / "a.nii.gz"))
    assert np.array_equal(io.read_image(tmp_path / "a.nii.gz").data.numpy(), values)


def test_a_folder_with_one_dicom_series(tmp_path):
    folder = dicom(tmp_path / "one", "1.2.3.4")
    image = io.read_image(folder)
    assert image.grid.size == (6, 5, 4)
    assert image.grid.spacing == pytest.approx((0.5, 0.5, 3.0))
    assert image.data.flatten().tolist() == list(range(120))
    dicom(folder, "1.2.3.5", first=10)
    refused(folder, "holds 2 DICOM series")


def test_a_dicom_series_that_lacks_a_slice(tmp_path):
    folder = dicom(tmp_path / "one", "1.2.3.4")
    (folder / "slice1.dcm").unlink()
    refused(folder, "not evenly spaced")


def dicom(folder, series: str, first: int = 0):
    folder.mkdir(exist_ok=True)
    before = locale.setlocale(locale.LC_ALL)  # ITK changes it where it writes numbers of DICOM
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    values = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    for k in range(4):
        picture = sitk.GetImageFromArray(values[k : k + 1])
        picture.SetSpacing((0.5, 0.5, 3.0))
        keys = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{k + 1}",
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0032": f"0\\0\\{3 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(k + 1),
            "0018|0050": "3",
        }
        for key, value in keys.items():
            picture.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"slice{first + k}.dcm"))
        writer.Execute(picture)
    locale.setlocale(locale.LC_ALL, before)
    return folder


def refused(path, *words, kind=ImageKind.INTENSITY):
    with pytest.raises(InputError) as caught:
        io.read_image(path, kind)
    text = str(caught.value)
    assert str(path) in text and all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")


def test_missing_empty_foreign_and_misplaced_files(tmp_path):
    refused(tmp_path / "none.nii.gz", "does not exist")
    refused(tmp_path, "holds no DICOM series")
    (tmp_path / "empty.nii.gz").touch()
    refused(tmp_path / "empty.nii.gz", "is empty")
    (tmp_path / "text.nii.gz").write_text("no image at all")
    refused(tmp_path / "text.nii.gz")
    (tmp_path / "text.docx").write_text("no image at all")
    refused(tmp_path / "text.docx", "no image in a known format")


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.1])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_was_cut_short(ending, kept, tmp_path):
    path = tmp_path / f"image{ending}"
    io.write_image(noise(GRIDS["oblique"].with_size((30, 30, 30))), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path)


def test_a_compressed_file_with_a_changed_byte(tmp_path):
    path = tmp_path / "image.nii.gz"
    io.write_image(noise(GRIDS["oblique"].with_size((30, 30, 30))), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "damaged")


def test_gzip_in_several_members_is_whole(tmp_path):
    """Block-wise compressors write a chain of gzip members."""
    image = noise(GRIDS["oblique"])
    io.write_image(image, tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert torch.equal(io.read_image(tmp_path / "a.nii.gz").data, image.data)


def test_a_series_of_volumes(tmp_path):
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.Image([3, 4, 5, 6], sitk.sitkInt16), str(path))
    refused(path, "series of 6 volumes", "3 x 4 x 5 x 6")


def test_complex_values_and_broken_labels(tmp_path):
    sitk.WriteImage(sitk.Image([3, 4], sitk.sitkComplexFloat32), str(tmp_path / "c.nii"))
    refused(tmp_path / "c.nii", "complex")
    sitk.WriteImage(sitk.GetImageFromArray(np.array([[0, 1.5]])), str(tmp_path / "l.nrrd"))
    refused(tmp_path / "l.nrrd", "1.5", "whole numbers", kind=ImageKind.LABELS)
    sitk.WriteImage(sitk.GetImageFromArray(np.array([[0, np.nan]])), str(tmp_path / "n.nrrd"))
    for kind in (ImageKind.MASK, ImageKind.LABELS):
        refused(tmp_path / "n.nrrd", "not finite", kind=kind)


def test_sheared_axes(tmp_path):
    itk = empty_itk(GRIDS["plain"])
    sitk.WriteImage(itk, str(tmp_path / "a.nrrd"))
    text = (tmp_path / "a.nrrd").read_bytes()
    head, data = text.split(b"\n\n", 1)
    lines = [
        b"space directions: (1,0,0) (0.5,1,0) (0,0,1)" if line.startswith(b"space directions") else line
        for line in head.split(b"\n")
    ]
    (tmp_path / "a.nrrd").write_bytes(b"\n".join(lines) + b"\n\n" + data)
    refused(tmp_path / "a.nrrd", "not orthonormal")
    sitk.WriteImage(itk, str(tmp_path / "a.nii"))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[252:256] = struct.pack("<hh", 0, 1)  # only the general matrix counts
    content[280:296] = struct.pack("<4f", 1.0, 0.5, 0.0, 0.0)
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", "right angles")


def test_names_that_are_not_ascii(tmp_path):
    image = noise(GRIDS["plain"])
    path = tmp_path / "Müller größe 日本" / "bild ü.nii.gz"
    path.parent.mkdir()
    io.write_image(image, path)
    assert torch.equal(io.read_image(path).data, image.data)


@pytest.mark.data
def test_real_cases(shared_data):
    left = io.read_image(shared_data / "brain_mr_oasis_nolabels" / "fixed_t1.nii.gz")
    assert left.grid.size == (160, 192, 224) and np.linalg.det(left.grid.direction) < 0
    assert io.read_image(shared_data / "ct_head_2d" / "fixed_ct.mha").dimension == 2
    assert io.read_image(shared_data / "histology_2d" / "fixed_rgb.png").data.shape == (3, 733, 890)
    labels = io.read_segmentation(shared_data / "headneck_rt" / "fixed_labels.nii.gz")
    assert labels.label_values == [1, 2, 3, 4, 5, 6, 7]
