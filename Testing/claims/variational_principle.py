"""Claim: variational-principle turns a binary J into a V and back without folding, and works in 3-D.

    J to V, 128 x 128, binary:  loss ratio <= 0.01, Dice >= 0.96, smallest Jacobian determinant > 0,
                                and the same for the inverse, which turns the V into the J
    heads in 2-D and 3-D:       the loss falls, labels come together, nothing folds, the inverse moves fixed onto moving

The loss ratio is sum (moving(T) - fixed)^2 after over before, as in the paper's tables; for the inverse with the roles
changed. Both controls are tried: F, and f = Jmin + fh^2 with g.

    python Testing/claims/variational_principle.py        exits with 1 where the claim fails
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

_TESTING = Path(__file__).resolve().parents[1]
for _folder in (_TESTING, _TESTING.parent):
    sys.path.insert(0, str(_folder))

import phantoms  # noqa: E402
from DeepRegistrationLib.core.context import Context  # noqa: E402
from DeepRegistrationLib.core.grid import Grid  # noqa: E402
from DeepRegistrationLib.core.image import Image  # noqa: E402
from DeepRegistrationLib.core.problem import RegistrationProblem  # noqa: E402
from DeepRegistrationLib.core.result import RegistrationResult  # noqa: E402
from DeepRegistrationLib.core.transform import Transform  # noqa: E402
from DeepRegistrationLib.methods.pipeline import register_problem  # noqa: E402
from DeepRegistrationLib.transforms import Affine  # noqa: E402

#: the boundary is that of the image, and steps go on until hardly anything changes
LETTERS = {
    "initialisation": "none",
    "margin": 0.0,
    "detail": 1.0,
    "elasticity": 0.0,
    "blur": 0.7,
    "levels": 5,
    "iterations": 60,
    "tolerance": 0.002,
}


@dataclass(frozen=True)
class Row:
    """One line of the table; the bounds are those of the claim."""

    case: str
    ratio: float
    smallest: float
    dice: float
    seconds: float
    most_ratio: float
    least_dice: float

    @property
    def holds(self) -> bool:
        return self.ratio <= self.most_ratio and self.dice >= self.least_dice and self.smallest > 0


def letter_j(grid: Grid) -> Image:
    """A J: an upright stroke that ends in a hook to the left."""
    return _strokes(grid, ((80, 26), (80, 82), (74, 94), (62, 100), (50, 96), (43, 86)))


def letter_v(grid: Grid) -> Image:
    """A V."""
    return _strokes(grid, ((36, 30), (64, 98), (92, 30)))


def _strokes(grid: Grid, corners: tuple[tuple[float, float], ...], radius: float = 8.5) -> Image:
    """1 within `radius` of the line through `corners`, else 0."""
    x = grid.world_points(dtype=torch.float64)
    nearest = torch.full(grid.shape, float("inf"), dtype=torch.float64)
    for a, b in pairwise(corners):
        start, along = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
        along = along - start
        t = (((x - start) * along).sum(-1) / along.square().sum()).clamp(0, 1)
        nearest = torch.minimum(nearest, (x - start - t[..., None] * along).norm(dim=-1))
    return Image((nearest <= radius).to(torch.float32)[None], grid)


def letters(control: str) -> list[Row]:
    """J onto V, and V onto J by the inverse."""
    grid = Grid((128, 128), (1.0, 1.0), (0.5, 0.5))
    problem = RegistrationProblem(fixed=letter_v(grid), moving=letter_j(grid))
    result, seconds = _run(problem, control=control, **LETTERS)
    assert result.inverse is not None

    def row(name: str, fixed: Image, moving: Image, transform: Transform) -> Row:
        dice = _dice(_bits(fixed), _bits(moving.resampled(grid, transform)))
        return Row(name, _ratio(fixed, moving, transform), _smallest(transform, grid), dice, seconds, 0.01, 0.96)

    return [
        row(f"J to V, {control}", problem.fixed, problem.moving, result.transform),
        row(f"  inverse: V to J, {control}", problem.moving, problem.fixed, result.inverse),
    ]


def heads(d: int) -> list[Row]:
    """Two heads that differ by a deformation of up to 12 mm: mean Dice over their labels, with defaults."""
    size, spacing = ((112, 128), (1.6, 1.6)) if d == 2 else ((64, 74, 64), (3.2, 3.2, 3.2))
    grid = Grid(size, spacing, [-0.5 * (n - 1) * s for n, s in zip(size, spacing, strict=True)])
    case = phantoms.brain(grid, grid, seed=4, motion_mm=12.0)
    p = case.problem
    bare = RegistrationProblem(p.fixed, p.moving)
    result, seconds = _run(bare)
    assert result.inverse is not None and p.fixed_segmentation and p.moving_segmentation
    before, after = case.errors(Affine.identity(d)).mean(), case.errors(result.transform).mean()
    print(f"head {d}-D: error {before:.2f} mm before, {after:.2f} mm after")
    there = _dice(p.fixed_segmentation.data, p.moving_segmentation.resampled(grid, result.transform).data)
    back = _dice(p.moving_segmentation.data, p.fixed_segmentation.resampled(grid, result.inverse).data)
    least = 0.8
    return [
        Row(f"head {d}-D", _ratio(p.fixed, p.moving, result.transform), _smallest(result.transform, grid), there,
            seconds, 0.25, least),
        Row("  inverse", _ratio(p.moving, p.fixed, result.inverse), _smallest(result.inverse, grid), back,
            seconds, 0.25, least),
    ]  # fmt: skip


def _run(problem: RegistrationProblem, **values: object) -> tuple[RegistrationResult, float]:
    begun = time.perf_counter()
    result = register_problem(problem, "variational-principle", values=values, context=Context(torch.device("cpu")))
    return result, time.perf_counter() - begun


def _ratio(fixed: Image, moving: Image, transform: Transform) -> float:
    before = (moving.resampled(fixed.grid).data - fixed.data).square().sum()
    after = (moving.resampled(fixed.grid, transform).data - fixed.data).square().sum()
    return float(after / before)


def _smallest(transform: Transform, grid: Grid) -> float:
    return float(transform.jacobian_determinant(grid).min())


def _bits(image: Image) -> torch.Tensor:
    return (image.data > 0.5).to(torch.uint8)


def _dice(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean over the labels of `a`."""
    shares = []
    for label in [int(v) for v in torch.unique(a) if v != 0]:
        x, y = a == label, b == label
        shares.append(2 * float((x & y).sum()) / float(x.sum() + y.sum()))
    return sum(shares) / len(shares)


def rows() -> list[Row]:
    made = []
    for case in (lambda: letters("force"), lambda: letters("div-curl"), lambda: heads(2), lambda: heads(3)):
        made += case()
        print(f"{made[-2].case}: {made[-2].seconds:.1f} s", flush=True)
    return made


def show(table: list[Row]) -> None:
    print(f"{'case':34s} {'loss ratio':>10s} {'bound':>6s} {'min det':>8s} {'Dice':>7s} {'bound':>6s} {'s':>6s}")
    for r in table:
        verdict = "" if r.holds else "  FAILS"
        print(
            f"{r.case:34s} {r.ratio:10.4f} {r.most_ratio:6.2f} {r.smallest:8.4f} {r.dice:7.4f} {r.least_dice:6.2f} "
            f"{r.seconds:6.1f}{verdict}"
        )


def main() -> int:
    """0 where every row is within its bounds."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    table = rows()
    show(table)
    return 0 if all(r.holds for r in table) else 1


if __name__ == "__main__":
    sys.exit(main())
