"""Claim: ngf-affine recovers known transforms to below 1 mm on multimodal phantoms (with masks of the heads), and the
real CT/MR pairs to below 5 mm. The reference of the real pairs is another registration, good to some millimetres: an
error below about 2 mm there says nothing more.

    python Testing/claims/ngf_affine.py        exits with 1 where the claim fails
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

_TESTING = Path(__file__).resolve().parents[1]
for _folder in (_TESTING, _TESTING.parent):
    sys.path.insert(0, str(_folder))

import phantoms  # noqa: E402
from DeepRegistrationLib.core.context import Context  # noqa: E402
from DeepRegistrationLib.core.grid import Grid  # noqa: E402
from DeepRegistrationLib.core.problem import RegistrationProblem  # noqa: E402
from DeepRegistrationLib.core.transform import Transform  # noqa: E402
from DeepRegistrationLib.io import read_image, read_points  # noqa: E402
from DeepRegistrationLib.methods.pipeline import register_problem  # noqa: E402
from DeepRegistrationLib.transforms import Affine  # noqa: E402

_DATA = _TESTING.parents[1] / "shared" / "data"


def aligned(problem: RegistrationProblem, how: str) -> Transform:
    """What the method finds with its settings for different kinds of scan."""
    context = Context(torch.device("cpu"))
    values = {"transform": how, "initialisation": how}
    return register_problem(problem, "ngf-affine", preset="multimodal", values=values, context=context).transform


def phantom_rows() -> list[tuple[str, float, float, float]]:
    """(case, error before, after, bound) in mm, rigid and affine, CT/T1 and T1/T2."""
    grid = Grid((64, 74, 64), (3.2, 3.2, 3.2), (-101, -117, -101))
    a = np.deg2rad(10)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    rows = []
    for contrast in (("CT", "T1"), ("T1", "T2")):
        for how, matrix in (("rigid", turn), ("affine", turn @ np.diag([1.06, 0.95, 1.03]))):
            known = phantoms.brain(
                grid,
                grid,
                motion_mm=0.0,
                contrast=contrast,
                placement=Affine.about((0, 0, 0), matrix, (15, -12, 9)),
            )
            found = aligned(known.problem, how)
            before = float(known.errors(Affine.identity(3)).mean())
            rows.append(
                (f"phantom {'/'.join(contrast)} {how}", before, float(known.errors(found).mean()), 1.0)
            )
    return rows


def real_rows() -> list[tuple[str, float, float, float]]:
    """The same for the real CT/MR pairs, rigid, at landmarks; none where the data are absent."""
    rows = []
    for name in ("ct_mr_sarcoma_a", "ct_mr_sarcoma_b"):
        folder = _DATA / name
        if not folder.is_dir():
            print(f"{name}: not here, skipped")
            continue
        problem = RegistrationProblem(
            read_image(folder / "fixed_ct.nii.gz"), read_image(folder / "moving_t1.nii.gz")
        )
        fixed, moving = (read_points(folder / f"{role}_landmarks.txt").points for role in ("fixed", "moving"))
        found = aligned(problem, "rigid")
        before = float((fixed - moving).norm(dim=1).mean())
        after = float((found.apply(fixed) - moving).norm(dim=1).mean())
        rows.append((name, before, after, 5.0))
    return rows


def main() -> int:
    """0 where every row is below its bound."""
    torch.set_num_threads(2)
    rows = phantom_rows() + real_rows()
    print(f"{'case':30s} {'before mm':>10s} {'after mm':>10s} {'bound mm':>10s}")
    for name, before, after, bound in rows:
        verdict = "" if after < bound else "  FAILS"
        print(f"{name:30s} {before:10.2f} {after:10.2f} {bound:10.1f}{verdict}")
    return 0 if all(after < bound for _, _, after, bound in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
