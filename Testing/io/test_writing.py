"""Writing is all or nothing, and says why it was nothing."""

from __future__ import annotations

import errno
import os

import pytest
import SimpleITK as sitk
import torch

from core.grids import GRIDS, linear_map, noise, some_points, wavy
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import OutputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.io import paths
from DeepRegistrationLib.io.paths import replacing

GRID = GRIDS["oblique"]
WRITERS = {
    "a.nii.gz": lambda path: io.write_image(noise(GRID), path),
    "a.nrrd": lambda path: io.write_image(noise(GRID), path),
    "a.seg.nrrd": lambda path: io.write_segmentation(noise(GRID, kind=ImageKind.LABELS), path),
    "field.nrrd": lambda path: io.write_transform(wavy(GRID, 1.0), path),
    "affine.tfm": lambda path: io.write_transform(linear_map(GRID), path),
    "points.mrk.json": lambda path: io.write_points(PointSet(some_points(GRID, 3)), path),
}
every_writer = pytest.mark.parametrize("name, write", WRITERS.items(), ids=WRITERS.keys())


def refused(write, path, *words):
    with pytest.raises(OutputError) as caught:
        write(path)
    text = str(caught.value)
    assert str(path) in text or str(path.parent) in text
    assert all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")


@every_writer
def test_places_that_cannot_be_written(name, write, tmp_path, monkeypatch):
    refused(write, tmp_path / "none" / name, "does not exist", "create it")
    (tmp_path / name).mkdir()
    refused(write, tmp_path / name, "is a folder")
    (tmp_path / name).rmdir()
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)  # a superuser may write anywhere
    refused(write, tmp_path / name, "not writable")
    assert os.listdir(tmp_path) == []


@every_writer
def test_a_failure_leaves_the_old_file_and_nothing_else(name, write, tmp_path, monkeypatch):
    (tmp_path / name).write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(paths.os, "fsync", fail)
    refused(write, tmp_path / name, "disk is full")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "compressed.nrrd"])
def test_a_write_that_itk_cut_short_silently_is_noticed(name, tmp_path, monkeypatch):
    whole = sitk.WriteImage

    def short(image, path, compress):
        whole(image, path, compress)
        os.truncate(path, os.path.getsize(path) // 2)

    monkeypatch.setattr(sitk, "WriteImage", short)
    if name == "compressed.nrrd":
        labels = noise(GRID, kind=ImageKind.LABELS)
        refused(lambda p: io.write_segmentation(labels, p), tmp_path / name, "could not be written")
    else:
        refused(lambda p: io.write_image(noise(GRID), p), tmp_path / name, "could not be written")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.tfm", "a.txt", "a.mat", "a.h5"])
def test_a_transform_that_itk_cut_short_silently_is_noticed(name, tmp_path, monkeypatch):
    whole = sitk.WriteTransform

    def short(transform, path):
        whole(transform, path)
        os.truncate(path, os.path.getsize(path) // 2)

    monkeypatch.setattr(sitk, "WriteTransform", short)
    refused(lambda p: io.write_transform(linear_map(GRID), p), tmp_path / name, "could not be written")
    assert os.listdir(tmp_path) == []


def test_an_empty_picture_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sitk, "WriteImage", lambda image, path, compress: open(path, "w").close())
    flat = Image(torch.zeros((1, 3, 4), dtype=torch.uint8), Grid((4, 3)))
    refused(lambda p: io.write_image(flat, p), tmp_path / "a.png", "could not be written")
    assert os.listdir(tmp_path) == []


def test_an_error_of_itk_becomes_a_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("Exception thrown in SimpleITK\nitk::ERROR: something is odd.")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    refused(lambda p: io.write_image(noise(GRID), p), tmp_path / "a.nrrd", "(something is odd)")


@pytest.mark.parametrize(
    "write, name, words",
    [
        (lambda p: io.write_image(noise(GRID), p), "a.xyz", [".nii.gz"]),
        (lambda p: io.write_image(noise(GRID), p), "a", [".nrrd"]),
        (lambda p: io.write_image(noise(GRID), p), "a.png", ["pictures"]),
        (lambda p: io.write_image(noise(GRIDS["flat plain"]), p), "a.png", ["could not be written"]),
        (lambda p: io.write_segmentation(noise(GRID, kind=ImageKind.LABELS), p), "a.png", [".nrrd"]),
        (lambda p: io.write_transform(linear_map(GRID), p), "a.xfm", [".tfm"]),
        (lambda p: io.write_transform(linear_map(GRID), p), "a.nrrd", ["grid is needed"]),
        (lambda p: io.write_transform(wavy(GRID, 1.0), p), "a.tfm", ["linear transforms only"]),
        (lambda p: io.write_points(PointSet(some_points(GRID)), p), "a.vtk", [".mrk.json"]),
    ],
)
def test_forms_that_cannot_hold_it(write, name, words, tmp_path):
    with pytest.raises(OutputError) as caught:
        write(tmp_path / name)
    assert all(word in str(caught.value) for word in words), caught.value
    assert os.listdir(tmp_path) == []


def test_an_interruption_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.nrrd", ".nrrd") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_written_file_replaces_the_old_one(tmp_path):
    for seed in (1, 2):
        io.write_image(noise(GRID, seed=seed), tmp_path / "a.nrrd")
    assert torch.equal(io.read_image(tmp_path / "a.nrrd").data, noise(GRID, seed=2).data)
