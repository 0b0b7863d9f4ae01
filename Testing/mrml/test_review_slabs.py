"""Files written and read slab by slab hold what SimpleITK reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.core.errors import InputError, OutputError
from DeepRegistrationLib.mrml.places import RAS_TO_LPS
from DeepRegistrationLib.mrml.slabs import NrrdFile, Pace, blocks, finish, read_nrrd, write_array

#: index -> world (RAS): oblique, anisotropic, off origin, left-handed
SPACING = np.array([0.7, 1.9, 2.3])
TURN = np.linalg.qr(np.array([[0.9, 0.2, -0.1], [-0.3, 0.8, 0.3], [0.2, -0.4, -0.9]]))[0]
MATRIX = np.eye(4)
MATRIX[:3, :3] = TURN * SPACING
MATRIX[:3, 3] = (12.5, -77.25, 31.0)
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]


def values(dtype: str, shape: tuple[int, ...] = (7, 5, 9)) -> np.ndarray:
    return np.random.default_rng(1).uniform(-100, 100, shape).clip(0 if "u" in dtype else None).astype(dtype)


def as_itk(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    lps = RAS_TO_LPS @ MATRIX
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / SPACING).ravel().tolist())
    return image


@pytest.mark.parametrize("dtype", TYPES)
def test_sitk_reads_what_was_written(tmp_path: Path, dtype: str) -> None:
    array = values(dtype)
    finish(write_array(array, tmp_path / "a.nrrd", MATRIX))
    image, expected = sitk.ReadImage(str(tmp_path / "a.nrrd")), as_itk(array)
    assert image.GetPixelID() == expected.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    np.testing.assert_allclose(image.GetSpacing(), SPACING, rtol=1e-14)
    np.testing.assert_array_equal(image.GetOrigin(), expected.GetOrigin())
    np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-14)


def test_sitk_reads_vectors_and_key_value_pairs(tmp_path: Path) -> None:
    array = values("float32", (4, 5, 6, 3))
    with NrrdFile(tmp_path / "v.nrrd", (6, 5, 4), "float32", MATRIX, 3, {"Segment0_Name": "left lung"}) as file:
        for k in range(4):
            file.append(array[k])
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    assert image.GetPixelID() == sitk.sitkVectorFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    assert image.GetMetaData("Segment0_Name") == "left lung"


def test_written_as_the_volumes_of_an_alignment_are(slicer_host: Any, tmp_path: Path) -> None:
    from DeepRegistrationLib.mrml.volumes import image_from, write_image

    array = values("int16")
    finish(write_array(array, tmp_path / "a.nrrd", MATRIX))
    write_image(image_from(array, MATRIX), tmp_path / "b.nrrd")
    a, b = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.nrrd", "b.nrrd"))
    assert a.GetPixelID() == b.GetPixelID() and a.GetSize() == b.GetSize()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b))
    for ask in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(a, ask)(), getattr(b, ask)(), atol=1e-12)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("compressed", [False, True])
def test_reads_what_sitk_wrote(tmp_path: Path, dtype: str, compressed: bool) -> None:
    array = values(dtype)
    sitk.WriteImage(as_itk(array), str(tmp_path / "a.nrrd"), compressed)
    read, matrix = finish(read_nrrd(tmp_path / "a.nrrd"))
    assert read.dtype == array.dtype and read.flags.owndata and read.flags.c_contiguous
    np.testing.assert_array_equal(read, array)
    np.testing.assert_allclose(matrix, MATRIX, atol=1e-12)


def test_reads_a_field_and_its_own_files(tmp_path: Path) -> None:
    array = values("float32", (4, 5, 6, 3))
    sitk.WriteImage(as_itk(array), str(tmp_path / "a.nrrd"))
    finish(write_array(array, tmp_path / "b.nrrd", MATRIX))
    for name in ("a.nrrd", "b.nrrd"):
        read, matrix = finish(read_nrrd(tmp_path / name))
        np.testing.assert_array_equal(read, array)
        np.testing.assert_allclose(matrix, MATRIX, atol=1e-12)


def test_reads_the_other_byte_order(tmp_path: Path) -> None:
    array = values("int16")
    finish(write_array(array, tmp_path / "a.nrrd", MATRIX))
    raw = (tmp_path / "a.nrrd").read_bytes()
    head, body = raw.split(b"\n\n", 1)
    swapped = np.frombuffer(body, "<i2").byteswap().tobytes()
    (tmp_path / "b.nrrd").write_bytes(head.replace(b"endian: little", b"endian: big") + b"\n\n" + swapped)
    np.testing.assert_array_equal(finish(read_nrrd(tmp_path / "b.nrrd"))[0], array)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(as_itk(values("int16", (30, 30, 30))), str(path), compressed)
    whole = path.read_bytes()
    head = whole.index(b"\n\n")
    for damaged in (
        whole[:-200],
        whole[: head + 40],
        whole[: head - 10],
        b"",
        b"P5 1 1 255\n\n0",
        whole.replace(b"type: short", b"type: block"),
        whole.replace(b"encoding: ", b"encoding: x"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged|cannot be read") as caught:
            finish(read_nrrd(path))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        finish(read_nrrd(tmp_path / "missing.nrrd"))


def test_a_file_system_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"failed|cannot be written"):
        finish(write_array(values("int16"), tmp_path / "none" / "a.nrrd", MATRIX))
    if Path("/dev/full").exists():
        (tmp_path / "full.nrrd").symlink_to("/dev/full")
        with pytest.raises(OutputError, match="disk is full"):
            finish(write_array(values("float32", (40, 40, 40)), tmp_path / "full.nrrd", MATRIX))


def test_a_file_that_lacks_voxels_is_noticed(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="not written in full"),
        NrrdFile(tmp_path / "a.nrrd", (3, 3, 3), "int16", MATRIX) as file,
    ):
        file.append(np.zeros(26, np.int16))


@pytest.mark.parametrize("amount", [1, 6, 7, 29, 30, 64, 1000])
def test_blocks_cover_a_volume_once_and_in_order(amount: int) -> None:
    x, y, z = size = (6, 5, 7)
    seen = np.zeros((z, y), int)
    last = -1
    pace = Pace(first=amount)
    for slices, rows in blocks(size, pace):
        seen[slices, rows] += 1
        first = slices.start * y + rows.start
        assert first == last + 1
        last = (slices.stop - 1) * y + rows.stop - 1
        count = x * (slices.stop - slices.start) * (rows.stop - rows.start)
        assert count <= max(amount, x)
    assert (seen == 1).all()


def test_pace_follows_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    from DeepRegistrationLib.mrml import slabs

    now = [0.0]
    monkeypatch.setattr(slabs.time, "perf_counter", lambda: now[0])
    pace = Pace(first=1000, most=50_000, seconds=0.03)

    def work(speed: float) -> None:
        amount = pace.amount
        with pace.step(amount):
            now[0] += amount / speed

    for _ in range(20):
        work(1e6)
    assert pace.amount == pytest.approx(30_000, rel=1e-6)  # 1e6 a second for 0.03 s
    work(1e5)
    assert pace.amount == pytest.approx(3000, rel=1e-6)
    work(1e9)
    assert pace.amount == 6000
