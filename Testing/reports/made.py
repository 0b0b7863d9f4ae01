"""Results to report on, made up so that every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

#: oblique about z, left-handed, anisotropic, off-origin
ANGLE = 0.3
DIRECTION = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, -1.0]])
SIZE, SPACING, ORIGIN = (40, 36, 20), (1.5, 1.5, 3.0), (-20.0, 30.0, 55.0)


def volume(values: np.ndarray) -> sitk.Image:
    """(Z, Y, X) values on the oblique grid."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTION.ravel().tolist())
    return image


def world() -> np.ndarray:
    """(Z, Y, X, 3) LPS mm of the voxels of that grid, without SimpleITK."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    return (index * SPACING) @ DIRECTION.T + ORIGIN


def ball(centre: tuple[float, ...], radius: float) -> np.ndarray:
    """(Z, Y, X) True inside."""
    return np.linalg.norm(world() - centre, axis=-1) < radius


def middle() -> np.ndarray:
    """LPS mm of the middle of the grid."""
    return DIRECTION @ ((np.array(SIZE) - 1) / 2 * SPACING) + ORIGIN


def beside(left: float, back: float, up: float) -> tuple[float, ...]:
    """LPS mm of a place so many mm from the middle."""
    return tuple(middle() + np.array([left, back, up]))


METRICS: dict[str, Any] = {
    "landmarks": {
        "count": 3,
        "names": ["carina", "", "<b>tip</b>"],
        "before_mm": [4.25, 6.5, 3.0],
        "after_mm": [1.125, 0.75, 7.5],
        "mean_before_mm": 4.583333,
        "mean_after_mm": 3.125,
        "p95_before_mm": 6.275,
        "p95_after_mm": 6.8625,
        "max_before_mm": 6.5,
        "max_after_mm": 7.5,
        "fixed_points": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
    },
    "segments": {
        "Liver": {
            "label": 1, "dice_before": 0.5125, "dice_after": 0.9375, "hd95_before_mm": 12.5, "hd95_after_mm": 2.25,
            "surface_distance_before_mm": 6.0, "surface_distance_after_mm": 1.0, "volume_change_percent": -4.5,
            "jacobian_mean": 0.955, "jacobian_min": -0.21, "jacobian_max": 1.6, "jacobian_p5": 0.7,
            "jacobian_p25": 0.875, "jacobian_p50": 0.95, "jacobian_p75": 1.05, "jacobian_p95": 1.3,
            "folding_percent": 0.31, "uncertainty_mean_mm": 0.625,
        },
        "<script>alert(1)</script>": {
            "label": 2, "dice_before": 0.75, "dice_after": 0.625, "hd95_before_mm": None, "hd95_after_mm": None,
            "surface_distance_before_mm": None, "surface_distance_after_mm": None, "volume_change_percent": 2.0,
            "jacobian_mean": 1.02, "jacobian_min": 0.5, "jacobian_max": 1.5, "jacobian_p5": 0.8, "jacobian_p25": 0.9,
            "jacobian_p50": 1.0, "jacobian_p75": 1.1, "jacobian_p95": 1.25, "folding_percent": 0.0,
            "uncertainty_mean_mm": None,
        },
    },
    "overlap": {
        "count": 2, "dice_mean_before": 0.63125, "dice_mean_after": 0.78125, "hd95_mean_before_mm": 12.5,
        "hd95_mean_after_mm": 2.25,
    },
    "volume_unit": "ml",
    "deformation": {
        "region": "fixed image", "voxels": 23256, "folding_percent": 0.0123, "sd_log_jacobian": 0.111,
        "jacobian_min": -0.21, "jacobian_max": 1.875, "jacobian_mean": 1.002, "displacement_mean_mm": 3.5,
        "displacement_p95_mm": 8.0, "displacement_max_mm": 12.0, "outside_moving_percent": 1.5,
        "outside_moving_percent_before": 0.5,
    },
    "inverse_consistency": None,
    "similarity": {
        "note": "not a measure of correctness", "ncc_before": 0.5, "ncc_after": 0.875, "nmi_before": 1.1,
        "nmi_after": 1.25,
    },
    "maps": {"jacobian": {"mean": 1.002, "p50": 1.0, "p95": 1.5, "p99": 1.7, "min": -0.21, "max": 1.875}},
    "warnings": ["The deformation folds inside Liver (0.31 % of it): do not trust the result there."],
}  # fmt: skip

PROVENANCE: dict[str, Any] = {
    "method": "convex-adam",
    "parameters": {"smoothness": 0.75, "inverse": False, "spacing": None},
    "seed": 7,
    "device": "cpu",
    "versions": {"torch": "2.9"},
    "seconds": 12.25,
    "peak_memory_bytes": 3 * 1024**2,
    "messages": ["The images were worked on at 2 mm."],
    "inputs": {},
    "files": {"metrics": "metrics.json", "provenance": "provenance.json"},
    "tables": {},
    "transform_maps": "fixed to moving, LPS mm",
}


def write_result(
    folder: Path, metrics: dict[str, Any] | None = METRICS, provenance: dict[str, Any] | None = None
) -> Path:
    """The numbers of a result, as `register` leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {**PROVENANCE, **(provenance or {})}
    if metrics is None:
        made["files"] = {name: file for name, file in made["files"].items() if name != "metrics"}
    else:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "provenance.json").write_text(json.dumps(made))
    return folder


def write_scans(folder: Path, *, different_kinds: bool = False) -> Path:
    """A result with files: a bright ball and box in fixed, moved and moving, a ramp of Jacobians, a fold in a corner
    of the ball, a displacement; returns its folder."""
    rng = np.random.default_rng(1)
    centre = beside(6.0, 0.0, 0.0)  # to the patient's left of the middle
    inside = ball(centre, 9.0)
    # smooth structure beside the ball, so that the scans have something to agree on
    texture = 100 * np.sin(world() / 5).sum(axis=-1)
    fixed = (400 + texture + 500 * inside + rng.normal(0, 5, inside.shape)).astype(np.int16)
    moved = fixed // 2 + 300 if not different_kinds else 1500 - texture.astype(np.int16) - 900 * inside
    moving = np.roll(moved, 3, axis=2)
    jacobian = np.full(inside.shape, 1.0, dtype=np.float32)
    jacobian += ((world()[..., 0] - middle()[0]) / 60).astype(np.float32)
    fold = ball(beside(10.0, 3.0, 0.0), 3.5)
    jacobian[fold] = -0.25
    jacobian[fold & ball(beside(10.0, 3.0, 0.0), 1.8)] = -0.75
    displacement = np.linalg.norm(world() - centre, axis=-1).astype(np.float32) / 4
    folder.mkdir(parents=True, exist_ok=True)
    volumes = {
        "fixed.nrrd": fixed, "moving.nrrd": moving.astype(np.int16), "moved.nii.gz": moved.astype(np.int16),
        "labels.nrrd": inside.astype(np.uint8), "jacobian.nii.gz": jacobian, "displacement.nii.gz": displacement,
    }  # fmt: skip
    for name, values in volumes.items():
        sitk.WriteImage(volume(values), str(folder / name))
    write_result(
        folder,
        provenance={
            "inputs": {
                "fixed": str(folder / "fixed.nrrd"),
                "moving": str(folder / "moving.nrrd"),
                "fixed_segmentation": str(folder / "labels.nrrd"),
            },
            "files": {
                **PROVENANCE["files"],
                "moved": "moved.nii.gz",
                "jacobian": "jacobian.nii.gz",
                "displacement": "displacement.nii.gz",
            },
        },
    )
    return folder
