"""The pairs of the benchmark: where their files lie, how our method is called on them, what must be reached.

A tool sees the two images only; labels, landmarks and masks serve the scoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: the files a case may have, by role
ROLES = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points", "mask")


@dataclass(frozen=True)
class Goals:
    """What our method must reach. `above_peers` / `below_peers` name a measure to win against every peer."""

    above_peers: str | None = None
    below_peers: str | None = None
    at_most: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """files: role -> path below the data root. parameters: settings of our method besides the preset."""

    id: str
    files: Mapping[str, str]
    preset: str
    goals: Goals
    method: str = "convex-adam"
    parameters: Mapping[str, object] = field(default_factory=dict)
    rigid: bool = False
    group: str = ""

    def paths(self, root: Path) -> dict[str, Path]:
        return {role: root / name for role, name in self.files.items()}

    def missing(self, root: Path) -> list[Path]:
        return [path for path in self.paths(root).values() if not path.is_file()]


_FOLDING = {"folding_percent": 0.05}
_DICE = Goals(above_peers="dice", at_most=_FOLDING)

# five ordered pairs of ten patients: random.Random(20240607).sample(sorted numbers, 10), taken two by two
_HEAD_NECK_PAIRS = ((319, 306), (332, 236), (296, 82), (115, 112), (61, 182))


def _head_neck(fixed: int, moving: int) -> Case:
    folder = "train/headneck_ct/pt_{}/{}.nii.gz"
    files = {
        "fixed": folder.format(fixed, "ct"),
        "moving": folder.format(moving, "ct"),
        "fixed_labels": folder.format(fixed, "labels"),
        "moving_labels": folder.format(moving, "labels"),
    }
    return Case(f"headneck_{fixed}_{moving}", files, "head-neck-ct", _DICE, group="headneck")


def _sarcoma(letter: str) -> Case:
    folder = f"data/ct_mr_sarcoma_{letter}"
    files = {
        "fixed": f"{folder}/fixed_ct.nii.gz",
        "moving": f"{folder}/moving_t1.nii.gz",
        "fixed_labels": f"{folder}/fixed_mask.nii.gz",
        "moving_labels": f"{folder}/moving_mask.nii.gz",
        "fixed_points": f"{folder}/fixed_landmarks.txt",
        "moving_points": f"{folder}/moving_landmarks.txt",
    }
    goals = Goals(at_most={"tre": 5.0, "folding_percent": 0.0})
    parameters = {"transform": "rigid"}
    return Case(f"ct_mr_sarcoma_{letter}", files, "multimodal", goals, "ngf-affine", parameters, rigid=True)


CASES: tuple[Case, ...] = (
    Case(
        "headneck_rt",
        {
            "fixed": "data/headneck_rt/fixed_ct.nii.gz",
            "moving": "data/headneck_rt/moving_ct.nii.gz",
            "fixed_labels": "data/headneck_rt/fixed_labels.nii.gz",
            "moving_labels": "data/headneck_rt/moving_labels.nii.gz",
        },
        "head-neck-ct",
        _DICE,
        group="headneck",
    ),
    *(_head_neck(*pair) for pair in _HEAD_NECK_PAIRS),
    Case(
        "lung_ct_synthetic",
        {
            "fixed": "data/lung_ct_synthetic/fixed_ct.nii.gz",
            "moving": "data/lung_ct_synthetic/moving_ct.nii.gz",
            "fixed_labels": "data/lung_ct_synthetic/fixed_lung_mask.nii.gz",
            "moving_labels": "data/lung_ct_synthetic/moving_lung_mask.nii.gz",
            "fixed_points": "data/lung_ct_synthetic/fixed_landmarks.txt",
            "moving_points": "data/lung_ct_synthetic/moving_landmarks.txt",
            "mask": "data/lung_ct_synthetic/fixed_lung_mask.nii.gz",
        },
        "lung-ct",
        Goals(below_peers="tre", at_most={"tre": 1.0, **_FOLDING}),
    ),
    Case(
        "brain_mr_slab_pair",
        {
            "fixed": "data/brain_mr_slab_pair/fixed_t1.nii.gz",
            "moving": "data/brain_mr_slab_pair/moving_t1.nii.gz",
            "fixed_labels": "data/brain_mr_slab_pair/fixed_labels.nii.gz",
            "moving_labels": "data/brain_mr_slab_pair/moving_labels.nii.gz",
        },
        "brain-mr",
        _DICE,
    ),
    Case(
        "brain_mr_to_atlas",
        {
            "fixed": "data/brain_mr_to_atlas/fixed_t1.nii.gz",
            "moving": "data/brain_mr_to_atlas/moving_t1.nii.gz",
            "fixed_labels": "data/brain_mr_to_atlas/fixed_labels.nii.gz",
            "moving_labels": "data/brain_mr_to_atlas/moving_labels.nii.gz",
            "mask": "data/brain_mr_to_atlas/fixed_brain_mask.nii.gz",
        },
        "brain-mr",
        _DICE,
    ),
    _sarcoma("a"),
    _sarcoma("b"),
)

#: made on the spot (phantom.py), for a clone without the data folders
PHANTOM = Case(
    "phantom",
    {role: f"{role}.{'txt' if role.endswith('points') else 'nii.gz'}" for role in ROLES},
    "lung-ct",
    Goals(below_peers="tre", at_most={"tre": 1.0, **_FOLDING}),
)
