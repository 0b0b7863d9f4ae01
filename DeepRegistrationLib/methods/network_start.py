"""Whether a network's answer is a better start for the refinement than none, as that of a network which was trained for
other anatomy may not be.

    D(u) = the objective of the instance optimisation (optim/instance.py) without its smoothness, at displacement u

The answer is taken unless D(u) is clearly above D(0), which is the pre-alignment alone. Smoothness does not count, for
the answer is right to bend where anatomy does, and where the refinement adds to it, it costs nothing there; nor would
its weight, which a user may set, then decide between right and wrong. Importing this loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .intensity_window import chosen_window
from .network_parameters import NetworkParameters
from .refinement_parameters import numbers_of

if TYPE_CHECKING:
    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.problem import RegistrationProblem
    from .network_answer import Answer

#: widths of the knots of the refinement before the fine ones, in fine knots: a network's answer, fitted with knots that
#: far apart, is as good a start as with closer ones where it is good, and its errors are smoothed where it is not
COARSE_WIDTHS = (2,)
#: voxels that are looked at: on a coarser grid where the refinement's has more, so that large scans take no longer
_VOXELS = 500_000
#: D(u) is clearly above D(0) from this ratio on, ...
_WORSE = 1.01
#: ... and u leads astray where it shows less than this share of what the pre-alignment shows
_SHOWN = 0.5


def worth_starting_from(
    problem: RegistrationProblem, found: Answer, fixed: Grid, parameters: NetworkParameters, context: Context
) -> Answer:
    """The answer itself, or `found.nothing()`, which the user is told. `fixed` is the upright fixed grid.

    `problem.initial_transform` is the pre-alignment.
    """
    from ..optim.convex_adam import RefinementSettings, coarse_data_energy, landmark_term, mind_features, shared_labels
    from ..optim.working_pair import prepare, working_grid

    tick, initial = context.progress.tick, problem.initial_transform
    finest = working_grid(fixed, parameters.spacing)
    factor = max(1.0, (finest.voxels / _VOXELS) ** (1 / finest.dimension))
    grid = finest if factor == 1 else finest.with_spacing(factor * max(finest.spacing))
    # what is kept is kept in all detail
    width = 1 if parameters.keep_answer else COARSE_WIDTHS[0]
    knots = width * parameters.knots / factor
    settings = numbers_of(parameters, RefinementSettings, grid, context.seed)
    pair = prepare(problem, grid, initial, chosen_window(parameters), tick)
    labels = shared_labels(problem, grid, initial) if settings.segmentation_weight > 0 else None
    landmarks = landmark_term(problem, grid, initial, parameters.landmark_weight)
    features = mind_features(pair, settings, tick)
    nothing = found.nothing()
    (unlike, shown), (before, shown_before) = (
        coarse_data_energy(pair, settings, a.start(grid, settings.diffeomorphic), knots, features, labels, landmarks)
        for a in (found, nothing)
    )
    if shown >= _SHOWN * shown_before and unlike <= _WORSE * before:
        return found
    context.messages.append(
        "The network's answer matches these scans less well than no deformation, so the refinement began without it; "
        "the model may have been trained for other scans."
    )
    return nothing
