"""Bad input, through console and command line: one sentence that quotes what came, exit code 2, nothing left
behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import DeepRegistrationLib as dr
from DeepRegistrationLib import io
from DeepRegistrationLib.cli import main
from DeepRegistrationLib.core.errors import DeviceMemoryError, InputError, OutputError
from methods.tiny import blob

SIZE = (20, 24, 16)


class Case:
    """A folder in which files are made bad; `changes` are the arguments of the registration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, values, name="bad.nrrd", **geometry):
        image = sitk.GetImageFromArray(values, isVector=False)
        for key, value in geometry.items():
            getattr(image, f"Set{key}")(value)
        sitk.WriteImage(image, str(self.folder / name))
        return str(self.folder / name)

    def text(self, name, content):
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def points(self, count, name):
        return self.text(name, "".join(f"{k} {k} {k}\n" for k in range(count)))


def ball():
    return blob((10.0, 20.0, 12.0)).data[0].numpy()


def with_voxel(value):
    values = ball()
    values[3, 4, 5] = value
    return values


def mha(direction):
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = False\nBinaryDataByteOrderMSB = False\nCompressedData "
        "= False\n"
        f"TransformMatrix = {direction}\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 4 4 4\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n" + " ".join(str(k) for k in range(64)) + "\n"
    )


def nrrd_without_values(size):
    return (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\nencoding: "
        "raw\n"
        "space origin: (0,0,0)\n\n"
    )


FAR = {"Origin": (900.0, 0.0, 0.0)}
MASK = np.ones((4, 4, 4), np.uint8)

#: what is wrong -> (arguments that make it so, words of the sentence)
CASES = {
    "missing file": (lambda c: {"fixed": str(c.folder / "no.nii.gz")}, ["no.nii.gz", "does not exist"]),
    "folder for a file": (lambda c: {"fixed": str(c.folder)}, ["folder"]),
    "no image at all": (lambda c: {"moving": c.text("notes.nrrd", "shopping list")}, ["notes.nrrd"]),
    "empty file": (lambda c: {"moving": c.text("none.nii.gz", "")}, ["none.nii.gz"]),
    "empty volume": (lambda c: {"moving": c.text("zero.nrrd", nrrd_without_values("4 0 4"))}, ["zero.nrrd"]),
    "one slice": (lambda c: {"fixed": c.image(ball()[:1])}, ["fixed image", "single slice", "20 x 24 x 1"]),
    "NaN": (lambda c: {"fixed": c.image(with_voxel(np.nan))}, ["fixed image", "1 of 7680", "NaN"]),
    "infinite": (
        lambda c: {"moving": c.image(with_voxel(np.inf))},
        ["moving image", "1 of 7680", "infinite"],
    ),
    "constant": (lambda c: {"moving": c.image(np.full(SIZE, 3.0))}, ["constant", "every voxel is 3"]),
    "no overlap": (
        lambda c: {"moving": c.image(ball(), **FAR)},
        ["do not overlap", "(900, 0, 0)", "centres"],
    ),
    "mask elsewhere": (lambda c: {"fixed_mask": c.image(MASK, **FAR)}, ["fixed mask does not touch"]),
    "empty mask": (lambda c: {"moving_mask": c.image(0 * MASK)}, ["moving mask is empty"]),
    "labels elsewhere": (
        lambda c: {"moving_segmentation": c.image(MASK, **FAR)},
        ["moving segmentation does not touch"],
    ),
    "labels that are no labels": (
        lambda c: {"moving_segmentation": c.image(MASK * 0.5)},
        ["0.5", "whole numbers"],
    ),
    "numbers of landmarks": (
        lambda c: {"fixed_landmarks": c.points(3, "f.txt"), "moving_landmarks": c.points(2, "m.txt")},
        ["3 fixed landmarks", "2 moving landmarks"],
    ),
    "landmarks of one side": (lambda c: {"fixed_landmarks": c.points(3, "f.txt")}, ["no moving landmarks"]),
    "landmarks that are no numbers": (
        lambda c: {"fixed_landmarks": c.text("f.txt", "a b c\n"), "moving_landmarks": c.points(1, "m.txt")},
        ["f.txt"],
    ),
    "series of volumes": (
        lambda c: {"fixed": c.image(np.stack([ball()] * 3), "4d.nii.gz")},
        ["4d.nii.gz", "3 volumes"],
    ),
    "direction": (lambda c: {"moving": c.text("bad.mha", mha("1 0 0 1 0 0 0 0 1"))}, ["bad.mha"]),
    "2-D with 3-D": (lambda c: {"moving": c.image(ball()[5])}, ["fixed image is 3-D", "moving image is 2-D"]),
    "2-D with a method for 3-D": (
        lambda c: {"fixed": c.image(ball()[5]), "moving": c.image(ball()[6]), "method": "only3d"},
        ["only3d", "3-D", "these are 2-D"],
    ),
    "transform that is none": (
        lambda c: {"initial_transform": c.text("t.tfm", "nonsense")},
        ["t.tfm"],
    ),
    "given without a transform": (lambda c: {"initialisation": "given"}, ["'given'", "none came"]),
    "file larger than memory": (
        lambda c: {"fixed": c.text("vast.nrrd", nrrd_without_values("200000 200000 20000"))},
        ["vast.nrrd", "memory", "crop"],
    ),
    "memory": (lambda c: {"method": "huge"}, ["20 x 24 x 16", "GB", "crop"]),
    "unknown method": (lambda c: {"method": "tinny"}, ["'tinny'", "did you mean 'tiny'"]),
    "unknown preset": (lambda c: {"preset": "knee"}, ["'knee'", "fast"]),
    "unknown parameter": (lambda c: {"shfit": "1"}, ["'shfit'", "did you mean 'shift'"]),
    "value out of range": (lambda c: {"shift": "70"}, ["'70'", "between -50 and 50 mm"]),
    "value of another kind": (lambda c: {"shift": "far"}, ["'far'", "a number"]),
    "value that is no choice": (lambda c: {"fail": "perhaps"}, ["'perhaps'", "no, memory, bug"]),
    "unknown device": (lambda c: {"device": "abacus"}, ["'abacus'"]),
    "device that is not there": (lambda c: {"device": "cuda:7"}, ["'cuda:7'", "cpu"]),
}
_OPTIONS = ("method", "preset", "device")


