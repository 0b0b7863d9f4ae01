"""Pictures of a result from its files: what is drawn, and what is said where nothing can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.reports import drawing, slices
from DeepRegistrationLib.reports.palette import FOLDED
from DeepRegistrationLib.reports.pictures import likeness, result_pictures
from reports.made import beside, volume, world, write_result, write_scans
from reports.reading import pixels

CHECKOUT = Path(__file__).resolve().parents[2]


def inside(png, folder):
    """The pixels within the frame of letters."""
    found = pixels(png, folder)
    return found[drawing.FRAME : -drawing.FRAME, drawing.FRAME : -drawing.FRAME]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folder, pictures by group, and what could not be drawn."""
    folder = write_scans(tmp_path_factory.mktemp("result"))
    pictures, notes = result_pictures(ResultFolder(folder))
    groups: dict[str, list] = {}
    for picture in pictures:
        groups.setdefault(picture.group, []).append(picture)
    return folder, groups, notes


def planes(folder):
    image = slices.read_volume(folder / "fixed.nrrd")
    return slices.planes_through(image, slices.centre_of_labels(slices.read_volume(folder / "labels.nrrd")))


def test_every_thing_is_drawn_in_three_planes(drawn):
    _, groups, notes = drawn
    assert notes == []
    assert [len(pictures) for pictures in groups.values()] == [3] * len(groups)
    assert list(groups) == [
        "Before the alignment: fixed and moving by turns",
        "After the alignment: fixed and moved by turns",
        "Before the alignment: moving minus fixed",
        "After the alignment: moved minus fixed",
        "Jacobian determinant",
        "Jacobian determinant where it folds most",
        "Displacement",
    ]
    assert len({p.title for pictures in groups.values() for p in pictures}) == 3 * len(groups)


@pytest.mark.parametrize(("group", "partner"), [(0, "moving.nrrd"), (1, "moved.nii.gz")])
def test_the_checkerboard_alternates_between_the_grey_values_of_both(drawn, tmp_path, group, partner):
    folder, groups, _ = drawn
    scans = [slices.read_volume(folder / name) for name in ("fixed.nrrd", partner)]
    for plane, picture in zip(planes(folder), list(groups.values())[group], strict=True):
        board = inside(picture.png, tmp_path)
        greys = [
            drawing.grey(slices.sample(scan, plane), drawing.window_of(sitk.GetArrayFromImage(scan))) for scan in scans
        ]
        row, column = np.indices(greys[0].shape)
        side = round(max(greys[0].shape) / 7)
        first = (row // side + column // side) % 2 == 0
        fixed, other = greys
        assert np.array_equal(board[first], fixed[first])
        assert np.array_equal(board[~first], other[~first])
        assert (fixed != other).mean() > 0.05  # else the board could be of one scan alone


def test_folded_voxels_are_drawn_in_the_colour_of_folding_and_no_others(drawn, tmp_path):
    folder, groups, _ = drawn
    jacobian = slices.read_volume(folder / "jacobian.nii.gz")
    any_folded = False
    for plane, picture in zip(planes(folder), groups["Jacobian determinant"], strict=True):
        found = inside(picture.png, tmp_path)
        magenta = (found == np.round(255 * np.array(FOLDED))).all(axis=-1)
        values = slices.sample(jacobian, plane, linear=False)
        assert np.array_equal(magenta, np.isfinite(values) & (values <= 0))
        any_folded |= bool(magenta.any())
    assert any_folded


def test_the_jacobian_is_blue_where_it_shrinks_and_orange_where_it_grows(drawn, tmp_path):
    _, groups, _ = drawn
    axial = inside(groups["Jacobian determinant"][0].png, tmp_path).astype(int)
    height, width = axial.shape[:2]
    red_minus_blue = axial[..., 0] - axial[..., 2]
    right_of_patient, left_of_patient = (
        red_minus_blue[height // 3 : 2 * height // 3, part] for part in (slice(0, width // 3), slice(-width // 3, None))
    )
    # the ramp of made.py rises towards the patient's left, which is on the right of the picture
    assert np.median(right_of_patient) < -10 and np.median(left_of_patient) > 10
    legend = groups["Jacobian determinant"][0].legend
    assert (legend.low, legend.high, legend.folded) == (0.0, 2.0, True)


def test_the_worst_place_is_shown_where_it_folds_most(drawn):
    _, groups, _ = drawn
    worst = groups["Jacobian determinant where it folds most"]
    assert "-0.75" in worst[0].caption
    # the deepest fold of made.py lies 10 mm left of and 3 mm behind the middle
    x, y, z = beside(10.0, 3.0, 0.0)
    found = {p.title.split(", ")[2]: float(p.title.split(", ")[3].split()[1]) for p in worst}
    assert found == pytest.approx({"axial": abs(z), "coronal": abs(y), "sagittal": abs(x)}, abs=2.6)


def test_millimetres_run_up_to_the_99th_percentile(drawn):
    folder, groups, _ = drawn
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "displacement.nii.gz")))
    legend = groups["Displacement"][0].legend
    assert (legend.low, legend.unit, legend.folded) == (0.0, "mm", False)
    assert legend.high == pytest.approx(np.percentile(values, 99))


