"""Where a registration starts: the automatic pre-alignment of every method. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.spec import Choice

if TYPE_CHECKING:
    from ..core.context import Context
    from ..core.problem import RegistrationProblem
    from ..core.transform import Transform
    from ..optim.global_search import Found, SearchSettings
    from ..optim.linear_engine import Objective
    from ..optim.linear_images import Scan
    from ..optim.linear_registration import LinearRegistration, LinearSettings, MakeObjective

#: how -> what a user reads
INITIALISATIONS = Choice(
    {
        "none": "None: the scans already lie on each other",
        "centres": "Centres of the anatomy on each other",
        "moments": "Centres and main axes of the anatomy on each other",
        "rigid": "Automatic: move and turn",
        "affine": "Automatic: move, turn and stretch",
        "global": "Automatic: look in every orientation (slower)",
        "landmarks": "From the landmarks",
        "given": "The initial transform that was chosen",
    }
)

#: similarity -> what a user reads
SIMILARITIES = Choice(
    {
        "ngf": "Edges (any kinds of scan)",
        "lncc": "Local correlation (one kind of scan)",
        "mi": "Mutual information (any kinds of scan)",
    }
)

#: share of the mean gradient that still counts as an edge where all orientations are compared, by dimension: soft
#: tissue in a CT decides between answers, and a picture has fewer pixels for its noise to cancel out in
_FAINT = {2: 0.05, 3: 0.01}
#: a second answer with this share of the best one's score is worth a word
_NEARLY = 0.97


def prealign(
    problem: RegistrationProblem,
    how: str,
    context: Context,
    similarity: str | None = None,
    *,
    thorough: bool = False,
) -> Transform | None:
    """The transform (fixed to moving, LPS mm) a method starts from; None stands for the identity.

    how         one of INITIALISATIONS
    similarity  one of SIMILARITIES; None chooses by `automatic_similarity`
    thorough    as accurate as the answer of a linear method has to be; off: half the time, for those who deform after

    Raises InputError for an unknown `how`, or where the landmarks or the transform it needs are missing.
    Where the scans cannot be aligned automatically it falls back to a simpler start and says so in
    `context.messages`.
    """
    if how not in INITIALISATIONS.titles:
        raise InputError(f"initialisation={how!r} is not one of {', '.join(INITIALISATIONS.titles)}.")
    if how == "none":
        return None
    if how == "given":
        if problem.initial_transform is None:
            raise InputError(
                "initialisation='given' needs an initial transform, but none was given; choose one."
            )
        return problem.initial_transform
    if how == "landmarks":
        return _from_landmarks(problem)
    if how == "global":
        context.progress.update(0.0, "Looking in every orientation")
        return find_everywhere(problem, context)[0].transform
    from ..optim.linear_registration import LinearSettings

    context.progress.update(0.0, "Aligning roughly")
    settings = LinearSettings(kind="rigid" if how == "rigid" else "affine")
    if not thorough:
        settings = replace(settings, iterations=25, voxels=65_000)
    similarity = similarity or automatic_similarity(problem)
    registration = linear_registration(problem, settings, similarity, context)
    if how == "centres":
        return registration.centres()
    if how == "moments":
        return registration.moments()
    outcome = registration.run()
    if not outcome.score > 0:
        context.messages.append(
            f"The automatic {how} alignment found no position where the scans match, so the centres of the "
            "anatomy were put on each other; check the start, or give landmarks."
        )
        return registration.centres()
    return outcome.transform


def find_everywhere(
    problem: RegistrationProblem,
    context: Context,
    settings: SearchSettings | None = None,
    *,
    edges_only: bool = False,
    spacing: float | None = None,
) -> list[Found]:
    """The best rigid placements of all orientations and positions, best first; at least one.

    The rigid part of `problem.initial_transform` (the centres where None) is one of those tried. Where no placement
    matches it is the answer, with a score of 0.

    settings    how far and finely to look; None takes the defaults
    edges_only  do not correct the answers by mutual information where `automatic_similarity` is that
    spacing     mm, finest working spacing; None chooses

    A doubtful answer is said in `context.messages`.
    """
    import torch

    from ..optim.global_search import Found, GlobalSearch, SearchSettings
    from ..optim.linear_landmarks import fit_points
    from ..optim.linear_registration import LinearRegistration, LinearSettings

    settings = settings or SearchSettings()
    linear = LinearSettings(kind="rigid", spacing=spacing, search=False, iterations=settings.iterations)
    # the edges of soft tissue, which tell a head from a head upside down, are weak beside those of bone and skin
    edges = objective_maker("ngf", _FAINT[problem.dimension])
    registration = LinearRegistration(problem, linear, edges, context.progress)
    second = None
    if not edges_only and automatic_similarity(problem) == "mi":
        alone = replace(linear, levels=1)
        second = LinearRegistration(problem, alone, objective_maker("mi"), context.progress.part(0.1, 0.1))
    start = registration.centres()
    if problem.initial_transform is not None:
        corners = torch.as_tensor(problem.fixed.grid.corners)
        start = fit_points(corners.numpy(), problem.initial_transform.apply(corners).numpy(), "rigid")
    found = GlobalSearch(registration, settings, context.generator(), second).run(start)
    if not found or not found[0].score > 0:
        context.messages.append(
            "No orientation was found in which the scans match, so they were left as they were at the start; "
            "check them, or give landmarks."
        )
        return [Found(start, 0.0, 0.0, 0.0, 0.0)]
    if len(found) > 1 and found[1].score > _NEARLY * found[0].score:
        context.messages.append(
            f"Another placement, turned by {found[1].degrees:.0f} instead of {found[0].degrees:.0f} degrees, matches "
            "nearly as well; look at the result before using it."
        )
    return found


def automatic_similarity(problem: RegistrationProblem) -> str:
    """mi for a CT beside another kind of scan, else ngf, which costs less.

    Many edges of a CT (bone, truncated fields of view, streaks) have none of their kind in the other scan.
    """
    from ..optim.linear_images import is_ct

    return "mi" if is_ct(problem.fixed) != is_ct(problem.moving) else "ngf"


def linear_registration(
    problem: RegistrationProblem, settings: LinearSettings, similarity: str, context: Context
) -> LinearRegistration:
    """The linear registration of a problem with a similarity of SIMILARITIES."""
    from ..optim.linear_registration import LinearRegistration

    if similarity == "mi":
        # its values differ by some hundredths where those of the others differ by tenths
        settings = replace(settings, stretch_reward=0.0, clear_gain=0.001)
    return LinearRegistration(problem, settings, objective_maker(similarity), context.progress)


def objective_maker(similarity: str, share: float = 1.0) -> MakeObjective:
    """What is made small in a linear registration, by id of SIMILARITIES.

    share  of the mean gradient below which edges count as noise
    """
    from ..losses.lncc import lncc_objective
    from ..losses.mutual_information import nmi_objective
    from ..losses.ngf import ngf_objective
    from ..ops.gradients import spatial_gradient
    from ..ops.ngf import edge_level

    def make(fixed: Scan, moving: Scan) -> Objective:
        if similarity == "lncc":
            return lncc_objective(fixed.values, fixed.weight)
        if similarity == "mi":
            return nmi_objective(fixed.values, fixed.weight)
        eta = edge_level(spatial_gradient(moving.values, moving.grid.spacing), moving.weight, share)
        return ngf_objective(fixed.values, fixed.weight, fixed.grid.spacing, eta, share)

    return make


def _from_landmarks(problem: RegistrationProblem) -> Transform:
    fixed, moving = problem.fixed_landmarks, problem.moving_landmarks
    if fixed is None or moving is None:
        missing = "fixed" if fixed is None else "moving"
        raise InputError(
            "initialisation='landmarks' needs landmarks in both scans, "
            f"but there are no {missing} ones; add them."
        )
    if len(fixed) != len(moving) or len(fixed) == 0:
        raise InputError(
            f"There are {len(fixed)} fixed and {len(moving)} moving landmarks; "
            "give as many in one scan as in the other."
        )
    from ..optim.linear_landmarks import fit_points

    return fit_points(fixed.points.cpu().numpy(), moving.points.cpu().numpy())
