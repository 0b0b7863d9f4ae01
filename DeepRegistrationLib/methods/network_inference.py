"""How every method with a network runs: model -> working grid -> network -> instance optimisation -> transform.

    T(x) = A(x + u(x)),   u = network(fixed, moving o A), then refined for this pair

A is the automatic pre-alignment. The network works on a grid of its own, upright and at the resolution of its card;
its answer is where the instance optimisation of convex-adam (optim/convex_adam.py) starts, on a grid at the resolution
of the scans. Where the network's answer matches the scans less well than no deformation, as that of a network trained
for other anatomy may, the optimisation starts without it. Importing this loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.spec import Capability, MethodSpec, Need, Preset
from ..networks.footprint import Footprint
from .intensity_window import chosen_window
from .network_models import chosen_model, load_network, weights_provenance, working_settings
from .network_parameters import NetworkParameters, parameters_for
from .refinement_parameters import automatic_dilation

if TYPE_CHECKING:
    import torch

    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.problem import RegistrationProblem
    from ..core.result import RegistrationResult
    from ..core.transform import Transform
    from ..core.upright import AxisOrder
    from ..io.model_cards import Model
    from ..optim.convex_adam import Features, RefinementSettings
    from ..optim.parametric import Positions
    from ..optim.working_pair import WorkingPair

    #: displacement (or velocity) (d, crossings) at crossings of positions along the tensor axes, working voxels
    Start = Callable[[Positions], torch.Tensor]

#: widths of the knots of the refinement before the fine ones, in fine knots: a network's answer, fitted with knots that
#: far apart, is as good a start as with closer ones where it is good, and its errors are smoothed where it is not
COARSE_WIDTHS = (2,)
#: share of the free memory that the network may take
_SHARE = 0.8
#: voxels along each edge of the pieces that the memory estimate counts on, where a network may work in pieces
_PIECE = 128
#: the network's grid is at most so many times finer than the finest axis of the fixed scan
_FINER = 2.0


def learned_spec(
    architecture: str,
    *,
    title: str,
    description: str,
    paper: str,
    doi: str,
    footprint: Footprint,
    defaults: Mapping[str, Any] | None = None,
    presets: Sequence[Preset] = (),
    capabilities: Iterable[Capability] = (),
    parameters: type = NetworkParameters,
) -> MethodSpec:
    """The declaration of an architecture's method, which `run_network` runs; its id is the architecture's.

    defaults      of the shared parameters, where the method has others than NetworkParameters
    capabilities  besides those every such method has: 3-D, deformable, diffeomorphic (on demand), inverse
    parameters    NetworkParameters, or a frozen dataclass that adds fields to it
    """
    return MethodSpec(
        id=architecture,
        title=title,
        description=description,
        family="learned",
        paper=paper,
        doi=doi,
        parameters=parameters_for(architecture, defaults, parameters),
        run=partial(run_network, architecture=architecture, footprint=footprint),
        memory=partial(network_memory, footprint=footprint),
        inputs={
            "fixed_mask": Need.OPTIONAL,
            "moving_mask": Need.OPTIONAL,
            "fixed_segmentation": Need.OPTIONAL,
            "moving_segmentation": Need.OPTIONAL,
            "fixed_landmarks": Need.OPTIONAL,
            "moving_landmarks": Need.OPTIONAL,
            "initial_transform": Need.OPTIONAL,
        },
        capabilities=frozenset(
            {
                Capability.THREE_D,
                Capability.DEFORMABLE,
                Capability.DIFFEOMORPHIC,
                Capability.INVERSE,
                *capabilities,
            }
        ),
        presets=presets,
    )


def run_network(
    problem: RegistrationProblem,
    parameters: NetworkParameters,
    context: Context,
    architecture: str,
    footprint: Footprint,
) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it.

    Raises InputError where no model is installed or its folder is damaged; DeviceMemoryError; Cancelled.
    """
    from ..core.result import RegistrationResult
    from ..core.upright import upright
    from ..transforms import compose

    context.progress.update(0.0, "Reading the model")
    model = chosen_model(architecture, parameters.model)
    on_device = problem.to(context.device)
    axes = upright(problem.fixed.grid)
    fixed = axes.grid(problem.fixed.grid)
    initial = problem.initial_transform
    found = _network_answer(on_device, model, fixed, footprint, context)

    history: dict[str, list[float]] = {}
    if parameters.refine:
        part = replace(context, progress=context.progress.part(0.3, 0.9))
        keep = parameters.keep_answer and not parameters.diffeomorphic
        refined = _refined_further if keep else _refined
        warp, history = refined(on_device, found, fixed, parameters, part)
    else:
        warp = _as_it_is(found, fixed, parameters, model)
    context.progress.update(0.9, "Writing down the deformation")
    total = _stored_as(warp, problem.fixed.grid, axes)
    total = total if initial is None else compose(total, initial)
    tables: dict[str, float] = {}
    inverse = None
    if parameters.inverse or parameters.diffeomorphic:
        context.progress.update(0.95, "Inverting")
        inverse, tables["inverse residual (mm)"] = total.inverse(context.progress.tick)
    context.progress.update(1.0)
    said = weights_provenance(model, context)
    return RegistrationResult(problem, total, inverse, tables=tables, history=history, provenance=said)


