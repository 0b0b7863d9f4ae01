"""Writes the breathing-thorax phantom as a case folder: `python -m demo.phantom FOLDER`.

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


if __name__ == "__main__":
    write(Path(sys.argv[1]))
