"""Writes the breathing-thorax phantom as a case folder: `python -m demo.phantom FOLDER`; or so many chests of different
build, breathed out by different amounts, each a scan and its labels: `python -m demo.phantom FOLDER COUNT`.

A process of its own: the one that holds Slicer's scene never loads torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SEED = 1
#: mm that the diaphragm rises
MOTION = 20.0
#: points inside the lungs at which the error is measured
POINTS = 5000


def write(folder: Path) -> None:
    """Scans, labels, landmarks (vessel forks) and `truth.npy` (see Case.truth)."""
    import phantoms
    from DeepRegistrationLib.io import write_image, write_points, write_segmentation

    case = phantoms.thorax(seed=SEED, motion_mm=MOTION)
    problem = case.problem
    folder.mkdir(parents=True, exist_ok=True)
    write_image(problem.fixed, folder / "fixed_ct.nrrd")
    write_image(problem.moving, folder / "moving_ct.nrrd")
    write_segmentation(problem.fixed_segmentation, folder / "fixed_labels.seg.nrrd")
    write_segmentation(problem.moving_segmentation, folder / "moving_labels.seg.nrrd")
    write_points(problem.fixed_landmarks, folder / "fixed_landmarks.mrk.json")
    write_points(problem.moving_landmarks, folder / "moving_landmarks.mrk.json")
    x = case.body_points(POINTS)
    np.save(folder / "truth.npy", np.stack([x.numpy(), case.true_transform.apply(x).numpy()]))


def write_chests(folder: Path, count: int) -> None:
    """`chest K.nrrd` and `chest K.seg.nrrd`."""
    import phantoms
    from DeepRegistrationLib.io import write_image, write_segmentation
    from DeepRegistrationLib.transforms import Affine

    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(SEED)
    for k in range(1, count + 1):
        build = Affine(np.diag(draws.uniform(0.88, 1.08, 3)), draws.uniform(-12, 12, 3))
        problem = phantoms.thorax(seed=k, motion_mm=float(draws.uniform(0, 25)), placement=build).problem
        write_image(problem.moving, folder / f"chest {k}.nrrd")
        write_segmentation(problem.moving_segmentation, folder / f"chest {k}.seg.nrrd")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        write_chests(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        write(Path(sys.argv[1]))
