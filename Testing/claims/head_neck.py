"""The head-and-neck scans that the feature fusion is trained on and judged by, and how a pair of them is judged.

Babier et al., OpenKBP, Medical Physics 48:5549-5561, 2021, doi:10.1002/mp.14845. The patients of the benchmark's pairs
(Testing/bench/cases.py) are held out: nothing is trained or chosen on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

_TESTING = Path(__file__).resolve().parents[1]
for _folder in (_TESTING, _TESTING.parent):
    sys.path.insert(0, str(_folder))

from bench.cases import CASES  # noqa: E402
from DeepRegistrationLib.core.context import Context  # noqa: E402
from DeepRegistrationLib.core.grid import Grid  # noqa: E402
from DeepRegistrationLib.core.image import Image  # noqa: E402
from DeepRegistrationLib.core.problem import RegistrationProblem  # noqa: E402
from DeepRegistrationLib.core.transform import Transform  # noqa: E402
from DeepRegistrationLib.io import read_image, read_segmentation  # noqa: E402
from DeepRegistrationLib.methods.initialisation import prealign  # noqa: E402
from DeepRegistrationLib.metrics.deformation import jacobian_of, jacobian_statistics  # noqa: E402
from DeepRegistrationLib.metrics.overlap import overlap_by_label  # noqa: E402
from DeepRegistrationLib.networks.fusion_settings import FusionSettings  # noqa: E402
from DeepRegistrationLib.optim.convex import coupled_convex  # noqa: E402
from DeepRegistrationLib.optim.convex_adam import STRIDE  # noqa: E402
from DeepRegistrationLib.training.fusion import FusionCase, fusion_case  # noqa: E402
from DeepRegistrationLib.transforms import DisplacementField, compose  # noqa: E402

DATA = _TESTING.parents[1] / "shared" / "train" / "headneck_ct"

#: label value -> the names the organ goes by: in words, in TG-263
ORGANS: dict[int, tuple[str, ...]] = {
    1: ("brainstem", "brain stem"),
    2: ("spinal cord", "cord"),
    3: ("right parotid", "parotid right", "parotid_R", "right parotid gland", "parotid gland right"),
    4: ("left parotid", "parotid left", "parotid_L", "left parotid gland", "parotid gland left"),
    5: ("oesophagus", "esophagus", "cervical oesophagus", "cervical esophagus"),
    6: ("larynx",),
    7: ("mandible", "bone_mandible", "lower jaw"),
}
NAMES = {value: names[0] for value, names in ORGANS.items()}

#: mm; what the head-and-neck preset of the method works with
SPACING = 3.0
WINDOW = (-200.0, 300.0)

#: mm around the organs that is looked at
MARGIN = 45.0

#: mm, standard deviation of the contour errors of the segmentations that features are made of: none, and about those
#: between two readers or of a program
DEVIATIONS = (0.0, 3.0, 5.0)

#: largest displacement looked at, cells of 6 mm
REACH = 4

#: what one-hot segments are multiplied by where they are compared as they are; at 1 smoothness is too strong for them
SEGMENT_SCALE = 2.0


def settings_for(organs: Sequence[int]) -> FusionSettings:
    return FusionSettings(
        tuple(ORGANS[v] for v in organs), SPACING, intensity_minimum=WINDOW[0], intensity_maximum=WINDOW[1]
    )


def held_out() -> list[int]:
    """The patients of the benchmark's pairs."""
    return sorted(n for numbers in benchmark_pairs() for n in numbers)


def patients() -> list[int]:
    """Those that may be trained on."""
    numbers = sorted(int(p.name.removeprefix("pt_")) for p in DATA.glob("pt_*"))
    return [n for n in numbers if n not in held_out()]


def benchmark_pairs() -> list[tuple[int, int]]:
    """(fixed, moving) of the held-out patients."""

    def number(file: str) -> int:
        return int(Path(file).parent.name.removeprefix("pt_"))

    files = [c.files for c in CASES if c.files["fixed"].startswith("train/headneck_ct")]
    return [(number(f["fixed"]), number(f["moving"])) for f in files]


