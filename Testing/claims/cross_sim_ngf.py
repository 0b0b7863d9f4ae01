"""Claims for cross-sim-ngf.

1. A phantom head in 4 contrasts (T1, T2, PD, CT), every one of the 6 pairings: one scan is turned by a rotation drawn
   uniformly over all orientations, shifted by up to 30 voxels along every axis, and cut to 128^3 voxels of 1.6 mm
   (linear interpolation). Success: the corners of the block are off by less than 5 voxels in the mean. At least 90 %
   in every pairing; 10 trials each.
2. The unsquared form fails where contrast inverts: in the pairings in which at least half of the boundaries between
   tissues change sign it finds at most half of the first trials. The other pairings are told.
3. The Fourier form is at least 1000 times faster than the direct sum at 128^3, for all shifts with at least half of the
   voxels in common; the direct cost is extrapolated from a sample of shifts.
4. Two real CT/MR pairs, the MR turned in addition by a rotation drawn over all orientations: within 5 mm of the
   truth, beyond the 2 mm to which the reference is known.

    python Testing/claims/cross_sim_ngf.py [TRIALS]        exits with 1 where a claim fails
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

_TESTING = Path(__file__).resolve().parents[1]
for _folder in (_TESTING, _TESTING.parent):
    sys.path.insert(0, str(_folder))

import phantoms  # noqa: E402
from DeepRegistrationLib.core.context import Context  # noqa: E402
from DeepRegistrationLib.core.grid import Grid  # noqa: E402
from DeepRegistrationLib.core.image import Image  # noqa: E402
from DeepRegistrationLib.core.problem import RegistrationProblem  # noqa: E402
from DeepRegistrationLib.core.transform import Transform  # noqa: E402
from DeepRegistrationLib.io import read_image, read_points  # noqa: E402
from DeepRegistrationLib.methods.pipeline import register_problem  # noqa: E402
from DeepRegistrationLib.ops.fft_ngf import (  # noqa: E402
    ShiftWindow,
    cross_similarity,
    edge_features,
    mean_similarity,
    spectrum,
)
from DeepRegistrationLib.ops.ngf import normalised_gradient  # noqa: E402
from DeepRegistrationLib.optim.rotations import random_rotations  # noqa: E402
from DeepRegistrationLib.transforms import Affine  # noqa: E402
from phantoms.brain import CONTRASTS  # noqa: E402

_DATA = _TESTING.parents[1] / "shared" / "data"
_CONTRASTS = ("T1", "T2", "PD", "CT")
_SIZE, _SPACING = 128, 1.6
_SHIFT, _SUCCESS = 30.0, 5.0  # voxels
_TRIALS, _TRIALS_UNSQUARED, _TRIALS_REAL = 10, 4, 5
_REAL_BOUND, _REFERENCE = 5.0, 2.0  # mm


@dataclass(frozen=True)
class Row:
    """What was tried, how it went, what was asked, and whether that holds."""

    name: str
    measured: str
    asked: str
    holds: bool


# ---------------------------------------------------------------- phantom


def heads() -> dict[str, Image]:
    """The head in every contrast, with more room around it than the blocks."""
    n = 168
    grid = Grid((n,) * 3, (_SPACING,) * 3, (-(n - 1) * _SPACING / 2,) * 3)
    small = Grid((8,) * 3, (30.0,) * 3, (-105.0,) * 3)
    return {
        c: phantoms.brain(grid, small, seed=7, motion_mm=0.0, contrast=(c, c)).problem.fixed for c in _CONTRASTS
    }


def block(image: Image, placement: Affine | None) -> Image:
    """The central 128^3 of the image after `placement` (block mm to image mm); float noise comes with it."""
    grid = Grid((_SIZE,) * 3, (_SPACING,) * 3, (-(_SIZE - 1) * _SPACING / 2,) * 3)
    return image.resampled(grid, placement)


def inverted_boundaries(a: str, b: str) -> float:
    """Share of the boundaries between neighbouring tissues at which the two contrasts change in opposite senses."""
    first, second = CONTRASTS[a], CONTRASTS[b]
    pairs = list(itertools.pairwise(("scalp", "skull", "csf", "grey", "white")))
    return sum((first[i] - first[j]) * (second[i] - second[j]) < 0 for i, j in pairs) / len(pairs)


def corner_error(found: Transform, truth: Transform, grid: Grid) -> float:
    """Mean distance in voxels of the corners of the block."""
    corners = torch.as_tensor(grid.corners)
    return float((found.apply(corners) - truth.apply(corners)).norm(dim=1).mean()) / _SPACING


def trials(
    fixed: Image, moving: Image, count: int, seed: int, each: Callable[[float], None], **values: object
) -> tuple[int, list[float]]:
    """How many of `count` random placements were found, and the errors in voxels."""
    generator = torch.Generator().manual_seed(seed)
    errors = []
    for _ in range(count):
        turn = random_rotations(1, 3, generator)[0]
        shift = (2 * torch.rand(3, generator=generator, dtype=torch.float64).numpy() - 1) * _SHIFT * _SPACING
        truth = Affine(turn, shift)
        problem = RegistrationProblem(block(fixed, truth), block(moving, None))
        begun = time.perf_counter()
        context = Context(torch.device("cpu"))
        found = register_problem(problem, "cross-sim-ngf", values=values, context=context).transform
        each(time.perf_counter() - begun)
        errors.append(corner_error(found, truth, problem.fixed.grid))
    return sum(e < _SUCCESS for e in errors), errors


def phantom_rows(count: int) -> list[Row]:
    scans = heads()
    seconds: list[float] = []
    rows = []
    for k, (a, b) in enumerate(itertools.combinations(_CONTRASTS, 2)):
        for squared, number in ((True, count), (False, min(count, _TRIALS_UNSQUARED))):
            found, errors = trials(scans[a], scans[b], number, 100 + k, seconds.append, squared=squared)
            inverts = inverted_boundaries(a, b) >= 0.5
            measured = f"{found}/{number}, errors {_words(errors)} voxels"
            if squared:
                rows.append(Row(f"{a}/{b}", measured, ">= 90 %", found >= 0.9 * number))
            else:
                asked = "<= 50 %" if inverts else "nothing"
                rows.append(Row(f"{a}/{b} unsquared", measured, asked, not inverts or found <= 0.5 * number))
            _say(rows[-1])
    print(f"seconds a trial: median {np.median(seconds):.1f}, most {max(seconds):.1f}")
    return rows


# ---------------------------------------------------------------- speed


def speed_row(size: int = _SIZE, sample: int = 40) -> Row:
    """Both forms on the same fields; every sampled shift has the same sum in both."""
    generator = torch.Generator().manual_seed(5)
    images = [torch.rand(1, size, size, size, generator=generator) for _ in range(2)]
    masks = [torch.ones(1, size, size, size) for _ in range(2)]
    a, b = (normalised_gradient(i, (1.0,) * 3, 0.1) for i in images)
    begun = time.perf_counter()
    window = ShiftWindow.of(images[0].shape[1:], images[1].shape[1:], 0.5)
    spectra = [spectrum(edge_features(n), m, window) for n, m in zip((a, b), masks, strict=True)]
    score = mean_similarity(*cross_similarity(*spectra, window), window.allowed(), 0.5 * size**3)
    fast = time.perf_counter() - begun

    wanted = torch.isfinite(score[0]).flatten().nonzero()[:, 0]
    chosen = wanted[torch.randint(len(wanted), (sample,), generator=generator)].tolist()
    spent, worst = 0.0, 0.0
    for flat in chosen:
        shift = window.shift(flat)[::-1]
        begun = time.perf_counter()
        direct = _direct(a, b, masks[0], masks[1], shift)
        spent += time.perf_counter() - begun
        worst = max(worst, abs(direct - float(score.flatten()[flat])))
    times = spent / sample * len(wanted) / fast
    measured = (
        f"{times:.0f}x: {fast:.2f} s against {spent / sample * 1000:.1f} ms for each of {len(wanted)} shifts; "
        f"sums differ by {worst:.1e}"
    )
    return Row(f"all shifts at {size}^3", measured, ">= 1000x", times >= 1000 and worst < 1e-4)


def _direct(a: torch.Tensor, b: torch.Tensor, wa: torch.Tensor, wb: torch.Tensor, shift: np.ndarray) -> float:
    """Mean of <a(x), b(x + s)>^2 over the voxels in common, at one shift ([z,] y, x)."""
    here, there = [slice(None)] * 2, [slice(None)] * 2
    for s, n, m in zip(shift.tolist(), wa.shape[1:], wb.shape[1:], strict=True):
        first, last = max(0, -s), min(n, m - s)
        here.append(slice(first, last))
        there.append(slice(first + s, last + s))
    w = wa[tuple(here[1:])] * wb[tuple(there[1:])]
    inner = (a[tuple(here)] * b[tuple(there)]).sum(dim=0)
    return float((inner.square() * w).sum() / w.sum())


# ---------------------------------------------------------------- real


def real_rows(count: int) -> list[Row]:
    rows = []
    for name in ("ct_mr_sarcoma_a", "ct_mr_sarcoma_b"):
        folder = _DATA / name
        if not folder.is_dir():
            print(f"{name}: not here, skipped")
            continue
        fixed, moving = read_image(folder / "fixed_ct.nii.gz"), read_image(folder / "moving_t1.nii.gz")
        marks, partners = (read_points(folder / f"{side}_landmarks.txt").points for side in ("fixed", "moving"))
        generator = torch.Generator().manual_seed(11)
        errors = []
        for _ in range(count):
            turn = random_rotations(1, 3, generator)[0]
            extra = Affine.about(moving.grid.centre, turn, (0, 0, 0))
            problem = RegistrationProblem(fixed, _carried(moving, extra))
            context = Context(torch.device("cpu"))
            found = register_problem(problem, "cross-sim-ngf", preset="multimodal", context=context).transform
            errors.append(float((found.apply(marks) - extra.apply(partners)).norm(dim=1).mean()))
        good = sum(e < _REAL_BOUND + _REFERENCE for e in errors)
        measured, asked = f"{good}/{len(errors)}, errors {_words(errors)} mm", f"< {_REAL_BOUND:g} + {_REFERENCE:g} mm"
        rows.append(Row(name, measured, asked, good == len(errors)))
        _say(rows[-1])
    return rows


def _carried(image: Image, by: Affine) -> Image:
    """The patient carried by a rigid map: the voxels stay, the grid goes along."""
    grid = image.grid
    origin = by.apply(torch.tensor([grid.origin], dtype=torch.float64))[0].tolist()
    return replace(image, grid=Grid(grid.size, grid.spacing, origin, by.matrix.numpy() @ np.asarray(grid.direction)))


def _words(errors: list[float]) -> str:
    return " ".join(f"{e:.1f}" for e in errors)


def _say(row: Row) -> None:
    print(f"{row.name:32s} {row.measured}   asked {row.asked}{'' if row.holds else '   FAILS'}", flush=True)


def main(count: int = _TRIALS) -> int:
    """0 where every row holds."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    rows = phantom_rows(count)
    rows.append(speed_row())
    _say(rows[-1])
    rows += real_rows(min(count, _TRIALS_REAL))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else _TRIALS))
