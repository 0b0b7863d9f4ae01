"""ngf-affine: known transforms come back, between kinds of scan, in two and three dimensions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.progress import Progress, ProgressReport
from DeepRegistrationLib.methods.rigid.ngf_affine import SPEC
from DeepRegistrationLib.optim.linear_lbfgs import minimise
from DeepRegistrationLib.transforms import Affine

_GRID = Grid((46, 54, 46), (4.5, 4.5, 4.5), (-101, -119, -101))
_STRETCHED = np.array([[1.06, 0.05, 0.0], [-0.05, 0.95, 0.03], [0.0, -0.03, 1.03]])


def case(contrast: tuple[str, str], matrix: np.ndarray) -> phantoms.PhantomCase:
    return phantoms.brain(
        _GRID, _GRID, motion_mm=0.0, contrast=contrast, placement=Affine.about((0, 0, 0), matrix, (6, -8, 5))
    )


@pytest.mark.parametrize(
    ("similarity", "contrast"), [("ngf", ("T1", "T2")), ("lncc", ("T1", "T1")), ("mi", ("CT", "T1"))]
)
def test_an_affine_change_is_recovered(similarity: str, contrast: tuple[str, str]) -> None:
    known = case(contrast, _STRETCHED)
    parameters = SPEC.make_parameters(None, {"similarity": similarity, "stiffness": 0.0})
    result = SPEC.run(known.problem, parameters, Context(torch.device("cpu")))
    assert known.errors(Affine.identity(3)).mean() > 8
    assert known.errors(result.transform).mean() < 1.1
    points = known.body_points(500)
    back = result.inverse.apply(result.transform.apply(points))
    assert float((back - points).abs().max()) < 1e-9


def test_rigid_stays_rigid_and_two_dimensions_work() -> None:
    plane = Grid((100, 110), (2.0, 2.0), (-99, -109))
    a = np.deg2rad(8)
    turned = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    known = phantoms.brain(plane, plane, motion_mm=0.0, placement=Affine.about((0, 0), turned, (7, -5)))
    result = SPEC.run(
        known.problem, SPEC.make_parameters(None, {"transform": "rigid"}), Context(torch.device("cpu"))
    )
    assert known.errors(result.transform).mean() < 0.5
    matrix = result.transform.matrix.numpy()
    assert np.allclose(matrix.T @ matrix, np.eye(2), atol=1e-6)


def test_progress_only_grows_and_a_cancel_ends_the_run() -> None:
    seen: list[ProgressReport] = []
    known = case(("T1", "T1"), np.eye(3))
    SPEC.run(known.problem, SPEC.make_parameters("fast"), Context(torch.device("cpu"), Progress(seen.append)))
    fractions = [r.fraction for r in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) > 5
    stop = Progress(cancelled=lambda: True)
    with pytest.raises(Cancelled):
        SPEC.run(known.problem, SPEC.make_parameters("fast"), Context(torch.device("cpu"), stop))


def test_a_mask_hides_what_would_mislead() -> None:
    known = case(("T1", "T1"), np.eye(3))
    spoiled = known.problem.moving.data.clone()
    spoiled[..., 35:] = spoiled.flip(-2)[..., 35:]
    mask = torch.zeros_like(spoiled, dtype=torch.uint8)
    mask[..., :33] = 1
    moving = known.problem.moving.with_data(spoiled)
    from DeepRegistrationLib.core.image import Image, ImageKind

    masked = replace(
        known.problem,
        moving=moving,
        fixed_mask=None,
        moving_mask=Image(mask, moving.grid, ImageKind.MASK),
    )
    result = SPEC.run(
        masked, SPEC.make_parameters(None, {"transform": "rigid"}), Context(torch.device("cpu"))
    )
    assert known.errors(result.transform).mean() < 1.0


def test_the_minimiser_solves_rosenbrock() -> None:
    def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = 1 - x[0], x[1] - x[0] ** 2
        return a * a + 100 * b * b, np.array([-2 * a - 400 * x[0] * b, 200 * b])

    found = minimise(valley, np.array([-1.2, 1.0]), iterations=200, first_step=0.1, smallest_step=1e-9)
    assert np.allclose(found.parameters, (1, 1), atol=1e-4)
    assert all(b <= a for a, b in zip(found.history, found.history[1:], strict=False))
