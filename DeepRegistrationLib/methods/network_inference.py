"""How every method with a network runs: model -> working grid -> network -> instance optimisation -> transform.

    T(x) = A(x + u(x)),   u = network(fixed, moving o A), then refined for this pair

A is the automatic pre-alignment. The network works on a grid of its own, upright and at the resolution of its card;
its answer (network_answer.py) is where the instance optimisation of convex-adam (optim/convex_adam.py) starts, on a
grid at the resolution of the scans, or what it adds to; one that is worse than none is left out (network_start.py).
Before it, a search may look for what the network missed (network_search.py).
Importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.spec import Capability, MethodSpec, Need, Preset
from ..networks.footprint import Footprint
from .intensity_window import chosen_window
from .memory import refinement_bytes
from .network_answer import Answer, matched_points, network_answer, network_grid
from .network_models import chosen_model, weights_provenance
from .network_parameters import NetworkParameters, parameters_for
from .network_search import searched, searched_around
from .network_start import COARSE_WIDTHS, worth_starting_from
from .refinement_parameters import numbers_of

if TYPE_CHECKING:
    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.problem import RegistrationProblem
    from ..core.result import RegistrationResult
    from ..core.transform import Transform
    from ..core.upright import AxisOrder
    from ..io.model_cards import Model
    from ..optim.parametric import Positions

#: voxels along each edge of the pieces that the memory estimate counts on, where a network may work in pieces
_PIECE = 128


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
        memory=partial(network_memory, architecture=architecture, footprint=footprint),
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

    The result has the points "fixed_correspondences" and "moving_correspondences" where the network matched some: what
    it found, which the refinement does not change, so that T takes them near their partners, not onto them.

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
    answer = network_answer(on_device, model, fixed, footprint, context)
    if model.settings.get("segments_only") and problem.fixed_mask is None:
        context.messages.append(
            "The model knows what it learned inside of organs only; with a mask of them (the lungs, for the model that "
            "comes with the method) in the fixed scan its answer is better."
        )

    history: dict[str, list[float]] = {}
    if parameters.refine:
        context.progress.update(0.3, "Looking at the network's answer")
        found = worth_starting_from(on_device, answer, fixed, parameters, context)
        part = replace(context, progress=context.progress.part(0.32, 0.9))
        keep = parameters.keep_answer and not parameters.diffeomorphic and found is answer
        refined = _refined_further if keep else _refined
        warp, history = refined(on_device, found, fixed, parameters, part)
    else:
        found = answer
        warp = _as_it_is(found, fixed, parameters, model)
    points = matched_points(found, initial)
    if points and parameters.refine:
        count = len(points["fixed_correspondences"])
        context.messages.append(f"The {count} pairs of points are what the network found, before the refinement.")
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
    return RegistrationResult(
        problem, total, inverse, tables=tables, history=history, points=points, provenance=said
    )


def _refined(
    problem: RegistrationProblem, found: Answer, fixed: Grid, parameters: NetworkParameters, context: Context
) -> tuple[Transform, dict[str, list[float]]]:
    """The network's answer after instance optimisation, on the upright fixed grid; the objective by stage."""
    from ..optim.convex_adam import (
        WIDTHS,
        RefinementSettings,
        landmark_term,
        mind_features,
        refine,
        shared_labels,
    )
    from ..optim.spline_transform import spline_transform
    from ..optim.working_pair import prepare, working_grid

    progress, initial = context.progress, problem.initial_transform
    grid = working_grid(fixed, parameters.spacing)
    settings = numbers_of(parameters, RefinementSettings, grid, context.seed)
    progress.update(0.0, "Preparing the scans")
    pair = prepare(problem, grid, initial, chosen_window(parameters), progress.tick)
    labels = shared_labels(problem, grid, initial) if settings.segmentation_weight > 0 else None
    landmarks = landmark_term(problem, grid, initial, parameters.landmark_weight)
    progress.update(0.05, "Computing features")
    features = mind_features(pair, settings, progress.tick)
    start = found.start(grid, settings.diffeomorphic)
    widths: Sequence[int] = COARSE_WIDTHS
    if parameters.search_cells > 0:
        progress.update(0.1, "Searching large motion")
        if found.empty:
            start = searched(features, labels, settings, parameters.search_cells, progress.tick)
        else:
            width = COARSE_WIDTHS[0] * settings.knots
            start = searched_around(start, problem, grid, parameters, settings, width, progress.tick)
        widths = WIDTHS
    if settings.coarse_iterations == 0:
        widths = ()
    spline, history = refine(
        pair, settings, progress.part(0.15, 1.0), start, features, labels, landmarks, widths=widths
    )
    return spline_transform(spline, grid, fixed, settings.diffeomorphic), history


def _refined_further(
    problem: RegistrationProblem, found: Answer, fixed: Grid, parameters: NetworkParameters, context: Context
) -> tuple[Transform, dict[str, list[float]]]:
    """As `_refined`, but r of T(x) = A(y + u(y)), y = x + r(x), is optimised and weighed by its smoothness, u kept."""
    from ..transforms import DisplacementField, compose

    value = found.start(fixed, False)(_voxels(fixed, found))
    kept = DisplacementField.from_index_displacement(value, fixed)
    initial = problem.initial_transform
    after = replace(problem, initial_transform=kept if initial is None else compose(kept, initial))
    rest, history = _refined(after, found.nothing(), fixed, parameters, context)
    return DisplacementField(compose(rest, kept).displacement(fixed), fixed), history


def _voxels(fixed: Grid, found: Answer) -> Positions:
    from ..optim.spline_transform import voxel_positions

    return voxel_positions(fixed, fixed, found.displacement.device)


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


def network_memory(fixed: Grid, parameters: NetworkParameters, architecture: str, footprint: Footprint) -> int:
    """Bytes: the scans on the working grid of the chosen model, and then the network (by pieces where it may) or the
    refinement. Without a model, as if it worked on the fixed grid."""
    from ..optim.working_pair import working_grid

    voxels = float(fixed.voxels)
    try:
        seen = float(network_grid(chosen_model(architecture, parameters.model), fixed).voxels)
    except InputError:  # which the run says
        seen = voxels
    at_once = seen if footprint.margin is None else min(seen, float(_PIECE**fixed.dimension))
    network = footprint.bytes_per_voxel * at_once + 4 * 10 * seen + 4 * 2 * voxels
    refinement = 0.0
    if parameters.refine:
        refinement = refinement_bytes(fixed, parameters.spacing) + 4 * 3 * voxels
        if parameters.search_cells > 0:  # another pair with its pooled features, and the answer
            refinement += 4 * 9 * working_grid(fixed, parameters.spacing).voxels
    return int(max(network, refinement)) + 300_000_000
