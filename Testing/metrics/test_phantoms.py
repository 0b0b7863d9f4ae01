"""The phantoms keep what they promise: exact maps, exact landmarks, any grid, the same from the same seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine
from phantoms import PhantomCase

_C, _S = np.cos(0.3), np.sin(0.3)
_TILT = np.array([[_C, -_S, 0], [_S, _C, 0], [0, 0, -1.0]])  # left-handed


def _grids(extent: tuple[float, ...], centre: tuple[float, ...]) -> tuple[Grid, Grid]:
    d = len(extent)
    sizes, others = (34, 30, 26)[:d], (28, 34, 31)[:d]
    out = []
    for size, direction in ((sizes, _TILT[:d, :d]), (others, np.eye(d))):
        at_zero = Grid(size, [e / n for e, n in zip(extent, size, strict=True)], None, direction)
        out.append(Grid(size, at_zero.spacing, np.asarray(centre) - at_zero.centre, direction))
    return out[0], out[1]


MAKERS: dict[str, tuple[Callable[..., PhantomCase], tuple[float, ...]]] = {
    "thorax": (phantoms.thorax, (350.0, 260.0, 300.0)),
    "brain": (phantoms.brain, (190.0, 222.0, 190.0)),
    "abdomen": (phantoms.abdomen, (330.0, 250.0, 220.0)),
    "tori": (phantoms.tori, (160.0, 160.0)),
    "2-D brain": (phantoms.brain, (190.0, 222.0)),
}


@pytest.fixture(scope="module", params=MAKERS)
def case(request: pytest.FixtureRequest) -> PhantomCase:
    make, extent = MAKERS[request.param]
    d = len(extent)
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])[:d, :d]
    fixed, moving = _grids(extent, (300.0, -120.0, 55.0)[:d])
    place = Affine.about(fixed.centre, turn, [6.0, -5.0, 4.0][:d])
    return make(fixed, moving, seed=5, noise=0.0, placement=place)


def test_moving_image_is_the_fixed_one_seen_through_the_true_map(case: PhantomCase) -> None:
    """Away from edges (where the voxel size decides) moving(T(x)) = fixed(x)."""
    p = case.problem
    x = case.body_points(4000)
    there = p.moving.at(case.true_transform.apply(x))[0]
    here = p.fixed.at(x)[0]
    wrong = p.moving.at(x)[0]
    assert float((there - here).abs().median()) < 0.5 * float((wrong - here).abs().median()) + 0.02 * float(
        here.std()
    )
    assert float(torch.corrcoef(torch.stack([there, here]))[0, 1]) > float(
        torch.corrcoef(torch.stack([wrong, here]))[0, 1]
    )


def test_inverse_is_exact_to_a_hundredth_of_a_millimetre(case: PhantomCase) -> None:
    x = case.body_points(3000)
    back = case.true_transform.inverse().transform.apply(case.true_transform.apply(x))
    assert float((back - x).norm(dim=1).max()) < 0.01


def test_nothing_folds_and_something_moves(case: PhantomCase) -> None:
    t = case.true_transform
    x = case.body_points(3000)
    assert float((t.apply(x) - x).norm(dim=1).mean()) > 3
    part = t.parts[0] if hasattr(t, "parts") else t
    assert float(part.jacobian_determinant(case.problem.fixed.grid).min()) > 0.2


def test_landmarks_are_exact_and_inside_both_images(case: PhantomCase) -> None:
    p = case.problem
    assert p.fixed_landmarks is not None and p.moving_landmarks is not None
    assert len(p.fixed_landmarks) >= 5
    moved = case.true_transform.apply(p.fixed_landmarks.points)
    assert torch.allclose(moved, p.moving_landmarks.points, atol=1e-9)


def test_every_label_has_a_name_and_lies_in_both(case: PhantomCase) -> None:
    p = case.problem
    assert p.fixed_segmentation is not None and p.moving_segmentation is not None
    for seg in (p.fixed_segmentation, p.moving_segmentation):
        assert set(seg.label_values) <= set(seg.names)
    missing = set(p.fixed_segmentation.names) - set(p.fixed_segmentation.label_values)
    assert {p.fixed_segmentation.names[v] for v in missing} <= {"Lesion", "Cerebellum"}


def test_same_seed_same_images_other_seed_other_images() -> None:
    a, b, c = (phantoms.tori(seed=s) for s in (1, 1, 2))
    assert torch.equal(a.problem.moving.data, b.problem.moving.data)
    assert not torch.equal(a.problem.moving.data, c.problem.moving.data)


def test_lesion_and_contrast_are_only_where_they_were_asked_for() -> None:
    fixed, moving = _grids((190.0, 222.0, 190.0), (0.0, 0.0, 0.0))
    p = phantoms.brain(fixed, moving, contrast=("T1", "CT"), lesion="moving").problem
    assert p.fixed_segmentation is not None and p.moving_segmentation is not None
    assert 6 in p.moving_segmentation.label_values and 6 not in p.fixed_segmentation.label_values
    assert float(p.moving.data.max()) > 600 > 300 > float(p.fixed.data.max())


def test_diaphragm_rises_by_the_motion_asked_for() -> None:
    fixed, moving = _grids((350.0, 260.0, 300.0), (0.0, 0.0, 0.0))
    case = phantoms.thorax(fixed, moving, motion_mm=22)
    dome = torch.tensor([[-62.0, 0.0, -60.0]], dtype=torch.float64)
    u = (case.true_transform.apply(dome) - dome)[0]
    assert 17 < float(u[2]) < 25
    wall = torch.tensor([[-150.0, 0.0, -60.0]], dtype=torch.float64)
    assert float((case.true_transform.apply(wall) - wall)[0, 2]) < 6
