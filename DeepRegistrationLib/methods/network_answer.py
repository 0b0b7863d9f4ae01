"""What a network says of one pair of scans, on its grid and in the scans' frames. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.errors import InputError
from .network_models import load_network, working_settings

if TYPE_CHECKING:
    import torch

    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.points import PointSet
    from ..core.problem import RegistrationProblem
    from ..core.transform import Transform
    from ..io.model_cards import Model
    from ..networks.catalogue import Correspondences
    from ..networks.footprint import Footprint
    from ..optim.parametric import Positions

    #: displacement (or velocity) (d, crossings) at crossings of positions along the tensor axes, working voxels
    Start = Callable[[Positions], torch.Tensor]

#: share of the free memory that the network may take
_SHARE = 0.8
#: the network's grid is at most so many times finer than the finest axis of the fixed scan
_FINER = 2.0


@dataclass(frozen=True)
class Answer:
    """What the network found on its own grid: (d, [Z,] Y, X) voxels of it, components x, y[, z]; and the points that it
    matched, where it does so."""

    grid: Grid
    displacement: torch.Tensor
    velocity: torch.Tensor | None
    matched: Correspondences | None = None
    #: whether it says nothing
    empty: bool = False

    def start(self, other: Grid, velocity: bool) -> Start:
        """The answer in voxels of `other`, a grid over the same field of view (edges and axes); its velocity, where
        that is asked and there is one."""
        from ..core.sampling import crossings, sample_index

        field = self.velocity if velocity and self.velocity is not None else self.displacement
        ratio = [n / o for n, o in zip(self.grid.shape, other.shape, strict=True)]
        scale = field.new_tensor([1 / r for r in ratio[::-1]]).reshape(-1, *(1,) * len(ratio))

        def value(positions: Positions) -> torch.Tensor:
            here = [(p + 0.5) * r - 0.5 for p, r in zip(positions, ratio, strict=True)]
            return sample_index(field, crossings(here), outside=None) * scale

        return value

    def nothing(self) -> Answer:
        """No deformation, in place of the answer."""
        import torch

        return Answer(self.grid, torch.zeros_like(self.displacement), None, empty=True)


def network_answer(
    problem: RegistrationProblem, model: Model, fixed: Grid, footprint: Footprint, context: Context
) -> Answer:
    """The network's answer for the pre-aligned pair; `fixed` is the upright fixed grid."""
    import torch

    from ..core.device import available_memory
    from ..networks.inference import predict, tile_that_fits
    from ..optim.working_pair import prepare

    network = load_network(model).to(context.device)
    working, grid = working_settings(model), network_grid(model, fixed)
    context.progress.update(0.02, "Preparing the scans")
    pair = prepare(problem, grid, problem.initial_transform, None, context.progress.tick)
    images = working.normalised(pair.fixed, pair.trust), working.normalised(pair.moving, pair.known)
    trust = pair.trust
    del pair
    free = int(_SHARE * available_memory(context.device))
    tile = tile_that_fits(grid.shape, footprint, free, working.multiple)
    if tile is not None:
        edges = " x ".join(map(str, tile[::-1]))
        context.messages.append(f"Memory is short, so the network worked in overlapping pieces of {edges} voxels.")
    progress = context.progress
    found = predict(
        network, *images, trust, multiple=working.multiple, tile=tile, margin=footprint.margin or 0,
        report=lambda done: progress.update(0.05 + 0.25 * done, "Asking the network"),
    )  # fmt: skip
    if not bool(torch.isfinite(found.displacement).all()):
        raise InputError(
            f"The model {model.id!r} gave numbers that are not finite for these scans; choose another model."
        )
    matched = found.correspondences[0] if found.correspondences else None
    return Answer(grid, found.displacement[0], None if found.velocity is None else found.velocity[0], matched)


def network_grid(model: Model, fixed: Grid) -> Grid:
    """What the model works on, over the field of view of the fixed scan."""
    from ..optim.working_pair import working_grid

    spacing = working_settings(model).spacing
    return working_grid(fixed, None if spacing is None else max(spacing, min(fixed.spacing) / _FINER))


def matched_points(found: Answer, initial: Transform | None) -> dict[str, PointSet]:
    """x_i and A(x_i + u_i): the points that the network matched, LPS mm in the frames of the two scans as they are.

    `initial` is A. What the network found, before any refinement; nothing where it matched no points.
    """
    import torch

    from ..core.grid import apply_matrix_torch
    from ..core.points import PointSet

    if found.matched is None or len(found.matched.fixed) == 0:
        return {}
    fixed, moving = (
        apply_matrix_torch(found.grid.index_to_world, p.cpu().to(torch.float64))
        for p in (found.matched.fixed, found.matched.moving)
    )
    if initial is not None:
        moving = initial.to("cpu").apply(moving)
    return {"fixed_correspondences": PointSet(fixed), "moving_correspondences": PointSet(moving)}
