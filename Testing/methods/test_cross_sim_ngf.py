"""cross-sim-ngf as a method: its answers, in order, with scores; a first try; what it says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.optim.rotations import random_rotations
from DeepRegistrationLib.transforms import Affine


@cache
def known() -> phantoms.PhantomCase:
    """Two slices of one head in any orientation to each other."""
    plane = Grid((90, 84), (2.4, 2.5), (-106.0, -104.0))
    turn = random_rotations(1, 2, torch.Generator().manual_seed(8))[0]
    place = Affine.about((0, 0), turn, (18.0, -22.0))
    return phantoms.brain(plane, plane, motion_mm=0.0, contrast=("T1", "PD"), placement=place)


def run(problem: RegistrationProblem, messages: list[str] | None = None, **values: object) -> RegistrationResult:
    context = Context(torch.device("cpu"), messages=[] if messages is None else messages)
    return register_problem(problem, "cross-sim-ngf", values=values, context=context)


def bare() -> RegistrationProblem:
    p = known().problem
    return RegistrationProblem(p.fixed, p.moving)


@cache
def solved() -> RegistrationResult:
    return run(bare(), answers=4)


def test_the_first_answer_is_the_transform_and_the_others_follow_by_score() -> None:
    result = solved()
    assert known().errors(result.transform).mean() < 1.5
    assert 1 < len(result.alternatives) <= 4
    assert result.alternatives[0].transform is result.transform or np.array_equal(
        result.alternatives[0].transform.homogeneous, result.transform.homogeneous  # type: ignore[attr-defined]
    )
    scores = [a.scores["match"] for a in result.alternatives]
    assert scores == sorted(scores, reverse=True)
    for answer in result.alternatives:
        assert set(answer.scores) == {"match", "edges", "overlap"}
        assert "degrees" in answer.title


def test_answers_differ_from_each_other() -> None:
    x = known().body_points(500)
    placed = [a.transform.apply(x) for a in solved().alternatives]
    for i, one in enumerate(placed):
        for other in placed[i + 1 :]:
            assert float((one - other).norm(dim=1).mean()) > 10


def test_as_many_answers_as_asked() -> None:
    assert len(run(bare(), answers=1).alternatives) == 1


def test_inverse_is_exact() -> None:
    result, x = solved(), known().body_points(100)
    assert result.inverse is not None
    assert torch.allclose(result.inverse.apply(result.transform.apply(x)), x, atol=1e-9)


def test_a_restricted_turn_counts_from_the_first_try() -> None:
    truth = known().true_transform
    assert isinstance(truth, Affine)
    near = Affine.about((0, 0), random_rotations(1, 2, torch.Generator().manual_seed(8))[0], (0.0, 0.0))
    problem = replace(bare(), initial_transform=near)
    found = run(problem, largest_angle=20.0, initialisation="given")
    assert known().errors(found.transform).mean() < 1.5


def test_another_seed_finds_the_same_place() -> None:
    context = Context(torch.device("cpu"), seed=5)
    other = register_problem(bare(), "cross-sim-ngf", context=context)
    x = known().body_points(500)
    assert float((other.transform.apply(x) - solved().transform.apply(x)).norm(dim=1).mean()) < 0.3


def test_a_second_answer_as_good_as_the_first_is_said() -> None:
    """A cross looks the same after every quarter turn."""
    plane = Grid((64, 64), (2.0, 2.0), (-63.0, -63.0))
    x, y = plane.world_points().unbind(-1)
    cross = (torch.minimum(x.abs(), y.abs()) < 9) & (torch.maximum(x.abs(), y.abs()) < 46)
    generator = torch.Generator().manual_seed(0)
    noisy = [100.0 * cross + 3 * torch.randn(cross.shape, generator=generator) for _ in range(2)]
    image = known().problem.fixed
    problem = RegistrationProblem(*(replace(image, data=v[None], grid=plane) for v in noisy))
    messages: list[str] = []
    result = run(problem, messages)
    assert len(result.alternatives) > 1
    assert any("matches nearly as well" in m for m in messages)
    angles = [float(np.degrees(np.arctan2(*a.transform.matrix.numpy()[1::-1, 0]))) for a in result.alternatives]  # type: ignore[attr-defined]
    assert all(abs(a - 90 * round(a / 90)) < 2 for a in angles)


@pytest.mark.parametrize("method", ["ngf-affine", "convex-adam"])
def test_every_method_can_start_from_it(method: str) -> None:
    from DeepRegistrationLib.core.spec import parameters_of
    from DeepRegistrationLib.methods import registry

    start = next(p for p in parameters_of(registry()[method].parameters) if p.name == "initialisation")
    assert start.choice is not None and "global" in start.choice.titles


def test_an_affine_alignment_started_from_everywhere() -> None:
    context = Context(torch.device("cpu"))
    values = {"initialisation": "global", "transform": "rigid"}
    result = register_problem(bare(), "ngf-affine", values=values, context=context)
    assert result.provenance is not None and result.provenance.initialisation == "global"
    assert known().errors(result.transform).mean() < 1.5
