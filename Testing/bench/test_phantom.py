"""The phantom's stated answer is its answer: the exact motion scores as a perfect registration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from bench import judge, phantom
from bench.cases import CASES, PHANTOM, ROLES


def test_the_exact_motion_scores_as_perfect(tmp_path: Path) -> None:
    phantom.write(tmp_path)
    files = PHANTOM.paths(tmp_path)
    assert not PHANTOM.missing(tmp_path)
    fixed, moving = (sitk.ReadImage(str(files[name]), sitk.sitkFloat32) for name in ("fixed", "moving"))
    truth = phantom.motion(judge.Lattice.of(fixed).world(0, fixed.GetSize()[2]))
    field = sitk.GetImageFromArray(truth, isVector=True)
    field.CopyInformation(fixed)
    sitk.WriteImage(field, str(tmp_path / "truth.nrrd"))

    scores = judge.score(tmp_path / "truth.nrrd", files)
    assert scores["tre"] < 0.1 and scores["tre_before"] > 4
    assert scores["dice"] > 0.98 > 0.95 > scores["dice_before"]
    assert scores["folding_percent"] == 0

    moved = sitk.Resample(
        moving, fixed, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    )
    inside = sitk.GetArrayFromImage(sitk.ReadImage(str(files["mask"]))) > 0
    still = sitk.Resample(moving, fixed)
    after, before = (np.abs(sitk.GetArrayFromImage(i - fixed))[inside].mean() for i in (moved, still))
    assert after < 16 < 3 * after < before  # 13.5 is what the noise of the two images alone leaves


def test_every_case_names_known_files_once() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        assert {"fixed", "moving"} <= set(case.files) <= set(ROLES)
        assert ("fixed_labels" in case.files) == ("moving_labels" in case.files)
        assert ("fixed_points" in case.files) == ("moving_points" in case.files)
        measure = case.goals.above_peers or case.goals.below_peers
        assert measure != "tre" or "fixed_points" in case.files
        assert measure != "dice" or "fixed_labels" in case.files
