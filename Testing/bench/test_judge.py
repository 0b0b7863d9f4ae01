"""The judge against closed forms, and against another implementation where one is at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from bench import judge

SIZE, SPACING, ORIGIN = (34, 28, 22), (1.0, 1.5, 2.0), (-31.0, 12.0, 7.0)
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "bench" / "metrics.py"


def oblique_direction() -> np.ndarray:
    """A rotation about z followed by a mirror of two axes: left-handed and off every axis."""
    c, s = np.cos(0.4), np.sin(0.4)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return turn @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])


def grid(oblique: bool = False, size: tuple[int, int, int] = SIZE) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    if oblique:
        image.SetDirection(oblique_direction().ravel())
    return image


def field_of(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float64), isVector=True)
    image.CopyInformation(like)
    return image


def constant_field(vector: tuple[float, float, float], like: sitk.Image) -> sitk.Image:
    return field_of(np.broadcast_to(np.asarray(vector), (*like.GetSize()[::-1], 3)), like)


def world(image: sitk.Image) -> np.ndarray:
    return judge.Lattice.of(image).world(0, image.GetSize()[2])


def block(x_start: int, like: sitk.Image, label: int = 3) -> sitk.Image:
    array = np.zeros(like.GetSize()[::-1], np.uint8)
    array[6:14, 8:20, x_start : x_start + 10] = label
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    return image


Affine = tuple[sitk.Image, sitk.AffineTransform, np.ndarray]


@pytest.fixture
def affine() -> Affine:
    reference = grid(oblique=True)
    matrix = np.array([[1.08, 0.05, -0.02], [0.01, 0.93, 0.04], [-0.03, 0.02, 1.02]])
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix.ravel())
    transform.SetCenter(reference.TransformContinuousIndexToPhysicalPoint([n / 2 for n in SIZE]))
    transform.SetTranslation((3.0, -4.0, 2.0))
    return reference, transform, matrix


def test_world_and_index_agree_with_itk_on_an_oblique_left_handed_grid() -> None:
    image = grid(oblique=True)
    positions = world(image)
    assert np.allclose(positions[5, 7, 11], image.TransformIndexToPhysicalPoint((11, 7, 5)))
    assert np.allclose(judge.Lattice.of(image).index(positions[5, 7, 11]), (11, 7, 5))


def test_affine_has_the_closed_form_jacobian_and_no_landmark_error(affine: Affine, tmp_path: Path) -> None:
    reference, transform, matrix = affine
    sitk.WriteTransform(transform, str(tmp_path / "t.tfm"))
    field = judge.read_transform(tmp_path / "t.tfm", reference)
    assert np.allclose(judge.jacobian(field), np.linalg.det(matrix), atol=1e-9)
    regular = judge.regularity_scores(field)
    assert regular["folding_percent"] == 0 and regular["sdlogj"] < 1e-9
    index = np.random.default_rng(0).uniform(1, np.asarray(SIZE) - 2, (100, 3))
    fixed = np.array([reference.TransformContinuousIndexToPhysicalPoint(p.tolist()) for p in index])
    moving = np.array([transform.TransformPoint(p.tolist()) for p in fixed])
    scores = judge.landmark_scores(field, fixed, moving)
    assert scores["tre_max"] < 1e-8 < 3 < scores["tre_before"]
    assert judge.landmark_scores(field, moving, fixed)["tre"] > 5, "a transform taken backwards must show"


def test_a_sine_along_one_axis_has_the_closed_form_determinant() -> None:
    reference = grid()
    x = world(reference)[..., 0]
    k, h, amplitude = 0.5, SPACING[0], 3.0
    u = np.zeros((*x.shape, 3))
    u[..., 0] = amplitude * np.sin(k * x)
    expected = (1 + amplitude * np.cos(k * x) * np.sin(k * h) / h)[1:-1, 1:-1, 1:-1]
    assert np.allclose(judge.jacobian(field_of(u, reference)), expected, atol=1e-12)
    scores = judge.regularity_scores(field_of(u, reference))
    assert scores["folding_percent"] == pytest.approx(100 * np.mean(expected <= 0)) and (expected <= 0).any()
    assert scores["sdlogj"] == pytest.approx(np.std(np.log(expected[expected > 0])))
    mask = sitk.GetImageFromArray((x > x.mean()).astype(np.uint8))
    mask.CopyInformation(reference)
    inside = expected[(x > x.mean())[1:-1, 1:-1, 1:-1]]
    masked = judge.regularity_scores(field_of(u, reference), mask)
    assert masked["folding_percent"] == pytest.approx(100 * np.mean(inside <= 0))


def test_a_mirror_folds_everywhere() -> None:
    reference = grid()
    u = np.zeros((*SIZE[::-1], 3))
    u[..., 0] = -2 * world(reference)[..., 0]
    assert judge.regularity_scores(field_of(u, reference))["folding_percent"] == 100.0


def test_a_shifted_block_has_the_closed_form_overlap_and_distance() -> None:
    reference = grid()
    fixed, moving = block(8, reference), block(12, reference)
    still = judge.label_scores(constant_field((0, 0, 0), reference), fixed, moving)
    assert still["dice"] == pytest.approx(0.6) and still["dice_before"] == pytest.approx(0.6)
    assert still["hd95"] == pytest.approx(4.0)
    right = judge.label_scores(constant_field((4, 0, 0), reference), fixed, moving)
    assert right["dice"] == 1.0 and right["hd95"] == 0.0
    wrong = judge.label_scores(constant_field((-4, 0, 0), reference), fixed, moving)
    assert wrong["dice"] == pytest.approx(0.2)


def test_labels_are_pulled_back_as_itk_does(affine: Affine) -> None:
    reference, transform, _ = affine
    moving = block(9, grid(oblique=True, size=(30, 30, 30)), label=5)
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, SIZE, ORIGIN, SPACING, reference.GetDirection()
    )
    itk = sitk.GetArrayFromImage(sitk.Resample(moving, reference, transform, sitk.sitkNearestNeighbor, 0))
    ours = judge.pull_back(moving, field, reference)
    assert (itk > 0).sum() > 300
    assert (itk != ours).mean() < 1e-3  # only voxel centres on a tie may differ


def test_concentric_balls_are_their_radii_apart() -> None:
    reference = grid(size=(40, 30, 24))
    centre = np.asarray(reference.TransformContinuousIndexToPhysicalPoint((19.5, 14.5, 11.5)))
    radius = np.linalg.norm(world(reference) - centre, axis=-1)
    assert judge.hd95(radius < 10, radius < 14, judge.Lattice.of(reference)) == pytest.approx(4.0, abs=1.5)


def test_a_label_lost_on_the_way_scores_zero() -> None:
    reference = grid()
    away = judge.label_scores(
        constant_field((500, 0, 0), reference), block(8, reference), block(8, reference)
    )
    assert away["dice"] == 0.0 and np.isnan(away["hd95"])


def test_a_coarser_field_is_brought_to_the_fixed_grid(tmp_path: Path) -> None:
    coarse = sitk.Image((12, 12, 12), sitk.sitkUInt8)
    coarse.SetSpacing((5.0, 5.0, 5.0))
    coarse.SetOrigin((-35.0, 8.0, 3.0))
    sitk.WriteImage(field_of(world(coarse) * 0.1, coarse), str(tmp_path / "u.nrrd"))
    reference = grid()
    field = judge.read_transform(tmp_path / "u.nrrd", reference)
    assert np.allclose(sitk.GetArrayFromImage(field), world(reference) * 0.1, atol=1e-6)


def test_bad_input_is_refused_in_words(tmp_path: Path) -> None:
    reference = grid()
    sitk.WriteImage(constant_field((np.nan, 0, 0), reference), str(tmp_path / "nan.nrrd"))
    with pytest.raises(ValueError, match="not finite"):
        judge.read_transform(tmp_path / "nan.nrrd", reference)
    sitk.WriteImage(reference, str(tmp_path / "scalar.nrrd"))
    with pytest.raises(ValueError, match="no displacement field"):
        judge.read_transform(tmp_path / "scalar.nrrd", reference)
    with pytest.raises(ValueError, match="pair up"):
        judge.landmark_scores(constant_field((0, 0, 0), reference), np.zeros((3, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="share no label"):
        judge.label_scores(
            constant_field((0, 0, 0), reference), block(8, reference, 1), block(8, reference, 2)
        )


def _reference_metrics() -> ModuleType:
    if not REFERENCE.is_file():
        pytest.skip(
            f"no second implementation to compare with: {REFERENCE.name} of the sibling folder is absent"
        )
    spec = importlib.util.spec_from_file_location("reference_metrics", REFERENCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_judge_agrees_with_another_implementation(tmp_path: Path) -> None:
    other = _reference_metrics()
    rng = np.random.default_rng(3)
    reference = grid(oblique=True)
    smooth = np.stack([ndimage.gaussian_filter(rng.normal(size=SIZE[::-1]), 2) for _ in range(3)], axis=-1)
    fixed, moving = (sitk.GetArrayFromImage(block(s, reference)) for s in (9, 11))
    fixed[4:9, 4:7, 15:30] = moving[5:10, 4:8, 14:30] = 7
    points = world(reference)[4:18:5, 5:22:4, 6:26:5].reshape(-1, 3)
    arrays = {"fixed": fixed * 20, "fixed_labels": fixed, "moving_labels": moving, "mask": fixed > 0}
    files = {}
    for name, array in arrays.items():
        image = sitk.GetImageFromArray(array.astype(np.uint8))
        image.CopyInformation(reference)
        files[name] = tmp_path / f"{name}.nrrd"
        sitk.WriteImage(image, str(files[name]))
    for name, shift in (("fixed_points", 0.0), ("moving_points", rng.normal(size=points.shape))):
        files[name] = tmp_path / f"{name}.txt"
        np.savetxt(files[name], points + shift, header="x y z")
    sitk.WriteImage(field_of(smooth * 25, reference), str(tmp_path / "u.nrrd"))

    ours: dict[str, Any] = judge.score(tmp_path / "u.nrrd", files)
    names = ("fixed", "fixed", "fixed_labels", "moving_labels", "fixed_points", "moving_points")
    theirs = other.score(str(tmp_path / "u.nrrd"), *(str(files[n]) for n in names), mask=str(files["mask"]))
    assert ours["tre"] == pytest.approx(theirs["tre"]["mean"])
    assert ours["tre_p95"] == pytest.approx(theirs["tre"]["p95"])
    assert ours["dice"] == pytest.approx(theirs["labels"]["dice_mean"], abs=2e-3)
    assert ours["hd95"] == pytest.approx(theirs["labels"]["hd95_mean"], abs=0.05)
    assert ours["folding_percent"] == pytest.approx(theirs["jacobian"]["mask"]["fold_percent"])
    assert ours["sdlogj"] == pytest.approx(theirs["jacobian"]["mask"]["sd_log_j"])
    assert 0 < ours["folding_percent"] < 100 and ours["dice_before"] != ours["dice"]
