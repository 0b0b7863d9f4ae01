"""The way every registration takes, whoever asks for it: check, fit into memory, pre-align, run, record.

    T_total = run(problem with initial_transform = prealign(problem))

The method sees a problem that may have been resampled coarser; the transform is in millimetres, so nothing
else changes, and the result always refers to the images as they were given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import DeviceMemoryError, InputError
from ..core.spec import Capability, MethodSpec, parameters_of
from . import registry
from .memory import Plan, coarsened, coarser_working, free_cached, is_out_of_memory, plans
from .peak_memory import PeakMemory

if TYPE_CHECKING:
    from ..core.context import Context
    from ..core.problem import RegistrationProblem
    from ..core.result import RegistrationResult

#: share of the progress bar that a pre-alignment gets, by kind; the others are immediate
_PREALIGN_SHARES = {"moments": 0.05, "rigid": 0.15, "affine": 0.15, "global": 0.3}
_IMMEDIATE = 0.01


def register_problem(
    problem: RegistrationProblem,
    method: str | MethodSpec,
    *,
    preset: str | None = None,
    values: Mapping[str, Any] | None = None,
    context: Context,
) -> RegistrationResult:
    """The transform T with moving(T(x)) like fixed(x), by `method` (an id, or a spec for one that is not
    listed).

    preset   id of one of the method's presets, or None for the defaults
    values   parameters by name; texts are converted
    context  device, progress, seed; sentences for the user are appended to `context.messages`

    The images stay as they are; the result's tensors are on the CPU.
    Raises InputError, DeviceMemoryError, Cancelled.
    """
    from ..core.checks import check_problem

    spec = registry()[method] if isinstance(method, str) else method
    parameters = make_parameters(spec, problem.initial_transform is not None, preset, values)
    context.progress.update(0.0, "Checking the input")
    context.messages.extend(check_problem(problem, spec, parameters))
    context = _where_it_can_run(spec, context)
    begun = time.perf_counter()
    with PeakMemory(context.device) as peak:
        result, used, device = _run_in_memory(problem, spec, parameters, context)
    seconds = time.perf_counter() - begun
    context.progress.update(1.0, "Finished")
    return _finished(result, problem, spec, parameters, context, used, str(device), seconds, peak.bytes)


def _where_it_can_run(spec: MethodSpec, context: Context) -> Context:
    """The context, on the CPU where the method needs what its device lacks; the user is told."""
    from ..core.device import with_doubles

    device = with_doubles(context.device) if spec.doubles else context.device
    if device == context.device:
        return context
    context.messages.append(
        f"{spec.title} needs double precision, which {context.device} does not have, so it ran on the processor."
    )
    return replace(context, device=device)


def make_parameters(
    spec: MethodSpec, with_transform: bool, preset: str | None, values: Mapping[str, Any] | None
) -> Any:
    """The method's parameters. A given initial transform is started from unless the caller said otherwise."""
    values = dict(values or {})
    start = next((p for p in parameters_of(spec.parameters) if p.name == "initialisation"), None)
    if with_transform and start is not None and (start.choice is None or "given" in start.choice.titles):
        values.setdefault("initialisation", "given")
    return spec.make_parameters(preset or None, values)


def _run_in_memory(
    problem: RegistrationProblem, spec: MethodSpec, parameters: Any, context: Context
) -> tuple[RegistrationResult, str, Any]:
    """The result of the finest plan that fits, how it was pre-aligned, and the device it ran on."""
    candidates = plans(problem.fixed.grid, spec, parameters, context.device)
    for number, plan in enumerate(candidates):
        said = plan.sentence()
        here = replace(
            context, device=plan.device, messages=list(context.messages) + ([said] if said else [])
        )
        try:
            result, used = _run_plan(problem, spec, parameters, here, plan)
        except (MemoryError, RuntimeError, DeviceMemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if number + 1 == len(candidates):
                raise DeviceMemoryError(
                    f"{plan.device} ran out of memory for {problem.fixed.grid} with {spec.title}, even at "
                    "the coarsest "
                    "working spacing; crop the images, close other programs or use a larger computer."
                ) from None
            free_cached(plan.device)
            continue
        context.messages[:] = here.messages
        return result, used, plan.device
    raise AssertionError("plans() never returns an empty list")


def _run_plan(
    problem: RegistrationProblem, spec: MethodSpec, parameters: Any, context: Context, plan: Plan
) -> tuple[RegistrationResult, str]:
    working = coarsened(problem, plan)
    if plan.coarser > 1:
        parameters = coarser_working(parameters, plan.spacing)
    how = getattr(parameters, "initialisation", None)
    begin = 0.0
    if how is not None:
        from .initialisation import prealign

        begin = _PREALIGN_SHARES.get(how, _IMMEDIATE)
        linear = Capability.DEFORMABLE not in spec.capabilities
        start = prealign(working, how, context.part(0.0, begin, "Aligning roughly"), thorough=linear)
        working = replace(working, initial_transform=start)
    result = spec.run(working, parameters, context.part(begin, 1.0, spec.title))
    if not _is_finite(result, problem):
        raise InputError(
            f"{spec.title} found no usable alignment (the transform holds numbers that are not finite); "
            "choose another initialisation or a smaller step."
        )
    return result, how or ""


def _is_finite(result: RegistrationResult, problem: RegistrationProblem) -> bool:
    import torch

    corners = torch.as_tensor(problem.fixed.grid.corners)
    points = torch.cat([corners, torch.as_tensor(problem.fixed.grid.centre)[None]])
    return bool(torch.isfinite(result.transform.apply(points)).all())


def _finished(
    result: RegistrationResult,
    problem: RegistrationProblem,
    spec: MethodSpec,
    parameters: Any,
    context: Context,
    initialisation: str,
    device: str,
    seconds: float,
    peak_bytes: int,
) -> RegistrationResult:
    from ..core.result import Provenance
    from .versions import versions

    grid = problem.fixed.grid
    return replace(
        result,
        problem=problem,
        transform=result.transform.to("cpu"),
        inverse=None if result.inverse is None else result.inverse.to("cpu"),
        maps={name: image.to("cpu").resampled(grid) for name, image in result.maps.items()},
        series={name: [i.to("cpu").resampled(grid) for i in images] for name, images in result.series.items()},
        points={name: points.to("cpu") for name, points in result.points.items()},
        alternatives=[replace(a, transform=a.transform.to("cpu")) for a in result.alternatives],
        provenance=Provenance(
            method=spec.id,
            parameters=asdict(parameters),
            seed=context.seed,
            device=device,
            versions=versions(),
            seconds=seconds,
            peak_memory_bytes=peak_bytes,
            initialisation=initialisation,
            weights_sha256=result.provenance.weights_sha256 if result.provenance else None,
            messages=tuple(context.messages),
        ),
    )
