"""Rigid alignment of two scans of any kinds from any orientation and position, without a start.

    (R, t) = argmax  1/N sum_x w_a(x) w_b(R x + t) <n_a(x), n_(b o R)(x + t)>^2

n is the normalised gradient field, w the masks, N their overlap. For each of many rotations the sum is found for all
shifts at once by Fourier transforms; the best poses are tried again with rotations near them and on finer grids, then
refined by gradient descent. Several answers come back, since a nearly symmetric anatomy can fit in more than one way.

Öfverstedt, Lindblad, Sladoje, Cross-Sim-NGF: FFT-based global rigid multimodal alignment of image volumes using
normalized gradient fields, WBIR 2022, doi:10.48550/arXiv.2110.10156. Differs from the paper: rotations spread evenly,
the level of noise taken from the scan, working spacings in mm, a small reward for overlap, and a descent between voxels
at the end (see `optim.global_search`), which beside a CT also looks at mutual information.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..initialisation import INITIALISATIONS, find_everywhere

if TYPE_CHECKING:
    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult

#: the start only says which orientation is tried first, and what a restricted turn is counted from
_STARTS = Choice({how: title for how, title in INITIALISATIONS.titles.items() if how != "global"})


@dataclass(frozen=True)
class Parameters:
    """Settings of cross-sim-ngf."""

    initialisation: Annotated[
        str,
        _STARTS,
        Title("First try"),
        Help("All orientations are tried whatever is chosen here; this one is tried first."),
    ] = "centres"
    largest_angle: Annotated[
        float,
        Range(0.0, 180.0, 5.0),
        Unit("degrees"),
        Title("Largest turn"),
        Help("How far the scan may be turned from the first try; 180 is any orientation."),
    ] = 180.0
    overlap: Annotated[
        float,
        Range(0.05, 1.0, 0.05),
        Title("Least overlap"),
        Help("Share of the smaller scan that has to lie on the other one."),
    ] = 0.5
    answers: Annotated[
        int, Range(1, 10, 1), Title("Answers"), Help("How many different alignments to come back with at most.")
    ] = 3
    edges_only: Annotated[
        bool,
        Title("Edges only"),
        Help("Off: beside a CT the answers are corrected by mutual information, as far as the edges still match."),
        Advanced(),
    ] = False
    rotations: Annotated[
        int | None,
        Range(10, 20_000, 500),
        Title("Orientations tried"),
        Help("More find scans of few edges more surely, and take longer. Left empty: 1000, for pictures 180."),
        Advanced(),
    ] = None
    spacing: Annotated[
        float | None,
        Range(0.0001, 100.0, 0.5),
        Unit("mm"),
        Title("Finest working spacing"),
        Help("Left empty it is chosen from the size of the scan."),
        Advanced(),
    ] = None
    squared: Annotated[
        bool,
        Title("Either contrast"),
        Help("Edges match whichever side is brighter. Off: only scans of one kind match."),
        Advanced(),
    ] = True


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """T best by score, its exact inverse, and the best different answers as `alternatives`.

    Scores: "match", the cosine between the edges times a small power of the overlap, by which the answers are in
    order; "edges", the mean squared
    similarity of edges; "overlap", the share of the fixed anatomy that meets moving data.
    """
    from ...core.result import Alternative, RegistrationResult
    from ...optim.global_search import SearchSettings

    settings = SearchSettings(
        rotations=parameters.rotations,
        largest_angle=parameters.largest_angle,
        least_overlap=parameters.overlap,
        squared=parameters.squared,
        results=parameters.answers,
    )
    found = find_everywhere(
        problem, context, settings, edges_only=parameters.edges_only, spacing=parameters.spacing
    )
    alternatives = [
        Alternative(
            f.transform,
            {"match": f.score, "edges": f.edges, "overlap": f.overlap},
            f"Answer {k}: turned by {f.degrees:.0f} degrees",
        )
        for k, f in enumerate(found, start=1)
    ]
    best = found[0]
    return RegistrationResult(
        problem=problem,
        transform=best.transform,
        inverse=best.transform.inverse().transform,
        tables={"similarity of edges": best.edges, "overlap": best.overlap},
        alternatives=alternatives,
    )


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: some 60 numbers a working voxel (what the descent keeps), the transforms of a few rotations over a long
    thin anatomy, and one slab of the full-resolution image as float."""
    working = grid.voxels if parameters.spacing is not None else min(grid.voxels, 260_000)
    return 4 * (60 * working + 100_000_000 + min(grid.voxels, 8_000_000))


SPEC = MethodSpec(
    id="cross-sim-ngf",
    title="Rigid, from any orientation",
    description="Moves and turns one scan onto the other from any orientation and position; any kinds of scan.",
    family="Rigid and affine",
    paper="Öfverstedt, Lindblad, Sladoje, Cross-Sim-NGF: FFT-based global rigid multimodal alignment of image volumes "
    "using normalized gradient fields, 2022",
    doi="10.48550/arXiv.2110.10156",
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
        Preset("brain-mr", "Brain (MR)", {}),
        Preset("multimodal", "Different kinds of scan (CT/MR/PET)", {"rotations": 1500}),
        Preset("fast", "Quick look", {"rotations": 500, "answers": 1}),
    ),
)
