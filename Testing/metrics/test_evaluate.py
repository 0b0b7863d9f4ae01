"""`evaluate` as a whole: against the independent judge of the benchmark, and what it warns of."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import phantoms
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.metrics import evaluate
from DeepRegistrationLib.transforms import Affine, DisplacementField
from DeepRegistrationLib.transforms.compose import as_displacement_field

_SHARED = Path(__file__).parents[2].parent / "shared" / "bench" / "metrics.py"
_TILT = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])
FIXED = Grid((40, 44, 36), (4.6, 4.9, 5.0), (-110.0, 30.0, 90.0), _TILT)


@pytest.fixture(scope="module")
def case() -> phantoms.PhantomCase:
    # odd numbers, so that no voxel centre falls half way between two others
    moving = Grid((44, 46, 42), (4.313, 4.727, 4.419), np.add(FIXED.centre, (-94.07, -108.03, -92.11)))
    return phantoms.brain(FIXED, moving, seed=3, motion_mm=10)


@pytest.fixture(scope="module")
def result(case: phantoms.PhantomCase) -> RegistrationResult:
    inverse = case.true_transform.inverse().transform
    return RegistrationResult(case.problem, as_displacement_field(case.true_transform, FIXED), inverse)


def test_the_truth_scores_as_the_truth(result: RegistrationResult) -> None:
    numbers = evaluate(result).to_dict()
    assert numbers["landmarks"]["mean_after_mm"] < 0.1 < 1.5 < numbers["landmarks"]["mean_before_mm"]
    assert numbers["overlap"]["dice_mean_after"] > 0.85 > numbers["overlap"]["dice_mean_before"]
    assert numbers["overlap"]["hd95_mean_after_mm"] < numbers["overlap"]["hd95_mean_before_mm"]
    assert numbers["deformation"]["folding_percent"] == 0
    assert numbers["inverse_consistency"]["p95_mm"] < 0.2
    assert numbers["similarity"]["note"] == "not a measure of correctness"
    assert numbers["similarity"]["ncc_after"] > numbers["similarity"]["ncc_before"]
    assert numbers["warnings"] == []
    white = numbers["segments"]["White matter"]
    assert white["label"] == 2
    assert white["volume_moving"] == pytest.approx(white["volume_fixed"] * white["jacobian_mean"], rel=0.03)
    assert white["volume_change_percent"] == pytest.approx(100 * (white["jacobian_mean"] - 1))
    json.dumps(numbers, allow_nan=False)


def _sitk(array: np.ndarray, grid: Grid, vector: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=vector)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(np.asarray(grid.direction).ravel().tolist())
    return image


def _shared_judge() -> ModuleType:
    if not _SHARED.exists():
        pytest.skip(f"the shared judge {_SHARED.name} does not lie beside this checkout")
    found = importlib.util.spec_from_file_location("shared_judge", _SHARED)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_the_shared_judge(result: RegistrationResult, masked: bool) -> None:
    judge = _shared_judge()
    # halfway there, so that no number is trivial; a rough part makes some of it fold
    rough = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *FIXED.shape))).float() * 1.6
    u = 0.5 * result.transform.displacement(FIXED) + rough
    p = result.problem if masked else replace(result.problem, fixed_mask=None)
    tried = RegistrationResult(p, DisplacementField(u, FIXED))
    ours = evaluate(tried).to_dict()
    images = {n: _sitk(i.data[0].numpy(), i.grid) for n, i in p.images()}
    theirs = judge.score(
        sitk.Cast(_sitk(u.permute(1, 2, 3, 0).numpy(), FIXED, True), sitk.sitkVectorFloat64),
        images["fixed"], images["moving"], images["fixed_segmentation"], images["moving_segmentation"],
        p.fixed_landmarks.points.numpy(), p.moving_landmarks.points.numpy(),
        mask=images.get("fixed_mask"),
    )  # fmt: skip
    near = lambda value: pytest.approx(value, abs=1e-6, rel=1e-6)  # noqa: E731
    jacobian = theirs["jacobian"]["mask" if masked else "grid"]
    d = ours["deformation"]
    assert d["folding_percent"] == near(jacobian["fold_percent"]) and d["folding_percent"] > 0
    assert d["sd_log_jacobian"] == near(jacobian["sd_log_j"])
    assert d["jacobian_min"] == near(jacobian["min_j"]) and d["jacobian_max"] == near(jacobian["max_j"])
    overlap, labels = ours["overlap"], theirs["labels"]
    assert overlap["dice_mean_before"] == near(labels["dice_before"])
    assert overlap["dice_mean_after"] == near(labels["dice_mean"])
    assert overlap["hd95_mean_before_mm"] == near(labels["hd95_before"])
    assert overlap["hd95_mean_after_mm"] == near(labels["hd95_mean"])
    assert ours["landmarks"]["mean_after_mm"] == near(theirs["tre"]["mean"])
    assert ours["landmarks"]["p95_after_mm"] == near(theirs["tre"]["p95"])
    assert ours["similarity"]["ncc_after"] == pytest.approx(theirs["ncc"]["after"], abs=1e-4)


def test_folding_and_falling_numbers_are_told_in_words(result: RegistrationResult) -> None:
    wrong = RegistrationResult(result.problem, DisplacementField(-1.5 * result.transform.field, FIXED))  # type: ignore[attr-defined]
    rough = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *FIXED.shape))).float() * 6
    told = " ".join(evaluate(wrong).concerns)
    assert "landmarks are farther apart" in told and "White matter fell from" in told
    folded = RegistrationResult(result.problem, DisplacementField(rough, FIXED))
    assert "folds inside White matter" in " ".join(evaluate(folded).concerns)


def test_leaving_the_moving_image_and_a_bad_inverse_are_told(result: RegistrationResult) -> None:
    away = Affine.from_translation([120.0, 0.0, 0.0])
    told = " ".join(evaluate(RegistrationResult(result.problem, away, Affine.identity(3))).concerns)
    assert "outside the moving image" in told and "The inverse misses" in told


def test_only_what_was_given_is_measured() -> None:
    grid = Grid((12, 10), (1.0, 2.0))
    image = Image(torch.rand(1, 10, 12), grid)
    e = evaluate(RegistrationResult(RegistrationProblem(image, image), Affine.identity(2)))
    numbers = e.to_dict()
    assert numbers["landmarks"] is None and numbers["segments"] == {} and numbers["overlap"] is None
    assert numbers["inverse_consistency"] is None
    assert numbers["similarity"]["ncc_after"] == pytest.approx(1)
    assert numbers["deformation"]["displacement_max_mm"] == 0
    assert len(e.summary_lines()) == 2


def test_segments_of_one_side_only_are_named_and_equal_names_told_apart() -> None:
    grid = Grid((12, 10), (1.0, 2.0))
    image = Image(torch.rand(1, 10, 12), grid)
    a, b = torch.zeros(2, 1, 10, 12, dtype=torch.uint8)
    a[0, 2:5, 2:5], a[0, 6:8, 2:5] = 1, 2
    b[0, 2:5, 2:5], b[0, 6:8, 8:11] = 1, 5
    fixed = Image(a, grid, ImageKind.LABELS, {1: "Liver", 2: "Cyst"})
    moving = Image(b, grid, ImageKind.LABELS, {1: "liver", 5: "Cyst"})
    p = RegistrationProblem(image, image, fixed_segmentation=fixed, moving_segmentation=moving)
    e = evaluate(RegistrationResult(p, Affine.identity(2)))
    numbers = e.to_dict()
    assert list(numbers["segments"]) == ["Liver", "Cyst (2)", "Cyst (5)"]
    assert numbers["segments"]["Liver"]["dice_after"] == 1
    assert numbers["segments"]["Liver"]["volume_fixed"] == 9 * 2.0 and numbers["volume_unit"] == "mm^2"
    assert numbers["segments"]["Cyst (2)"]["dice_after"] is None
    assert numbers["overlap"]["count"] == 1
    told = " ".join(e.concerns)
    assert "Only the fixed segmentation holds Cyst (2)" in told and "Only the moving" in told


def test_segmentation_on_a_grid_of_its_own_is_measured_on_the_fixed_grid() -> None:
    grid = Grid((24, 24, 24))
    image = Image(torch.rand(1, 24, 24, 24), grid)
    fine = grid.with_size((48, 48, 48))
    block = torch.zeros(1, 48, 48, 48, dtype=torch.uint8)
    block[0, 10:30, 10:30, 10:30] = 4
    seg = Image(block, fine, ImageKind.LABELS)
    p = RegistrationProblem(image, image, fixed_segmentation=seg, moving_segmentation=seg)
    scores = evaluate(RegistrationResult(p, Affine.identity(3))).segments["label 4"]
    assert scores.dice_after == 1 and scores.volume_fixed == pytest.approx(1.0)  # ml


def test_landmark_errors_by_point() -> None:
    grid = Grid((10, 10))
    image = Image(torch.rand(1, 10, 10), grid)
    x = PointSet(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), names=("A", "B"))
    y = PointSet(torch.tensor([[1.0, 2.0], [6.0, 8.0]]))
    p = RegistrationProblem(image, image, fixed_landmarks=x, moving_landmarks=y)
    marks = evaluate(RegistrationResult(p, Affine.from_translation([3.0, 4.0]))).to_dict()["landmarks"]
    assert marks["names"] == ["A", "B"]
    assert marks["before_mm"] == pytest.approx([0, 5]) and marks["after_mm"] == pytest.approx([5, 0])
