"""Progress, cancelling, provenance and what a result says of itself."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from contract.cases import (
    DEFORMABLE_TRE,
    Recorder,
    has_switch,
    is_linear,
    only_needed,
    run,
    solved,
    truth_case,
)
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.spec import Capability, MethodSpec
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.metrics import evaluate

pytestmark = pytest.mark.needs(Capability.THREE_D)


# first in this file, so that late imports are done when the time between two chances is measured below
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_cancel_is_heard_at_once(spec: MethodSpec, share: float) -> None:
    asked: list[float] = []

    def listener(report) -> None:  # type: ignore[no-untyped-def]
        if report.fraction >= share and not asked:
            asked.append(time.thread_time())

    problem = only_needed(truth_case(is_linear(spec)).problem, spec)
    context = Context(torch.device("cpu"), Progress(listener, lambda: bool(asked)))
    with pytest.raises(Cancelled):
        register_problem(problem, spec.id, context=context)
    assert time.thread_time() - asked[0] < 1.0


def test_progress_goes_forward_to_one(spec: MethodSpec) -> None:
    recorder: Recorder = solved(spec.id).recorder
    told = np.array(recorder.raw)
    assert len(told) >= 10, "a bar that jumps tells nothing"
    assert np.all(np.diff(told) >= -1e-9), "the method reports less than it did before"
    assert told.min() >= 0 and told[-1] == 1.0
    assert np.diff(told).max() < 0.5
    assert all(r.stage.strip() for r in recorder.reports)
    assert all(r.seconds_left is None or r.seconds_left >= 0 for r in recorder.reports)


def test_there_is_a_chance_to_cancel_every_second(spec: MethodSpec) -> None:
    moments = np.array(solved(spec.id).recorder.moments)  # CPU time, so that a busy computer does not matter
    assert np.diff(moments).max() < 1.0


def test_result_lives_in_the_worlds_of_the_problem(spec: MethodSpec) -> None:
    solution = solved(spec.id)
    result, p = solution.result, solution.problem
    assert result.problem is p
    assert result.moved().grid.same_as(p.fixed.grid)
    assert result.jacobian().grid.same_as(p.fixed.grid)
    assert result.transform.dimension == p.dimension
    assert bool(torch.isfinite(result.transform.displacement(p.fixed.grid)).all())
    assert all(m.grid.same_as(p.fixed.grid) for m in result.maps.values())
    assert result.transform.is_linear == is_linear(spec)


def test_space_is_not_folded(spec: MethodSpec) -> None:
    allowed = 0.0 if is_linear(spec) else 0.05  # percent
    assert evaluate(solved(spec.id).result).deformation.jacobian.folding_percent <= allowed


@pytest.mark.needs(Capability.DIFFEOMORPHIC)
def test_diffeomorphic_form_never_folds_and_gives_an_inverse(spec: MethodSpec) -> None:
    case = truth_case(is_linear(spec))
    # what is diffeomorphic always has been asked already
    optional = has_switch(spec, "diffeomorphic")
    made = run(only_needed(case.problem, spec), spec, diffeomorphic=True) if optional else solved(spec.id)
    result = made.result
    assert case.errors(result.transform).mean() < DEFORMABLE_TRE
    assert result.inverse is not None
    e = evaluate(result)
    assert e.deformation.jacobian.folding_percent == 0
    assert e.inverse_consistency is not None and e.inverse_consistency.p95 < 0.1 * min(result.grid.spacing)


def test_provenance_says_how_the_result_came_about(spec: MethodSpec) -> None:
    provenance = solved(spec.id).result.provenance
    assert provenance is not None
    assert provenance.method == spec.id and provenance.device == "cpu" and provenance.seed == 0
    assert provenance.seconds > 0 and provenance.peak_memory_bytes > 0 and provenance.versions
    again = spec.make_parameters(values=json.loads(json.dumps(dict(provenance.parameters))))
    assert again == spec.make_parameters(values={"inverse": True} if has_switch(spec, "inverse") else {})