@pytest.fixture(autouse=True)
def methods(tiny_method, monkeypatch):
    from DeepRegistrationLib.core.spec import Capability

    # two runs then say the same number
    monkeypatch.setattr("DeepRegistrationLib.core.device.available_memory", lambda device: 8 * 1024**3)

    tiny_method("only3d", capabilities=frozenset({Capability.THREE_D}))
    tiny_method("huge", memory=lambda grid, parameters: 10**18)


def arguments(inputs, out):
    """The command line of a registration."""
    words = ["register", "--out", str(out)]
    for name, value in inputs.items():
        if name in _OPTIONS or name.startswith(("fixed", "moving")) or name == "initial_transform":
            words += ["--" + name.replace("_", "-"), value]
        else:
            words += ["--set", f"{name}={value}"]
    return words


def is_one_sentence(text):
    return "\n" not in text.strip() and text.strip().endswith((".", "?"))


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, tmp_path, image_files, capfd):
    make, words = CASES[name]
    inputs = {**image_files, "method": "tiny", **make(Case(tmp_path))}
    with pytest.raises((InputError, DeviceMemoryError)) as caught:
        dr.register(**inputs)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert is_one_sentence(said), said

    capfd.readouterr()
    before = sorted(tmp_path.iterdir())
    assert main(arguments(inputs, tmp_path / "new" / "out")) == 2
    printed = capfd.readouterr()
    assert said in printed.err and "Traceback" not in printed.err and printed.out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_fields_apart_are_aligned_by_their_centres_and_the_user_is_told(tmp_path, image_files, capsys):
    inputs = {**image_files, "moving": Case(tmp_path).image(ball(), **FAR), "method": "tiny"}
    assert main(arguments({**inputs, "initialisation": "centres"}, tmp_path / "out")) == 0
    assert "Note: The fields of view do not overlap" in capsys.readouterr().out


def test_a_mask_on_another_grid_is_fine(tmp_path, image_files):
    mask = Case(tmp_path).image(np.ones((3, 5, 7), np.uint8), Origin=(2.2, 3.3, 4.4), Spacing=(2.0, 3.0, 0.7))
    dr.register(**image_files, method="tiny", fixed_mask=mask)