@dataclass(frozen=True)
class Answer:
    """What the network found on its own grid: (d, [Z,] Y, X) voxels of it, components x, y[, z]."""

    grid: Grid
    displacement: torch.Tensor
    velocity: torch.Tensor | None

    def start(self, other: Grid, velocity: bool) -> Start:
        """The answer in voxels of `other`, a grid over the same field of view (edges and axes); its velocity, where
        that is asked and there is one."""
        import torch

        from ..core.sampling import sample_index

        field = self.velocity if velocity and self.velocity is not None else self.displacement
        ratio = [n / o for n, o in zip(self.grid.shape, other.shape, strict=True)]
        scale = field.new_tensor([1 / r for r in ratio[::-1]]).reshape(-1, *(1,) * len(ratio))

        def value(positions: Positions) -> torch.Tensor:
            here = [(p + 0.5) * r - 0.5 for p, r in zip(positions, ratio, strict=True)]
            points = torch.stack(torch.meshgrid(*here, indexing="ij")[::-1], dim=-1)
            return sample_index(field, points, outside=None) * scale

        return value


def _network_answer(
    problem: RegistrationProblem, model: Model, fixed: Grid, footprint: Footprint, context: Context
) -> Answer:
    """The network's answer for the pre-aligned pair; `fixed` is the upright fixed grid."""
    import torch

    from ..core.device import available_memory
    from ..networks.inference import predict, tile_that_fits
    from ..optim.working_pair import prepare, working_grid

    network = load_network(model).to(context.device)
    working = working_settings(model)
    spacing = None if working.spacing is None else max(working.spacing, min(fixed.spacing) / _FINER)
    grid = working_grid(fixed, spacing)
    context.progress.update(0.02, "Preparing the scans")
    pair = prepare(problem, grid, problem.initial_transform, None, context.progress.tick)
    images = working.normalised(pair.fixed, pair.trust), working.normalised(pair.moving, pair.known)
    trust = pair.trust
    del pair
    free = int(_SHARE * available_memory(context.device))
    tile = tile_that_fits(grid.shape, footprint, free, working.multiple)
    if tile is not None:
        context.messages.append(f"Memory is short, so the network worked in overlapping pieces of {tile} voxels.")
    progress = context.progress
    found = predict(
        network, *images, trust, multiple=working.multiple, tile=tile, margin=footprint.margin or 0,
        report=lambda done: progress.update(0.05 + 0.25 * done, "Asking the network"),
    )  # fmt: skip
    if not bool(torch.isfinite(found.displacement).all()):
        raise InputError(
            f"The model {model.id!r} gave numbers that are not finite for these scans; choose another model."
        )
    return Answer(grid, found.displacement[0], None if found.velocity is None else found.velocity[0])


def _refined(
    problem: RegistrationProblem, found: Answer, fixed: Grid, parameters: NetworkParameters, context: Context
) -> tuple[Transform, dict[str, list[float]]]:
    """The network's answer after instance optimisation, on the upright fixed grid; the objective by stage."""
    from ..optim.convex_adam import landmark_term, mind_features, refine, shared_labels
    from ..optim.spline_transform import spline_transform
    from ..optim.working_pair import prepare, working_grid

    progress, initial = context.progress, problem.initial_transform
    grid = working_grid(fixed, parameters.spacing)
    settings = _settings(parameters, grid, context.seed)
    progress.update(0.0, "Preparing the scans")
    pair = prepare(problem, grid, initial, chosen_window(parameters), progress.tick)
    labels = shared_labels(problem, grid, initial) if settings.segmentation_weight > 0 else None
    landmarks = landmark_term(problem, grid, initial, parameters.landmark_weight)
    progress.update(0.05, "Computing features")
    features = mind_features(pair, settings, progress.tick)
    start = _worth_starting_from(found.start(grid, settings.diffeomorphic), pair, features, settings, context)
    widths = COARSE_WIDTHS if settings.coarse_iterations > 0 else ()
    spline, history = refine(
        pair, settings, progress.part(0.15, 1.0), start, features, labels, landmarks, widths=widths
    )
    return spline_transform(spline, grid, fixed, settings.diffeomorphic), history


