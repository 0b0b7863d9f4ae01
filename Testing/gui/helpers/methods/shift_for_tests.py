"""A method for tests of the panel: knows the answer beforehand and takes as long as it is told to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Annotated, Any

from DeepRegistrationLib.core.spec import (
    Advanced,
    Capability,
    Choice,
    Help,
    MethodSpec,
    Need,
    Preset,
    Range,
    Title,
    Unit,
)


@dataclass(frozen=True)
class Parameters:
    initialisation: Annotated[
        str, Choice({"none": "Keep the position", "given": "Given transform"}), Title("Start")
    ] = "none"
    shift: Annotated[
        float, Range(-50, 50, 0.5), Unit("mm"), Title("Shift"), Help("Along the first axis.")
    ] = 0.0
    steps: Annotated[int, Range(1, 10000), Title("Steps"), Help("Reports of progress.")] = 3
    pause: Annotated[float, Range(0, 10), Unit("s"), Title("Pause"), Advanced()] = 0.0
    bend: Annotated[bool, Title("Bend"), Help("A displacement field in place of a shift.")] = False
    end: Annotated[str, Choice({"well": "Well", "killed": "Killed", "broken": "Broken"}), Advanced()] = "well"
    limit: Annotated[float | None, Range(0, 1), Advanced(), Title("Limit")] = None


def run(problem: Any, parameters: Parameters, context: Any) -> Any:
    import numpy as np

    from DeepRegistrationLib.core.result import RegistrationResult
    from DeepRegistrationLib.transforms import Affine
    from DeepRegistrationLib.transforms.compose import as_displacement_field

    print("said by the method")
    for step in range(parameters.steps):
        context.progress.update(step / parameters.steps, "Taking steps")
        time.sleep(parameters.pause)
    if parameters.end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if parameters.end == "broken":
        raise RuntimeError("something broke")
    context.messages.append("A word to the user.")
    transform: Any = Affine(np.eye(3), [parameters.shift, 0.0, 0.0])
    if parameters.bend:
        transform = as_displacement_field(transform, problem.fixed.grid)
    return RegistrationResult(problem=problem, transform=transform)


SPEC = MethodSpec(
    id="shift-for-tests",
    title="Shift (tests)",
    description="Shifts by what it is told.",
    family="tests",
    paper="",
    doi="",
    parameters=Parameters,
    run=run,
    memory=lambda grid, parameters: 1000,
    inputs={"landmarks": Need.OPTIONAL, "segmentations": Need.OPTIONAL},
    capabilities=frozenset({Capability.THREE_D}),
    presets=(
        Preset("lung-ct", "Lungs (CT)", {"shift": 4.0}),
        Preset("brain-mr", "Brain (MR)", {"shift": -4.0, "steps": 5}),
    ),
)
