"""Geodesic shooting of one scan onto the other: LDDMM, metamorphosis, and metamorphosis within a lesion.

    I_0 = S,   I_1 like F,   dI/dt = -<grad I, v> + mu M_t z
    J = |I_1 - F|^2 + lambda (|v_0|_V^2 + rho <z_0, M_0 z_0>)

The source S is the MOVING scan and the target F the FIXED one: moving is deformed, and given intensities, until it
looks like fixed. With phi the flow of v, T = A o phi_1^-1 (A: the pre-alignment), so that

    moved(x) = moving(T(x))          is the deformation alone, and
    metamorphosed = moved + intensity_change

In the paper's use moving is a healthy template and fixed a patient with a tumour: the mask M_t grows from a small ball
into the lesion of the fixed scan. Where the moving scan has the lesion instead, M_t shrinks; where both have it, it
goes from one to the other. The equations, and what differs from the paper, are in optim/shooting.py,
optim/metamorphosis.py and optim/evolving_mask.py.

kernel width  standard deviation w of the Gaussian kernel of the velocities, mm; another of 2 w is added to it. How
              smooth the deformation is
regularity    lambda: weight of the energy of the path against the mean squared difference of intensities scaled to
              0..1; the kernel is scaled by its squared width, so that lambda has no unit
mu, rho       changes of intensity act with mu and cost rho. Geodesics depend on mu^2 / rho alone: small, the scans are
              matched by deformation; large, by intensity. mu = 0 is LDDMM
The paper prints no numbers for them; the defaults were found on phantoms.

Paper: Francois, Maillard, Oster, Pallud, Bloch, Gori, Glaunes: Weighted metamorphosis for registration of images with
different topologies, WBIR 2022, doi:10.1007/978-3-031-11203-4_2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ...optim.shooting_memory import AFFORDABLE, kept_bytes
from ..initialisation import INITIALISATIONS
from ..intensity_window import HighestIntensity, LowestIntensity, chosen_window

if TYPE_CHECKING:
    import torch

    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.progress import Progress
    from ...core.result import RegistrationResult
    from ...optim.evolving_mask import MaskCourse
    from ...optim.lesion import Lesions
    from ...optim.metamorphosis import Level, Settings
    from ...optim.scaled_pair import ScaledPair

_KINDS = Choice(
    {
        "lddmm": "Nowhere: deform only (LDDMM)",
        "metamorphosis": "Anywhere (metamorphosis)",
        "weighted": "In the lesion only (weighted metamorphosis)",
    }
)
_MASKS = Choice(
    {
        "evolving": "Growing from its middle (or shrinking)",
        "constant": "The whole lesion from the start",
    }
)
_LESIONS = Choice(
    {
        "automatic": "Segments named lesion, tumour, oedema ... of either scan",
        "fixed-segmentation": "The fixed segmentation",
        "moving-segmentation": "The moving segmentation",
        "segmentations": "Both segmentations",
        "fixed-mask": "The fixed mask",
        "moving-mask": "The moving mask",
        "masks": "Both masks",
    }
)

#: without a chosen kernel width: the mean side of the field of view over this
_WIDTHS_ACROSS = 10
#: without a chosen spacing, voxels are at least this part of the kernel width, by number of axes
_VOXELS_A_WIDTH = {2: 8.0, 3: 3.5}
#: kernel widths that the working grid is larger than the field of view on every side
_MARGIN = 0.7


@dataclass(frozen=True)
class Parameters:
    """Settings of metamorphosis."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    kind: Annotated[
        str,
        _KINDS,
        Title("Intensities may change"),
        Help("Where the moving scan may get other intensities beside being deformed. Without a lesion, nowhere."),
    ] = "weighted"
    lesion: Annotated[
        str, _LESIONS, Title("Lesion"), Help("Where the lesion is taken from, for changes in the lesion only.")
    ] = "automatic"
    lesion_label: Annotated[
        int | None,
        Range(1, 65535, 1),
        Title("Segment of the lesion"),
        Help("Number of the lesion in the segmentation; left empty, the segments that are named so."),
    ] = None
    mask: Annotated[
        str, _MASKS, Title("Lesion over time"), Help("Growing makes the surroundings move away from the lesion.")
    ] = "evolving"
    spacing: Annotated[
        float | None,
        Range(0.0001, 100, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the alignment works on; automatic where it is not set."),
    ] = None
    kernel_width: Annotated[
        float | None,
        Range(0.001, 1000, 1),
        Unit("mm"),
        Title("Kernel width"),
        Help("How smooth the deformation is; automatic where it is not set: a tenth of the field of view."),
    ] = None
    intensity_minimum: LowestIntensity = None
    intensity_maximum: HighestIntensity = None
    regularity: Annotated[
        float,
        Range(0, 10, 0.0001),
        Title("Regularity (lambda)"),
        Help("More keeps the deformation and the changes of intensity smaller."),
        Advanced(),
    ] = 0.003
    mu: Annotated[
        float,
        Range(0, 100, 0.05),
        Title("Strength of intensity changes (mu)"),
        Help("More lets intensities change more readily."),
        Advanced(),
    ] = 1.0
    rho: Annotated[
        float,
        Range(0.0001, 10000, 0.5),
        Title("Cost of intensity changes (rho)"),
        Help("More makes changes of intensity dearer, so that more is explained by deformation."),
        Advanced(),
    ] = 30.0
    steps: Annotated[
        int, Range(2, 100, 1), Title("Time steps"), Help("Steps of the deformation from start to end."), Advanced()
    ] = 8
    levels: Annotated[
        int, Range(1, 5, 1), Title("Levels"), Help("Resolutions, each twice as coarse as the next."), Advanced()
    ] = 3
    iterations: Annotated[
        int, Range(0, 2000, 10), Title("Iterations"), Help("At most so many steps at every level."), Advanced()
    ] = 40
    pictures: Annotated[
        int,
        Range(0, 100, 1),
        Title("Pictures on the way"),
        Help("How many pictures of the deforming scan are kept, first and last included; 0 for none."),
        Advanced(),
    ] = 6


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it."""
    from ...core.result import RegistrationResult
    from ...optim.lesion import share_on
    from ...optim.metamorphosis import optimise
    from ...optim.metamorphosis_pictures import Pictures, after, field, inverse_of
    from ...optim.scaled_pair import scaled_pairs

    progress, initial = context.progress, problem.initial_transform
    progress.update(0.0, "Preparing the scans")
    on_device = problem.to(context.device)
    settings, grid = _settings(parameters, problem.fixed.grid)
    kind, found = _kind(on_device, parameters, context.messages)
    shares = (share_on(found[0], grid), share_on(found[1], grid, initial))
    left_out = [m for m in shares if m is not None]
    compared, window = _without_lesion_masks(on_device, parameters), chosen_window(parameters)
    pairs = scaled_pairs(compared, grid, parameters.levels, initial, window, left_out)
    masks, begin = None, 0.02
    if kind == "weighted":
        begin = 0.2
        masks = _masks(shares, grid, parameters, progress.part(0.02, begin))
    levels = [_level(p, masks) for p in pairs]
    outcome = optimise(levels, settings if kind != "lddmm" else replace(settings, gain=0.0), progress.part(begin, 0.85))

    def tick() -> None:
        progress.update(0.87, "Writing down the deformation")

    course = outcome.course(tick)
    backward, forward = field(course.backward[-1], grid), field(course.forward[-1], grid)
    inverse, residual = inverse_of(backward, forward, initial)
    pictures = Pictures(on_device, initial, grid, pairs[-1].unit)
    tables = {
        "inverse residual (mm)": residual,
        "energy of the deformation": course.velocity_energy[0],
        "energy of the intensity change": course.intensity_energy[0],
        "drift of the energy (%)": 100 * course.drift,
    }
    maps = pictures.maps(course, masks)
    series = pictures.series(course, masks, parameters.pictures, progress.part(0.9, 1.0, "Drawing the pictures"))
    progress.update(1.0)
    return RegistrationResult(
        problem, after(backward, initial), inverse, maps=maps, tables=tables, history=outcome.history, series=series
    )


def _settings(parameters: Parameters, fixed: Grid) -> tuple[Settings, Grid]:
    """The numbers of the optimisation, and the working grid."""
    from ...optim.metamorphosis import Settings
    from ...optim.working_pair import working_grid

    d = fixed.dimension
    width = parameters.kernel_width
    if width is None:
        width = prod(fixed.extent) ** (1 / d) / _WIDTHS_ACROSS
    spacing = parameters.spacing
    if spacing is None:
        spacing = max(fixed.voxel_volume ** (1 / d), width / _VOXELS_A_WIDTH[d])
    settings = Settings(
        kernel_widths=(width, 2 * width),
        regularity=parameters.regularity,
        gain=parameters.mu**2 / parameters.rho,
        steps=parameters.steps,
        iterations=parameters.iterations,
    )
    grid = working_grid(fixed, spacing)
    # what flows out of the field of view, or into it, has to be somewhere
    return settings, grid.padded(round(_MARGIN * width / min(grid.spacing)))


def _kind(problem: RegistrationProblem, parameters: Parameters, messages: list[str]) -> tuple[str, Lesions]:
    """What can be done, and the lesion of the fixed and of the moving scan."""
    from ...optim.lesion import lesions

    if parameters.kind != "weighted":
        return ("lddmm" if parameters.mu == 0 else parameters.kind), (None, None)
    found = lesions(problem, parameters.lesion, parameters.lesion_label)
    if found == (None, None):
        messages.append(
            "No segment of either scan is named as a lesion, so the moving scan was deformed without any change of "
            "its intensities (LDDMM); give a segmentation of the lesion, or let intensities change anywhere."
        )
        return "lddmm", found
    return ("lddmm" if parameters.mu == 0 else "weighted"), found


def _without_lesion_masks(problem: RegistrationProblem, parameters: Parameters) -> RegistrationProblem:
    """Masks that say where the lesion is do not say where to look."""
    if parameters.kind != "weighted" or not parameters.lesion.endswith(("mask", "masks")):
        return problem
    sides = ("fixed", "moving") if parameters.lesion == "masks" else (parameters.lesion.split("-")[0],)
    fixed = None if "fixed" in sides else problem.fixed_mask
    return replace(problem, fixed_mask=fixed, moving_mask=None if "moving" in sides else problem.moving_mask)


def _masks(
    shares: tuple[torch.Tensor | None, torch.Tensor | None], grid: Grid, parameters: Parameters, progress: Progress
) -> MaskCourse:
    from ...core.errors import InputError
    from ...optim.evolving_mask import constant_mask, evolving_mask

    if shares == (None, None):
        raise InputError("The lesion does not lie in the fixed field of view; choose another one.")
    if parameters.mask == "constant":
        return constant_mask(shares, grid)
    return evolving_mask(shares, grid, parameters.steps, progress)


def _level(scaled: ScaledPair, masks: MaskCourse | None) -> Level:
    from ...optim.metamorphosis import Level

    pair = scaled.pair
    weight = pair.known if pair.trust is None else pair.known * pair.trust
    on_grid = () if masks is None else tuple(masks.on(pair.grid))
    return Level(pair.grid, pair.moving, pair.fixed, weight, on_grid)


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: what the gradient keeps of a shooting (bounded: see `save_memory` in optim/shooting.py), the course, and
    the pictures on the fixed grid."""
    voxels, d = grid.voxels, grid.dimension
    if parameters.spacing is not None:
        working = voxels
    elif parameters.kernel_width is not None:
        working = min(voxels, 100**3)
    else:
        working = min(voxels, round((_WIDTHS_ACROSS + 2 * _MARGIN) * _VOXELS_A_WIDTH[d]) ** d)
    kept = min(kept_bytes(working, parameters.steps, d), AFFORDABLE) + 4 * working * (12 * parameters.steps + 150)
    pictures = 4 * voxels * (2 * parameters.pictures + 8)
    return int(kept + pictures) + 200_000_000


SPEC = MethodSpec(
    id="metamorphosis",
    title="Deformable alignment with new tissue (metamorphosis)",
    description="Deforms one scan onto another of the same kind, even where one has a lesion that the other lacks.",
    family="deformable",
    paper="Francois, Maillard, Oster, Pallud, Bloch, Gori, Glaunes: Weighted metamorphosis for registration of images "
    "with different topologies, 2022",
    doi="10.1007/978-3-031-11203-4_2",
    parameters=Parameters,
    run=run,
    memory=memory,
    inputs={
        "fixed_mask": Need.OPTIONAL,
        "moving_mask": Need.OPTIONAL,
        "fixed_segmentation": Need.OPTIONAL,
        "moving_segmentation": Need.OPTIONAL,
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
        Preset("brain-mr", "Brain (MR)", {"kernel_width": 10.0}),
        Preset("fast", "Quick look", {"levels": 2, "iterations": 20, "steps": 4, "pictures": 3}),
    ),
)