@cache
def scan(patient: int) -> tuple[Image, Image]:
    folder = DATA / f"pt_{patient}"
    labels = read_segmentation(folder / "labels.nii.gz")
    return read_image(folder / "ct.nii.gz"), replace(labels, names=NAMES)


def aligned(fixed: int, moving: int) -> Transform | None:
    """The method's own start: an affine map from the fixed to the moving patient, LPS mm."""
    problem = RegistrationProblem(scan(fixed)[0], scan(moving)[0])
    return prealign(problem, "affine", Context(torch.device("cpu")))


def frame(patient: int) -> Grid:
    """The patient's organs and MARGIN around them, at SPACING mm."""
    labels = scan(patient)[1]
    grid = labels.grid
    there = torch.nonzero(labels.data[0])
    low, high = there.amin(dim=0).flip(0).tolist(), there.amax(dim=0).flip(0).tolist()
    more = [round(MARGIN / s) for s in grid.spacing]
    start = [max(0, a - m) for a, m in zip(low, more, strict=True)]
    stop = [min(n, b + m + 1) for b, m, n in zip(high, more, grid.size, strict=True)]
    return grid.cropped(start, [b - a for a, b in zip(start, stop, strict=True)]).with_spacing(SPACING)


def cases_in_one_frame(
    numbers: Sequence[int], reference: int, organs: Sequence[int], report: Callable[[str], None] = lambda _: None
) -> list[FusionCase]:
    """The patients' cases in the frame of one of them."""
    common, settings = frame(reference), settings_for(organs)
    cases = []
    for n in numbers:
        start = None if n == reference else aligned(reference, n)
        cases.append(fusion_case(f"pt_{n}", *scan(n), common, start, settings, organs, DEVIATIONS, seed=n))
        report(f"pt_{n}")
    return cases


@dataclass(frozen=True)
class Pair:
    """Two patients in the frame of the fixed one; `start` is the affine map the moving one was brought there by."""

    fixed: FusionCase
    moving: FusionCase
    grid: Grid
    start: Transform | None
    fixed_labels: Image
    moving_labels: Image


def pair(fixed: int, moving: int, organs: Sequence[int], deviation: float) -> Pair:
    """deviation  mm of the contour errors of the segmentations that features are made of"""
    grid, start, settings = frame(fixed), aligned(fixed, moving), settings_for(organs)
    # another seed than in training, and another for every patient
    cases = [
        fusion_case(f"pt_{n}", *scan(n), grid, how, settings, organs, (deviation,), seed=10_000 + n)
        for n, how in ((fixed, None), (moving, start))
    ]
    return Pair(cases[0], cases[1], grid, start, scan(fixed)[1], scan(moving)[1])


@dataclass(frozen=True)
class Score:
    """Dice by label value; sd of log Jacobian; folding %."""

    dice: dict[int, float]
    sd_log: float
    folding: float

    def mean(self, organs: Sequence[int]) -> float:
        return sum(self.dice[v] for v in organs) / len(organs)


def judged(case: Pair, transform: Transform | None, warp: DisplacementField | None = None) -> Score:
    """The moving contours as they are, pulled back to the fixed patient's grid, against the fixed ones."""
    moved = case.moving_labels.resampled(case.fixed_labels.grid, transform)
    found = overlap_by_label(case.fixed_labels, moved, list(ORGANS))
    dice = {value: o.dice or 0.0 for value, o in found.items()}
    if warp is None:
        return Score(dice, 0.0, 0.0)
    statistics = jacobian_statistics(jacobian_of(warp, warp.grid).ravel())
    return Score(dice, statistics.sd_log or 0.0, statistics.folding_percent)


def searched(case: Pair, fixed: torch.Tensor, moving: torch.Tensor) -> Score:
    """Coupled convex optimisation alone, on these features."""
    field = coupled_convex(fixed, moving, REACH, case.moving.known, case.fixed.known)
    cells = case.grid.downsampled(STRIDE)
    warp = DisplacementField.from_index_displacement(field, cells)
    return judged(case, warp if case.start is None else compose(warp, case.start), warp)