def test_the_difference_is_flat_after_and_not_before(drawn, tmp_path):
    _, groups, _ = drawn
    inner = (slice(90, -90), slice(90, -90))
    before, after = (
        inside(groups[f"{title} the alignment: {name} minus fixed"][0].png, tmp_path)[inner].astype(int)
        for title, name in (("Before", "moving"), ("After", "moved"))
    )
    assert np.abs(after - 128).mean() < 5 < 10 < np.abs(before - 128).mean()


def test_scans_of_different_kinds_have_no_difference_and_it_is_said(tmp_path):
    pictures, notes = result_pictures(ResultFolder(write_scans(tmp_path, different_kinds=True)))
    assert not [p for p in pictures if "difference" in p.title]
    assert any("different kinds" in note for note in notes)
    assert [p for p in pictures if "checkerboard" in p.title]


def test_likeness():
    rng = np.random.default_rng(0)
    scan = rng.normal(100, 10, world().shape[:3]).astype(np.float32)
    assert likeness(volume(scan), volume(2 * scan + 5)) > 0.99
    assert abs(likeness(volume(scan), volume(rng.permutation(scan.ravel()).reshape(scan.shape)))) < 0.5
    assert likeness(volume(scan), volume(-scan)) < -0.9
    assert likeness(volume(scan), volume(np.ones_like(scan))) == 0.0


def test_what_is_gone_is_said_and_the_rest_is_drawn(tmp_path):
    folder = write_scans(tmp_path)
    (folder / "fixed.nrrd").unlink()
    (folder / "displacement.nii.gz").write_bytes(b"damaged")
    pictures, notes = result_pictures(ResultFolder(folder))
    assert {p.group for p in pictures} == {"Jacobian determinant", "Jacobian determinant where it folds most"}
    assert len(notes) == 2
    assert "fixed scan" in notes[0] and "no longer there" in notes[0]
    assert "'displacement'" in notes[1] and "could not be read" in notes[1]


def test_numbers_without_files_have_no_pictures(tmp_path):
    pictures, notes = result_pictures(ResultFolder(write_result(tmp_path)))
    assert pictures == [] and len(notes) == 2


def test_a_plain_slice_in_two_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("fixed.nrrd", "moving.nrrd", "moved.nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(rng.uniform(0, 9, (30, 40)).astype(np.float32)), str(tmp_path / name))
    inputs = {side: str(tmp_path / f"{side}.nrrd") for side in ("fixed", "moving")}
    write_result(tmp_path, provenance={"inputs": inputs, "files": {"moved": "moved.nrrd"}})
    pictures, _ = result_pictures(ResultFolder(tmp_path))
    assert [p.title for p in pictures] == ["Before, checkerboard, slice", "After, checkerboard, slice"]


def test_drawing_loads_no_torch(drawn):
    folder, _, _ = drawn
    code = (
        "import sys\nfrom DeepRegistrationLib.jobs import ResultFolder\n"
        f"from DeepRegistrationLib.reports import write_report\nwrite_report(ResultFolder({str(folder)!r}))\n"
        "print([m for m in ('torch', 'slicer', 'qt', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
