"""Where a registration starts: the automatic pre-alignment of every method. Importing this loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.spec import Choice

if TYPE_CHECKING:
    from ..core.context import Context
    from ..core.problem import RegistrationProblem
    from ..core.transform import Transform
    from ..optim.linear_registration import MakeObjective

#: how -> what a user reads
INITIALISATIONS = Choice(
    {
        "none": "None: the scans already lie on each other",
        "centres": "Centres of the anatomy on each other",
        "moments": "Centres and main axes of the anatomy on each other",
        "rigid": "Automatic: move and turn",
        "affine": "Automatic: move, turn and stretch",
        "landmarks": "From the landmarks",
        "given": "The initial transform that was chosen",
    }
)

#: similarity id -> what a user reads
SIMILARITIES = Choice(
    {
        "ngf": "Edges (any kinds of scan)",
        "lncc": "Local correlation (one kind of scan)",
        "mi": "Mutual information (any kinds of scan)",
    }
)


def prealign(
    problem: RegistrationProblem, how: str, context: Context, similarity: str = "ngf"
) -> Transform | None:
    """The transform (fixed to moving, LPS mm) a method starts from; None stands for the identity.

    how  one of INITIALISATIONS

    Raises InputError for an unknown `how`, or where the landmarks or the transform it needs are missing. Where the
    scans cannot be aligned automatically it falls back to a simpler start and says so in `context.messages`.
    """
    if how not in INITIALISATIONS.titles:
        raise InputError(f"initialisation={how!r} is not one of {', '.join(INITIALISATIONS.titles)}.")
    if how == "none":
        return None
    if how == "given":
        if problem.initial_transform is None:
            raise InputError("initialisation='given' needs an initial transform, but none was given; choose one.")
        return problem.initial_transform
    from ..optim.linear_registration import LinearRegistration, LinearSettings

    settings = LinearSettings(kind="rigid" if how == "rigid" else "affine")
    context.progress.update(0.0, "Aligning roughly")
    registration = LinearRegistration(problem, settings, objective_maker(similarity), context.progress)
    if how == "centres":
        from ..transforms import Affine

        return Affine.from_translation(registration.moving_centre - registration.centre)
    return registration.run().transform


def objective_maker(similarity: str) -> MakeObjective:
    """The objective of linear alignment by id of SIMILARITIES."""
    from ..losses.lncc import lncc_objective
    from ..losses.mutual_information import mi_objective
    from ..losses.ngf import ngf_objective
    from ..ops.gradients import spatial_gradient
    from ..ops.ngf import edge_level

    def make(fixed, moving):  # type: ignore[no-untyped-def]
        if similarity == "lncc":
            return lncc_objective(fixed.values, fixed.weight)
        if similarity == "mi":
            return mi_objective(fixed.values, fixed.weight)
        eta = edge_level(spatial_gradient(moving.values, moving.grid.spacing), moving.weight)
        return ngf_objective(fixed.values, fixed.weight, fixed.grid.spacing, eta)

    return make