def _refined_further(
    problem: RegistrationProblem, found: Answer, fixed: Grid, parameters: NetworkParameters, context: Context
) -> tuple[Transform, dict[str, list[float]]]:
    """As `_refined`, but r of T(x) = A(y + u(y)), y = x + r(x), is optimised and weighed by its smoothness, u kept."""
    import torch

    from ..transforms import DisplacementField, compose

    value = found.start(fixed, False)(_voxels(fixed, found))
    kept = DisplacementField.from_index_displacement(value, fixed)
    initial = problem.initial_transform
    after = replace(problem, initial_transform=kept if initial is None else compose(kept, initial))
    nothing = Answer(found.grid, torch.zeros_like(found.displacement), None)
    rest, history = _refined(after, nothing, fixed, parameters, context)
    return DisplacementField(compose(rest, kept).displacement(fixed), fixed), history


def _voxels(fixed: Grid, found: Answer) -> Positions:
    from ..optim.spline_transform import voxel_positions

    return voxel_positions(fixed, fixed, found.displacement.device)


def _worth_starting_from(
    start: Start, pair: WorkingPair, features: Features, settings: RefinementSettings, context: Context
) -> Start:
    """The network's answer, or none where it matches the scans less well than that."""
    import torch

    from ..optim.instance import mismatch
    from ..optim.parametric import SplineField

    def nothing(positions: Positions) -> torch.Tensor:
        return torch.zeros(len(positions), *(len(p) for p in positions), device=pair.fixed.device)

    def unlike(value: Start) -> float:
        knots = COARSE_WIDTHS[0] * settings.knots
        spline = SplineField.fitted(pair.fixed.shape, knots, value, pair.fixed.device)
        return mismatch(features.term(1.0, knots), spline, settings.diffeomorphic)

    if unlike(start) <= unlike(nothing):
        return start
    context.messages.append(
        "The network's answer matches these scans less well than no deformation, so the refinement began without it; "
        "the model may have been trained for other scans."
    )
    return nothing


def _settings(parameters: NetworkParameters, grid: Grid, seed: int) -> RefinementSettings:
    from ..optim.convex_adam import FLOW_SMOOTHNESS, RefinementSettings

    values = {f.name: getattr(parameters, f.name) for f in fields(RefinementSettings) if f.name != "seed"}
    if parameters.mind_dilation is None:
        values["mind_dilation"] = automatic_dilation(min(grid.spacing))
    if parameters.diffeomorphic:
        values["smoothness"] *= FLOW_SMOOTHNESS
    return RefinementSettings(**values, seed=seed)


def _as_it_is(found: Answer, fixed: Grid, parameters: NetworkParameters, model: Model) -> Transform:
    """The network's own answer: its velocity where it has one, else its displacement on the upright fixed grid."""
    from ..transforms import DisplacementField, VelocityField

    if found.velocity is not None:
        return VelocityField(DisplacementField.from_index_displacement(found.velocity, found.grid).field, found.grid)
    if parameters.diffeomorphic:
        raise InputError(
            f"The network {model.id!r} gives a displacement, which may fold; switch the refinement on, or "
            "'never fold' off."
        )
    value = found.start(fixed, False)(_voxels(fixed, found))
    return DisplacementField.from_index_displacement(value, fixed)


def _stored_as(warp: Transform, fixed: Grid, axes: AxisOrder) -> Transform:
    """A displacement on the upright fixed grid, on the fixed grid as it is stored; anything else stays."""
    from ..transforms import DisplacementField

    return DisplacementField(axes.back(warp.field).contiguous(), fixed) if isinstance(warp, DisplacementField) else warp


def network_memory(size: tuple[int, ...], parameters: NetworkParameters, footprint: Footprint) -> int:
    """Bytes: the scans on the working grid, and then the network (by pieces where it may) or the refinement."""
    voxels = math.prod(float(n) for n in size)
    channels = 12 if len(size) == 3 else 4
    at_once = voxels if footprint.margin is None else min(voxels, float(_PIECE ** len(size)))
    network = footprint.bytes_per_voxel * at_once + 4 * 12 * voxels
    refinement = 4 * voxels * (channels + 2 * channels / 2 ** len(size) + 10 + 3) if parameters.refine else 0.0
    return int(max(network, refinement)) + 300_000_000
