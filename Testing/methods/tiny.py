"""A method small enough to test everything around a method: it moves centre of mass onto
centre of mass."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from DeepRegistrationLib.core.spec import Capability, Choice, Help, MethodSpec, Need, Preset, Range, Unit


@dataclass(frozen=True)
class Parameters:
    shift: Annotated[float, Range(-50, 50), Unit("mm"), Help("Added along x.")] = 0.0
    seconds: Annotated[float, Range(0, 60), Unit("s"), Help("Time to spend.")] = 0.0
    fail: Annotated[str, Choice({"no": "No", "memory": "Memory", "bug": "Bug"}), Help("How to fail.")] = "no"
    initialisation: Annotated[
        str,
        Choice({"none": "None", "centres": "Centres", "given": "Given", "landmarks": "Landmarks"}),
        Help("Where to start."),
    ] = "none"


def _run(problem, parameters, context):
    import torch

    from DeepRegistrationLib.core.result import RegistrationResult
    from DeepRegistrationLib.transforms import Affine, compose

    steps = max(1, round(parameters.seconds / 0.05))
    for step in range(steps):
        context.progress.update(step / steps, "Moving")
        time.sleep(parameters.seconds / steps)
    if parameters.fail == "memory":
        raise MemoryError
    if parameters.fail == "bug":
        raise RuntimeError("a bug on purpose")
    start = problem.initial_transform or Affine.identity(problem.dimension)
    x, y = _centre(problem.fixed), _centre(problem.moving)
    step = y - start.apply(torch.as_tensor(x)[None])[0].numpy()
    step[0] += parameters.shift
    total = compose(start, Affine.from_translation(step))
    return RegistrationResult(problem, total, inverse=total.inverse().transform)


def _centre(image):
    import torch

    weight = (image.data[0] - image.data.min()).to(torch.float64).reshape(-1)
    points = image.grid.world_points(dtype=torch.float64).reshape(-1, image.dimension)
    return ((weight[:, None] * points).sum(0) / weight.sum()).numpy()


def blob(centre, size=(20, 24, 16), spacing=(1.0, 2.0, 1.5), origin=None):
    """An image of 0..100 with a soft ball about `centre` (LPS mm); as many axes as `centre` has."""
    import torch

    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.image import Image

    d = len(centre)
    grid = Grid(size[:d], spacing[:d], origin)
    distance = ((grid.world_points() - torch.tensor(centre)) ** 2).sum(dim=-1)
    return Image(100 * torch.exp(-distance / 50)[None], grid)


def make_spec(method_id: str = "tiny", memory=lambda grid, parameters: 1000, **changes) -> MethodSpec:
    values = dict(
        id=method_id,
        title="Centre on centre",
        description="Moves the centre of mass.",
        family="tests",
        paper="None",
        doi="",
        parameters=Parameters,
        run=_run,
        memory=memory,
        inputs={"masks": Need.OPTIONAL, "landmarks": Need.OPTIONAL},
        capabilities=frozenset({Capability.THREE_D, Capability.TWO_D, Capability.LINEAR}),
        presets=(Preset("fast", "Quick look", {"shift": 1.0}),),
    )
    return MethodSpec(**{**values, **changes})
