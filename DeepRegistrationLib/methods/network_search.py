"""A discrete search that goes on from a network's answer: it finds what the network missed by more than gradients mend.

    start(x) = r(x) + u(x + r(x)),   r = search(fixed, moving o A o (id + u))

u is the answer, fitted with knots far apart: what is wrong in it is wrong in places, and smoothed there. Where u is a
velocity, so is `start`, to first order in r. Importing this loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .intensity_window import chosen_window
from .refinement_parameters import SEARCH_GRID

if TYPE_CHECKING:
    import torch

    from ..core.grid import Grid
    from ..core.problem import RegistrationProblem
    from ..core.progress import Tick
    from ..optim.convex_adam import Features, RefinementSettings
    from ..optim.parametric import Positions
    from .network_answer import Start
    from .network_parameters import NetworkParameters


def searched(
    features: Features,
    labels: tuple[torch.Tensor, torch.Tensor] | None,
    settings: RefinementSettings,
    cells: int,
    tick: Tick,
) -> Start:
    """The displacement in working voxels that a search so many cells far finds; the others are as in `refine`."""
    from ..optim.convex_adam import Settings, search

    wide = Settings(**vars(settings), search_grid=SEARCH_GRID, search_cells=cells, search_both_ways=True)
    return search(features, wide, labels, tick)


def searched_around(
    answer: Start,
    problem: RegistrationProblem,
    grid: Grid,
    parameters: NetworkParameters,
    settings: RefinementSettings,
    width: float,
    tick: Tick,
) -> Start:
    """`start` of the module's docstring on the working `grid`.

    answer  u in voxels of `grid`
    width   of the knots u is fitted with, voxels
    """
    from ..core.sampling import crossings, sample_index
    from ..optim.convex_adam import mind_features, shared_labels
    from ..optim.parametric import SplineField
    from ..optim.spline_transform import spline_transform, voxel_positions
    from ..optim.working_pair import prepare
    from ..transforms import compose

    initial = problem.initial_transform
    u = SplineField.fitted(grid.shape, width, answer, problem.fixed.data.device)
    tick()
    moved = spline_transform(u, grid, grid, settings.diffeomorphic)
    tick()
    total = moved if initial is None else compose(moved, initial)
    pair = prepare(problem, grid, total, chosen_window(parameters), tick)
    labels = shared_labels(problem, grid, total) if settings.segmentation_weight > 0 else None
    features = mind_features(pair, settings, tick)
    del pair
    rest = searched(features, labels, settings, parameters.search_cells, tick)
    dense = u.lattice(voxel_positions(grid, grid, problem.fixed.data.device))

    def start(positions: Positions) -> torch.Tensor:
        r = rest(positions)
        return r + sample_index(dense, crossings(positions) + r.movedim(0, -1), outside=None)

    return start
