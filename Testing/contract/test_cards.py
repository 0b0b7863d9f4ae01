"""A graphics card gives the answer of the processor."""

from __future__ import annotations

from functools import cache

import torch

import phantoms
from contract.cases import Recorder, grid_about, is_linear, only_needed
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.device import with_doubles
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.spec import Capability, MethodSpec, parameters_of
from DeepRegistrationLib.methods import registry
from DeepRegistrationLib.methods.pipeline import register_problem
from phantoms import PhantomCase

#: mean distance between the two answers in mm: networks work in half precision on cards
APART = 0.25


@cache
def _case_and_answer(method: str) -> tuple[PhantomCase, RegistrationProblem, RegistrationResult]:
    """Also the processor's answer; made once a process."""
    spec = registry()[method]
    case = _coarse_head(spec)
    problem = only_needed(case.problem, spec, optional=True)
    return case, problem, _answer(problem, spec, torch.device("cpu"))


def _coarse_head(spec: MethodSpec) -> PhantomCase:
    """Few voxels: what a method does on a card does not depend on how many there are."""
    if Capability.THREE_D in spec.capabilities:
        grids = grid_about((0, 0, 0), (30, 34, 30), (6.0,) * 3), grid_about((2, -3, 1), (32, 34, 28), (6.2, 6.4, 6.6))
    else:
        grids = grid_about((0, 0), (48, 45), (3.2, 3.4)), grid_about((2, -3), (50, 42), (3.0, 3.6))
    return phantoms.brain(*grids, seed=2, motion_mm=4 if is_linear(spec) else 12)


def _answer(problem: RegistrationProblem, spec: MethodSpec, device: torch.device) -> RegistrationResult:
    """The fast one, in few steps, and without a pre-alignment, which methods share."""
    preset = next((p.id for p in spec.presets if p.id == "fast"), None)
    values: dict[str, object] = {
        p.name: 2 for p in parameters_of(spec.parameters) if p.name.endswith(("iterations", "steps"))
    }
    if not is_linear(spec):
        values["initialisation"] = "none"
    return register_problem(problem, spec.id, preset=preset, values=values, context=Context(device, Recorder()))


def test_a_card_gives_the_answer_of_the_processor(spec: MethodSpec, card: torch.device) -> None:
    case, problem, here = _case_and_answer(spec.id)
    there = _answer(problem, spec, card)
    ran_on = with_doubles(card) if spec.doubles else card
    assert there.provenance is not None and there.provenance.device == str(ran_on)
    assert any("double precision" in m for m in there.provenance.messages) == (ran_on != card)
    assert there.transform.device.type == "cpu"
    x = case.body_points(400)
    apart = (here.transform.apply(x) - there.transform.apply(x)).norm(dim=1)
    assert float(apart.mean()) < APART
