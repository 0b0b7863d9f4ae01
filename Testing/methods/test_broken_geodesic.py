"""What a broken-geodesic result tells: the distance with its unit, the pieces, the pictures along the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.methods.deformable.broken_geodesic import DISTANCE
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.transforms import Affine

FIXED = Grid((64, 72), (2.8, 2.8), (-88.0, -100.0))
MOVING = Grid((66, 70), (2.8, 3.0), (-90.0, -104.0))


@pytest.fixture(scope="module")
def case():
    return phantoms.brain(FIXED, MOVING, seed=4, motion_mm=14)


def register(problem: RegistrationProblem, **values):
    bare = RegistrationProblem(
        problem.fixed, problem.moving, problem.fixed_mask, problem.moving_mask,
        initial_transform=problem.initial_transform,
    )  # fmt: skip
    context = Context(torch.device("cpu"))
    return register_problem(bare, "broken-geodesic", values={"initialisation": "none", **values}, context=context)


@pytest.fixture(scope="module")
def result(case):
    return register(case.problem, intermediate=True)


def test_the_distance_is_the_sum_of_the_pieces_and_its_unit_is_said(result):
    count = int(result.tables["pieces"])
    lengths = [result.tables[f"length of piece {k} (mm)"] for k in range(1, count + 1)]
    assert 1 <= count <= 5
    assert result.tables[DISTANCE] == pytest.approx(sum(lengths)) and result.tables[DISTANCE] > 0.5
    (said,) = [m for m in result.provenance.messages if DISTANCE in m]
    assert f"{result.tables[DISTANCE]:.2f} mm" in said


def test_every_piece_has_its_numbers(result):
    count = int(result.tables["pieces"])
    assert len(result.history["length of every piece (mm)"]) == count
    differences = result.history["difference before and after every piece"]
    assert len(differences) == count + 1
    assert all(np.diff(differences) < 0)
    assert any(name.startswith("piece 1, ") for name in result.history)


def test_pictures_along_the_way_become_more_like_the_fixed_scan(result):
    pictures = result.series["path"]
    assert len(pictures) == int(result.tables["pieces"]) + 1
    fixed = result.problem.fixed.data
    apart = [float((p.data - fixed).square().mean()) for p in pictures]
    assert apart[1] < 0.7 * apart[0] and apart[-1] < apart[1]
    torch.testing.assert_close(pictures[-1].data, result.moved().data, atol=0.5, rtol=0)
    assert all(p.grid.same_as(FIXED) for p in pictures)


def test_the_distance_leaves_the_rough_alignment_out(case, result):
    away = Affine.from_translation([300.0, -200.0])
    grid = case.problem.moving.grid
    moving = replace(
        case.problem.moving,
        grid=Grid(grid.size, grid.spacing, np.add(grid.origin, [300.0, -200.0]), grid.direction),
    )
    problem = replace(case.problem, moving=moving, moving_mask=None, fixed_mask=None, initial_transform=away)
    there = register(problem, initialisation="given")
    near = register(replace(case.problem, moving_mask=None, fixed_mask=None))
    assert there.tables[DISTANCE] == pytest.approx(near.tables[DISTANCE], rel=0.01)


def test_the_distance_grows_with_the_deformation_and_is_nothing_for_equal_scans():
    lengths = []
    for mm in (4.0, 9.0, 16.0):
        lengths.append(register(phantoms.brain(FIXED, FIXED, seed=4, motion_mm=mm).problem).tables[DISTANCE])
    assert lengths == sorted(lengths) and lengths[2] > 1.5 * lengths[0]
    p = phantoms.brain(FIXED, FIXED, seed=4).problem
    assert register(replace(p, moving=p.fixed, moving_mask=p.fixed_mask)).tables[DISTANCE] == 0


@pytest.mark.parametrize("similarity", ["correlation", "mind"])
def test_scans_of_other_brightness_are_compared_by_their_structure(case, similarity):
    shaded = case.problem.moving.grid.world_points()[..., 0] / 200
    moving = case.problem.moving.with_data(case.problem.moving.data * (1.0 + shaded))
    found = register(replace(case.problem, moving=moving), similarity=similarity)
    before = case.errors(Affine.identity(2)).mean()
    assert case.errors(found.transform).mean() < 0.4 * before


def test_steps_at_full_resolution_can_be_left_out(case):
    quick = register(case.problem, fine_iterations=0, pieces=1)
    assert not any("2.8 mm" in name for name in quick.history)
    assert case.errors(quick.transform).mean() < 0.5 * case.errors(Affine.identity(2)).mean()


def test_a_window_upside_down_is_refused(case):
    with pytest.raises(InputError, match="lowest intensity"):
        register(case.problem, intensity_minimum=50.0, intensity_maximum=10.0)
