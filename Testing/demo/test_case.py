"""Files and presets are chosen by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.case import NoCase, find_case, stem


def folder_with(tmp_path: Path, name: str, *files: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    for file in files:
        (folder / file).touch()
    return folder


def names(paths: dict[str, Path]) -> tuple[str, ...]:
    return tuple(paths[side].name for side in ("fixed", "moving")) if paths else ()


def test_planning_scans_with_labels(tmp_path: Path) -> None:
    parts = ("ct", "dose", "labels", "mask", "ptv")
    files = [f"{side}_{part}.nii.gz" for side in ("fixed", "moving") for part in parts]
    case = find_case(folder_with(tmp_path, "headneck_rt", *files))
    assert names(case.images) == ("fixed_ct.nii.gz", "moving_ct.nii.gz")
    assert names(case.labels) == ("fixed_labels.nii.gz", "moving_labels.nii.gz")
    assert not case.landmarks and case.truth is None
    assert case.preset()[0] == "head-neck-ct" and case.structure() == "label"


def test_masks_stand_in_for_labels(tmp_path: Path) -> None:
    files = [
        "fixed_ct.nii.gz", "moving_ct.nii.gz", "fixed_lung_mask.nii.gz", "moving_lung_mask.nii.gz",
        "fixed_landmarks.txt", "moving_landmarks.txt", "true_displacement_moving_to_fixed.nii.gz",
    ]  # fmt: skip
    case = find_case(folder_with(tmp_path, "lung_ct_synthetic", *files))
    assert names(case.labels) == ("fixed_lung_mask.nii.gz", "moving_lung_mask.nii.gz")
    assert names(case.landmarks) == ("fixed_landmarks.txt", "moving_landmarks.txt")
    assert case.preset()[0] == "lung-ct" and case.structure() == "lung mask"


def test_the_plain_name_counts_and_one_sided_masks_do_not(tmp_path: Path) -> None:
    files = ["fixed_t1_head.nii.gz", "fixed_t1.nii.gz", "fixed_brain_mask.nii.gz", "moving_t1.nii.gz"]
    case = find_case(folder_with(tmp_path, "brain_mr_to_atlas", *files))
    assert names(case.images) == ("fixed_t1.nii.gz", "moving_t1.nii.gz")
    assert not case.labels
    assert case.preset()[0] == "brain-mr"


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        (("fixed_ct.nii.gz", "fixed_pet.nii.gz", "moving_t1.nii.gz"), ("CT", "T1")),
        (("fixed_t1.nii.gz", "moving_pd.nii.gz"), ("T1", "PD")),
    ],
)
def test_different_kinds(tmp_path: Path, files: tuple[str, ...], kinds: tuple[str, str]) -> None:
    case = find_case(folder_with(tmp_path, "brain", *files))
    assert (case.kinds["fixed"], case.kinds["moving"]) == kinds
    preset, why = case.preset()
    assert preset == "multimodal" and all(kind in why for kind in kinds)


def test_a_shared_kind_is_preferred(tmp_path: Path) -> None:
    files = ("fixed_ct.nii.gz", "fixed_t2.nrrd", "moving_t2.nrrd")
    case = find_case(folder_with(tmp_path, "patient", *files))
    assert names(case.images) == ("fixed_t2.nrrd", "moving_t2.nrrd")
    preset, why = case.preset()
    assert preset == "" and "T2" in why


def test_a_preset_for_ct_is_not_for_other_scans(tmp_path: Path) -> None:
    case = find_case(folder_with(tmp_path, "lung", "fixed.mha", "moving.mha"))
    assert names(case.images) == ("fixed.mha", "moving.mha") and case.preset()[0] == ""


def test_no_pair_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoCase, match=r"moving_\* that is a scan"):
        find_case(folder_with(tmp_path, "half", "fixed_ct.nii.gz", "moving_labels.nii.gz"))
    with pytest.raises(NoCase, match="There is no folder"):
        find_case(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.seg.nrrd", "a"), ("a.nii.gz", "a"), ("a.mrk.json", "a"), ("a.b.mha", "a.b"), ("a.png", "a")],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


@pytest.mark.data
def test_real_cases(shared_data: Path) -> None:
    chosen = {f.name: find_case(f).preset()[0] for f in shared_data.iterdir() if f.name in EXPECTED}
    assert chosen == EXPECTED


EXPECTED = {
    "headneck_rt": "head-neck-ct",
    "lung_ct_synthetic": "lung-ct",
    "brain_mr_to_atlas": "brain-mr",
    "brain_mr_slab_pair": "brain-mr",
    "brain_mr_oasis_nolabels": "brain-mr",
    "brain_t1_pd": "multimodal",
    "ct_mr_sarcoma_a": "multimodal",
}