def test_the_error_as_json(tmp_path, image_files, capsys):
    inputs = {**image_files, "method": "tiny", "fixed": str(tmp_path / "no.nrrd")}
    assert main([*arguments(inputs, tmp_path / "out"), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False and told["category"] == "input" and "no.nrrd" in told["error"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["register"], "--fixed"),
        (["register", "--fixed", "a", "--moving", "b", "--out", "c", "--seed", "x"], "'x'"),
        (["register", "--fixed", "a", "--moving", "b", "--out", "c", "--colour", "red"], "--colour red"),
        (["regster"], "'regster'"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and expected in said and len(said.splitlines()) == 1


def test_a_setting_without_a_value(tmp_path, image_files, capsys):
    words = [*arguments({**image_files, "method": "tiny"}, tmp_path / "out"), "--set", "shift"]
    assert main(words) == 2
    assert "--set 'shift'" in capsys.readouterr().err


# ---------------------------------------------------------------------- places that cannot be written


def refused_output(inputs, out, capfd, *words):
    assert main(arguments({**inputs, "method": "tiny"}, out)) == 2
    printed = capfd.readouterr()
    said = printed.err.splitlines()[-1]  # a C library may have complained before
    assert all(word in said for word in words), said
    assert is_one_sentence(said) and "Traceback" not in printed.err and printed.out == ""


def test_the_output_folder_is_a_file(tmp_path, image_files, capfd):
    place = tmp_path / "out"
    place.write_text("here first")
    refused_output(image_files, place, capfd, str(place), "is a file")
    assert place.read_text(encoding="utf-8") == "here first"
    refused_output(image_files, place / "below", capfd, str(place / "below"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the super-user may write everywhere")
def test_the_output_folder_is_not_writable(tmp_path, image_files, capfd):
    place = tmp_path / "locked"
    place.mkdir(mode=0o500)
    refused_output(image_files, place, capfd, str(place), "cannot be written")
    refused_output(image_files, place / "below", capfd, str(place / "below"), "cannot be written")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_system_that_allows_no_files(tmp_path, image_files, capfd, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    refused_output(image_files, tmp_path / "out", capfd, str(tmp_path / "out"), "cannot be written")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses")
def test_a_file_system_that_refuses(image_files, capfd):
    refused_output(image_files, "/proc/out", capfd, "/proc/out")


def test_the_folder_is_tried_before_the_work_begins(tmp_path, image_files, capfd, monkeypatch):
    place = tmp_path / "out"
    place.write_text("")
    monkeypatch.setattr(
        "DeepRegistrationLib.jobs.perform._register", lambda *_, **__: pytest.fail("worked in vain")
    )
    refused_output(image_files, place, capfd, "is a file")


def fail_after(calls, error):
    """Stands in for os.replace or a writer; `calls` of them work."""
    left = [calls]

    def wrap(real):
        def writer(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise error
            return real(*args, **kwargs)

        return writer

    return wrap


@pytest.mark.parametrize("written", [0, 1, 2])
def test_the_disk_is_full_while_writing(tmp_path, image_files, capfd, monkeypatch, written):
    full = OSError(errno.ENOSPC, "No space left on device")
    failing = fail_after(written, full)
    for name in ("write_image", "write_transform"):
        monkeypatch.setattr(io, name, failing(getattr(io, name)))
    out = tmp_path / "new" / "out"
    refused_output(image_files, out, capfd, "disk is full", str(out))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_survives_a_full_disk(tmp_path, image_files, capfd, monkeypatch):
    out = tmp_path / "out"
    assert main(arguments({**image_files, "method": "tiny"}, out)) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(io, "write_image", fail_after(0, OSError(errno.ENOSPC, "full"))(io.write_image))
    capfd.readouterr()
    refused_output({**image_files, "shift": "5"}, out, capfd, "disk is full")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    import subprocess

    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("a small file system can only be mounted by the super-user of Linux")
    yield place
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_disk_that_really_is_full(small_disk, tmp_path, capfd):
    noise = np.random.default_rng(0).random((24, 40, 40), dtype=np.float32)
    inputs = {name: Case(tmp_path).image(noise, f"{name}.nrrd") for name in ("fixed", "moving")}
    refused_output(inputs, small_disk / "out", capfd, "disk is full", "free some space")
    assert list(small_disk.iterdir()) == []


def test_the_console_says_the_same_of_a_full_disk(tmp_path, image_files, monkeypatch):
    from DeepRegistrationLib.jobs.outputs import write_outputs

    result = dr.register(**image_files, method="tiny")
    monkeypatch.setattr(io, "write_image", fail_after(0, OSError(errno.ENOSPC, "full"))(io.write_image))
    with pytest.raises(OutputError, match="disk is full"):
        write_outputs(result, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
