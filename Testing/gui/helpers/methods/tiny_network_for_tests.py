"""The method of the architecture that `recipes/tiny_recipe.py` trains; nothing runs it."""

from __future__ import annotations

from typing import Any

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.spec import Capability, MethodSpec
from DeepRegistrationLib.methods.network_parameters import parameters_for


def run(problem: Any, parameters: Any, context: Any) -> Any:
    raise InputError("This method is only listed.")


SPEC = MethodSpec(
    id="tiny-for-tests",
    title="Tiny network (tests)",
    description="Is only listed.",
    family="learned",
    paper="",
    doi="",
    parameters=parameters_for("tiny-for-tests"),
    run=run,
    memory=lambda grid, parameters: 1000,
    inputs={},
    capabilities=frozenset({Capability.THREE_D}),
)
