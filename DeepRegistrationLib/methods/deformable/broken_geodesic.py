"""Broken geodesic: a large deformation as up to five log-demons flows in a row, and their length as a distance.

    T(x) = A(exp(v_1)( ... exp(v_N)(x))),   v_k by symmetric log-demons of the fixed scan F and S_{k-1}
    S_k = M o A o exp(v_1) o ... o exp(v_k),   distance = sum_k sqrt(mean |v_k(x)|^2) mm

A is the automatic pre-alignment, which the distance leaves out; the mean is over the fixed field of view, or the
fixed mask where there is one, so that the distance does not depend on how finely the scans were sampled. Every piece
runs coarse to fine and stops when its energy stands still; the path ends when a piece no longer makes the scans more
alike. The inverse is made of the negated velocities in reverse order.

Thottupattu, Sivaswamy, Krishnan: A method for image registration via broken geodesics, WBIR 2022,
doi:10.1007/978-3-031-11203-4. The pieces: Vercauteren et al., Symmetric log-domain diffeomorphic registration, MICCAI
2008, doi:10.1007/978-3-540-85988-8_90.

Differs from the papers: one isotropic working grid in mm; scans are scaled to their own robust range first; besides
the squared difference of intensities, that of locally normalised intensities and of MIND features; the length is a
mean over the field of view; parts that the moving scan does not show have no say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.errors import InputError
from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..initialisation import INITIALISATIONS

if TYPE_CHECKING:
    import torch

    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.image import Image
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult
    from ...core.transform import Transform
    from ...optim.broken_geodesic import Path
    from ...optim.log_demons import Features, Settings, Side

DISTANCE = "distance between anatomies"

_LIKENESS = Choice(
    {
        "intensity": "Brightness (one kind of scan, same protocol)",
        "correlation": "Local contrast (one kind of scan, uneven brightness)",
        "mind": "Local structure (one kind of scan, other protocol)",
    }
)


@dataclass(frozen=True)
class Parameters:
    """Lengths in voxels are voxels of the isotropic working grid, or of the coarser copy a level works on."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    pieces: Annotated[
        int,
        Range(1, 20),
        Title("Most pieces"),
        Help("Flows that the deformation may be made of; fewer are used where more do not help."),
    ] = 5
    similarity: Annotated[
        str, _LIKENESS, Title("Compare"), Help("What has to be alike in both scans after the alignment.")
    ] = "intensity"
    spacing: Annotated[
        float | None,
        Range(0.05, 50, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the alignment works on; automatic where it is not set."),
    ] = None
    fluid: Annotated[
        float | None,
        Range(0, 100, 0.5),
        Unit("mm"),
        Title("Smoothness of a step"),
        Help("Standard deviation of the Gaussian on every step (fluid-like); automatic where it is not set."),
    ] = None
    diffusion: Annotated[
        float | None,
        Range(0, 100, 0.5),
        Unit("mm"),
        Title("Smoothness of a piece"),
        Help("Standard deviation of the Gaussian on every velocity (diffusion-like); automatic where it is not set."),
    ] = None
    iterations: Annotated[
        int, Range(1, 1000, 5), Title("Steps"), Help("At most so many steps of a piece on every coarse level.")
    ] = 40
    fine_iterations: Annotated[
        int,
        Range(0, 1000, 5),
        Title("Fine steps"),
        Help("At most so many steps of a piece at full working resolution; 0 leaves it out."),
    ] = 15
    intermediate: Annotated[
        bool,
        Title("Also give the pictures along the way"),
        Help("The moving scan after none, one, two ... pieces, as a sequence on the fixed scan's grid."),
    ] = False
    levels: Annotated[
        int, Range(1, 8), Title("Levels"), Help("Levels of resolution, each half as fine as the next."), Advanced()
    ] = 4
    step: Annotated[
        float, Range(0.05, 10, 0.1), Unit("voxels"), Title("Longest step"), Help("No step is longer."), Advanced()
    ] = 0.5
    noise: Annotated[
        float,
        Range(0, 100, 1),
        Unit("%"),
        Title("Differences that mean nothing"),
        Help("Share of the scans' range that noise makes them differ by; more leaves flat regions alone."),
        Advanced(),
    ] = 5.0
    detail: Annotated[
        float,
        Range(1, 8, 0.5),
        Unit("voxels"),
        Title("Detail of the deformation"),
        Help("Distance between the velocities that are stored."),
        Advanced(),
    ] = 1.0
    tolerance: Annotated[
        float,
        Range(0, 50, 0.1),
        Unit("%"),
        Title("Standstill of a piece"),
        Help("A level ends when four steps lower the difference by less than this."),
        Advanced(),
    ] = 0.3
    least_gain: Annotated[
        float,
        Range(0, 50, 0.5),
        Unit("%"),
        Title("Standstill of the path"),
        Help("A piece that lowers the difference by less than this is left out and ends the path."),
        Advanced(),
    ] = 2.0
    intensity_minimum: Annotated[
        float | None,
        Range(-1e6, 1e6, 10),
        Title("Lowest intensity looked at"),
        Help("Darker voxels count as this value in both scans (for CT: HU)."),
        Advanced(),
    ] = None
    intensity_maximum: Annotated[
        float | None,
        Range(-1e6, 1e6, 10),
        Title("Highest intensity looked at"),
        Help("Brighter voxels count as this value in both scans (for CT: HU)."),
        Advanced(),
    ] = None
    radius: Annotated[
        int,
        Range(1, 20),
        Unit("voxels"),
        Title("Window radius"),
        Help("Radius of the box whose contrast is evened out, where local contrast is compared."),
        Advanced(),
    ] = 3


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it."""
    from ...core.result import RegistrationResult
    from ...optim.broken_geodesic import broken_geodesic, path_transform
    from ...optim.working_pair import prepare, working_grid
    from ...transforms import compose

    progress, initial = context.progress, problem.initial_transform
    progress.update(0.0, "Preparing the scans")
    here = problem.to(context.device)
    grid = working_grid(problem.fixed.grid, parameters.spacing)
    pair = prepare(here, grid, initial, None, progress.tick)
    progress.update(0.02, "Preparing the scans")
    first, second = _windows(problem, parameters)
    fixed, moving = _side(pair.fixed, pair.trust, first), _side(pair.moving, pair.known, second)
    del pair
    path = broken_geodesic(
        fixed,
        moving,
        grid,
        _settings(parameters, grid),
        _features(parameters),
        parameters.pieces,
        0.01 * parameters.least_gain,
        progress.part(0.03, 0.9),
    )

    progress.update(0.9, "Writing down the deformation")
    flows = path_transform(path, grid, progress.tick)
    total = flows if initial is None else compose(flows, initial)
    progress.update(0.93, "Inverting")
    inverse, residual = total.inverse(progress.tick)
    series = {}
    if parameters.intermediate:
        progress.update(0.96, "Pictures along the way")
        series["path"] = _pictures(here.moving, problem.fixed.grid, flows, initial)
    context.messages.append(_sentence(path))
    progress.update(1.0)
    return RegistrationResult(
        problem, total, inverse, tables=_tables(path, residual), history=_history(path), series=series
    )


def _windows(
    problem: RegistrationProblem, parameters: Parameters
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Intensities that become 0 and 1, of either scan: the same where both are CT, each one's own otherwise."""
    from ...optim.linear_images import intensity_window, is_ct

    first, second = intensity_window(problem.fixed), intensity_window(problem.moving)
    if is_ct(problem.fixed) and is_ct(problem.moving):
        first = second = min(first[0], second[0]), max(first[1], second[1])
    low, high = parameters.intensity_minimum, parameters.intensity_maximum

    def narrowed(window: tuple[float, float]) -> tuple[float, float]:
        out = window[0] if low is None else low, window[1] if high is None else high
        if out[0] >= out[1]:
            raise InputError(
                f"The lowest intensity looked at ({out[0]:g}) must be below the highest ({out[1]:g}); "
                "correct one of them."
            )
        return out

    return narrowed(first), narrowed(second)


def _side(values: torch.Tensor, weight: torch.Tensor | None, window: tuple[float, float]) -> Side:
    """Values scaled to 0..1; no weight where everything counts, which is faster."""
    from ...optim.log_demons import Side

    low, high = window
    everything = weight is None or float(weight.min()) > 0.99
    return Side((values.clamp(low, high) - low) / (high - low), None if everything else weight)


def _settings(parameters: Parameters, grid: Grid) -> Settings:
    from ...optim.log_demons import Settings

    voxel = min(grid.spacing)
    count = parameters.iterations
    return Settings(
        fluid=_FLUID * voxel if parameters.fluid is None else parameters.fluid,
        diffusion=_DIFFUSION * voxel if parameters.diffusion is None else parameters.diffusion,
        step=parameters.step,
        noise=0.01 * parameters.noise,
        detail=parameters.detail,
        iterations=(*(count,) * (parameters.levels - 1), parameters.fine_iterations),
        tolerance=0.01 * parameters.tolerance,
    )


#: automatic smoothness, working voxels
_FLUID, _DIFFUSION = 3.0, 2.0


def _features(parameters: Parameters) -> Features:
    """What is compared, of the intensities of one level."""
    from ...ops.local_contrast import local_contrast
    from ...ops.mind import mind_ssc

    def features(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        if parameters.similarity == "correlation":
            return local_contrast(values, parameters.radius, counts=weight)[None]
        if parameters.similarity == "mind":
            return mind_ssc(values, 1, 1, weight)
        return values[None]

    return features


def _pictures(moving: Image, grid: Grid, flows: Transform, initial: Transform | None) -> list[Image]:
    """The moving scan on the fixed grid after none, one, two ... pieces."""
    from ...transforms import Affine, Composition, compose

    start = initial or Affine.identity(grid.dimension)
    parts = flows.parts if isinstance(flows, Composition) else (flows,)
    # the first piece acts last, just before the pre-alignment
    stages = [compose(*parts[len(parts) - k :], start) for k in range(len(parts) + 1)]
    return [moving.resampled(grid, stage).to("cpu") for stage in stages]


def _sentence(path: Path) -> str:
    count = len(path.pieces)
    return (
        f"The {DISTANCE} is {path.length:.2f} mm: the root mean square length of the deformation's path, "
        f"which has {count} {'piece' if count == 1 else 'pieces'}; the rough alignment before it is left out."
    )


def _tables(path: Path, residual: float) -> dict[str, float]:
    """The distance is in mm, like the lengths of the pieces that it is the sum of."""
    tables = {DISTANCE: path.length, "pieces": float(len(path.pieces))}
    for k, piece in enumerate(path.pieces, start=1):
        tables[f"length of piece {k} (mm)"] = piece.length
    tables["inverse residual (mm)"] = residual
    return tables


def _history(path: Path) -> dict[str, list[float]]:
    history = {
        "length of every piece (mm)": [piece.length for piece in path.pieces],
        "difference before and after every piece": list(path.differences),
    }
    for k, piece in enumerate(path.pieces, start=1):
        for level, energies in piece.energies.items():
            history[f"piece {k}, {level}"] = list(energies)
    return history


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: of every piece a velocity and flows both ways, kept to the end; a few fields and images at work,
    all on the working grid; two images on the fixed grid."""
    from ...optim.working_pair import working_grid

    d, working = grid.dimension, working_grid(grid, parameters.spacing).voxels
    channels = 1 if parameters.similarity != "mind" else (12 if d == 3 else 4)
    piece = 1 + 5 / parameters.detail**d
    numbers = working * (d * (parameters.pieces * piece + 4) + 6 * channels + 8) + 2 * grid.voxels
    return int(4 * numbers) + 200_000_000


SPEC = MethodSpec(
    id="broken-geodesic",
    title="Large differences between people (broken geodesic)",
    description="Deforms one anatomy into a very different one without folding and says how far apart they are.",
    family="deformable",
    paper="Thottupattu, Sivaswamy, Krishnan: A method for image registration via broken geodesics, WBIR 2022",
    doi="10.1007/978-3-031-11203-4",
    parameters=Parameters,
    run=run,
    memory=memory,
    inputs={
        "fixed_mask": Need.OPTIONAL,
        "moving_mask": Need.OPTIONAL,
        "initial_transform": Need.OPTIONAL,
    },
    capabilities=frozenset(
        {
            Capability.TWO_D,
            Capability.THREE_D,
            Capability.DEFORMABLE,
            Capability.DIFFEOMORPHIC,
            Capability.INVERSE,
        }
    ),
    presets=(
        Preset("brain-mr", "Brain (MR)", {"fluid": 1.0, "diffusion": 1.5, "step": 1.0, "least_gain": 1.0}),
        Preset("fast", "Quick look", {"pieces": 2, "iterations": 20, "fine_iterations": 0}),
    ),
)
