"""The answer belongs to the patients, not to how they were stored or where the room's origin lies."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from contract.cases import (
    in_other_world,
    is_linear,
    only_needed,
    rotation,
    run,
    snapshot,
    solved,
    truth_case,
    with_axes,
)
from DeepRegistrationLib.core.spec import Capability, MethodSpec
from DeepRegistrationLib.transforms import Affine

pytestmark = pytest.mark.needs(Capability.THREE_D)


def test_where_the_patients_lie_and_how_they_are_stored_does_not_matter(spec: MethodSpec) -> None:
    """T'(W x) = W T(x) for a rigid W, whatever the order and direction of the index axes."""
    case = truth_case(is_linear(spec))
    world = Affine(rotation((2, -1, 2), 33), [120.0, -75.0, 210.0])
    problem = in_other_world(only_needed(case.problem, spec), world)
    problem = replace(
        problem,
        fixed=with_axes(problem.fixed, (0, 1, 2), (True, False, True)),
        moving=with_axes(problem.moving, (2, 0, 1), (False, True, False)),
    )
    x = case.body_points()
    there = run(problem, spec).result.transform.apply(world.apply(x))
    here = world.apply(solved(spec.id).result.transform.apply(x))
    apart = (there - here).norm(dim=1)
    assert float(apart.mean()) < 0.25
    assert float(torch.quantile(apart, 0.99)) < 2.0


def test_a_second_run_repeats_the_first_and_leaves_no_trace(spec: MethodSpec) -> None:
    """Bit for bit from the same seed; the global random state and the inputs stay as they were."""
    first = solved(spec.id).result
    problem = only_needed(truth_case(is_linear(spec)).problem, spec)
    before = snapshot(problem)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    again = run(problem, spec).result
    assert torch.equal(torch.get_rng_state(), state), (
        "others' random numbers change because of a registration"
    )
    assert torch.equal(again.transform.displacement(again.grid), first.transform.displacement(first.grid))
    for name, (values, grid) in before.items():
        now = getattr(problem, name)
        assert torch.equal(values, now.points if grid is None else now.data), name
        assert grid is None or now.grid == grid, name
