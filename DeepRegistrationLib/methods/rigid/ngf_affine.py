"""Rigid, similarity or affine alignment by normalised gradient fields, local correlation or mutual
information.

Paper: T. Mok and A. Chung, Large deformation image registration with anatomy-aware Laplacian pyramid
networks, 2021, doi:10.1007/978-3-030-71827-5_7: task 1 is aligned rigidly (6 degrees of freedom) with the
normalised gradient field and L-BFGS. Differs from the paper: the start is searched for over all translations
and some rotations, stretch is penalised, affine and other similarities are offered, and fields of view may
differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..initialisation import INITIALISATIONS, SIMILARITIES

if TYPE_CHECKING:
    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult
    from ...core.transform import Transform

_TRANSFORMS = Choice(
    {
        "rigid": "Move and turn (one patient)",
        "similarity": "Move, turn and one scale",
        "affine": "Move, turn and stretch (two patients)",
    }
)


@dataclass(frozen=True)
class Parameters:
    """Settings of ngf-affine."""

    transform: Annotated[str, _TRANSFORMS, Title("Motion"), Help("How the moving scan may be changed.")] = (
        "affine"
    )
    similarity: Annotated[
        str,
        SIMILARITIES,
        Title("Compared by"),
        Help("Edges are fastest; mutual information is surest for different kinds of scan."),
    ] = "ngf"
    initialisation: Annotated[
        str,
        INITIALISATIONS,
        Title("Start"),
        Help("Automatic looks everywhere for the start; the others go on from where they say."),
    ] = "rigid"
    spacing: Annotated[
        float | None,
        Range(0.0001, 100.0, 0.5),
        Unit("mm"),
        Title("Finest working spacing"),
        Help("Left empty it is chosen from the size of the scan."),
        Advanced(),
    ] = None
    levels: Annotated[
        int,
        Range(1, 5, 1),
        Title("Levels"),
        Help("Working spacings, each twice as coarse as the next."),
        Advanced(),
    ] = 2
    iterations: Annotated[
        int, Range(1, 300, 10), Title("Iterations"), Help("At most so many steps at every level."), Advanced()
    ] = 40
    stiffness: Annotated[
        float, Range(0.0, 100.0, 0.05), Title("Stiffness"), Help("Resistance to stretch."), Advanced()
    ] = 0.1


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """T from `problem.initial_transform` (the identity where None) downhill, and its exact inverse.

    With initialisation `rigid` or `affine` the start is already the outcome of the search; this refines it.
    """
    from ...core.result import RegistrationResult
    from ...optim.linear_registration import LinearSettings
    from ..initialisation import linear_registration

    settings = LinearSettings(
        kind=parameters.transform,
        spacing=parameters.spacing,
        levels=parameters.levels,
        iterations=parameters.iterations,
        search=False,
        stiffness=parameters.stiffness,
    )
    context.progress.update(0.0, "Aligning")
    start = problem.initial_transform
    if start is not None and parameters.initialisation == "affine" and parameters.transform != "affine":
        start = _without_stretch(start, problem.fixed.grid)
    outcome = linear_registration(problem, settings, parameters.similarity, context).run(start)
    if outcome.overlap < 0.2:
        context.messages.append(
            f"Only {100 * outcome.overlap:.0f} % of the fixed anatomy lies over the moving scan after the "
            "alignment; look at the result before using it, or start from landmarks."
        )
    return RegistrationResult(
        problem=problem,
        transform=outcome.transform,
        inverse=outcome.transform.inverse().transform,
        tables={"similarity score before": outcome.score_before, "similarity score after": outcome.score},
        history=outcome.history,
    )


def _without_stretch(start: Transform, grid: Grid) -> Transform:
    """The rigid motion nearest to `start` over the field of view."""
    import torch

    from ...optim.linear_landmarks import fit_points

    return fit_points(grid.corners, start.apply(torch.as_tensor(grid.corners)).numpy(), "rigid")


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: some 60 numbers a working voxel (levels, gradients, what back-propagation keeps) and one slab of
    the full-resolution image as float."""
    working = grid.voxels if parameters.spacing is not None else min(grid.voxels, 260_000)
    return 4 * (60 * working + min(grid.voxels, 8_000_000))


SPEC = MethodSpec(
    id="ngf-affine",
    title="Rigid and affine",
    description="Moves, turns and stretches one scan onto the other; works between different kinds of scan.",
    family="Rigid and affine",
    paper="Mok and Chung, Large deformation image registration with anatomy-aware Laplacian pyramid "
    "networks, 2021",
    doi="10.1007/978-3-030-71827-5_7",
    parameters=Parameters,
    run=run,
    memory=memory,
    inputs={
        "fixed_mask": Need.OPTIONAL,
        "moving_mask": Need.OPTIONAL,
        "fixed_landmarks": Need.OPTIONAL,
        "moving_landmarks": Need.OPTIONAL,
        "initial_transform": Need.OPTIONAL,
    },
    capabilities=frozenset(
        {
            Capability.TWO_D,
            Capability.THREE_D,
            Capability.MULTIMODAL,
            Capability.LINEAR,
            Capability.INVERSE,
        }
    ),
    presets=(
        Preset("lung-ct", "Lungs (CT)", {"initialisation": "rigid"}),
        Preset("brain-mr", "Brain (MR)", {"initialisation": "affine"}),
        Preset("abdomen-ct", "Abdomen (CT)", {"initialisation": "rigid"}),
        Preset("head-neck-ct", "Head and neck (CT)", {"initialisation": "affine"}),
        Preset(
            "multimodal",
            "Different kinds of scan (CT/MR/PET)",
            {"transform": "rigid", "initialisation": "rigid", "similarity": "mi"},
        ),
        Preset("fast", "Quick look", {"levels": 1, "iterations": 15}),
    ),
)
