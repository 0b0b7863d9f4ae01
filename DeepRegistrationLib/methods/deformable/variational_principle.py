"""Registration by the variational principle: divergence and curl steer a deformation that cannot fold.

    T(x) = A(phi(x)),   phi = id + u,   Laplacian u = F   in the domain,   u = 0 on its boundary

    minimise  1/2 integral |moving(A(phi(x))) - fixed(x)|^2 dx   over the control: F itself, or fh and g with
    F = grad f - curl g,   f = Jmin + fh^2      (f: wanted Jacobian determinant, g: wanted curl of phi)

A is the automatic pre-alignment. phi is a composition of pieces phi_1 o phi_2 o ..., each with Jacobian determinants
above Jmin, found from coarse to fine grids; the domain is the fixed field of view with a margin around it. The inverse
is found by the same principle, with phi for the moving image and the identity for the fixed one.

Zhou, Liao: Recent developments of an optimal control approach to nonrigid image registration, WBIR 2022, in
doi:10.1007/978-3-031-11203-4.

Differs from the paper: Newton steps instead of gradient steps, and a cost of the control (optim/optimal_control.py);
intensities scaled robustly, or normalised locally; what one of the scans does not show is left out; a margin around
the field of view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..initialisation import INITIALISATIONS
from ..intensity_window import HighestIntensity, LowestIntensity, chosen_window

if TYPE_CHECKING:
    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult
    from ...core.transform import Transform
    from ...optim.control_levels import Scheme

_CONTROLS = Choice(
    {
        "div-curl": "Volume change and rotation (f and g)",
        "force": "Laplacian of the deformation (F)",
    }
)
_SIMILARITIES = Choice(
    {
        "ssd": "Intensity (the same in both scans)",
        "lncc": "Local contrast (one kind of scan)",
    }
)


@dataclass(frozen=True)
class Parameters:
    """Lengths in voxels are voxels of the level that is worked on."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    similarity: Annotated[
        str,
        _SIMILARITIES,
        Title("Compared by"),
        Help("Intensity is the paper's choice; local contrast copes with brightness that differs or varies."),
    ] = "ssd"
    spacing: Annotated[
        float | None,
        Range(0.001, 50, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the alignment works on; automatic where it is not set."),
    ] = None
    detail: Annotated[
        float,
        Range(0.05, 20, 0.25),
        Unit("voxels"),
        Title("Smoothness"),
        Help("Detail of the deformation much finer than six times this is held back: more is smoother."),
    ] = 2.0
    iterations: Annotated[
        int, Range(1, 500, 5), Title("Steps"), Help("Newton steps at most, at every level.")
    ] = 20
    elasticity: Annotated[
        float,
        Range(0, 1, 0.1),
        Title("Elasticity"),
        Help("1 holds the whole deformation smooth; 0 only each piece of it, which lets it flow anywhere."),
        Advanced(),
    ] = 1.0
    control: Annotated[
        str,
        _CONTROLS,
        Title("Steered by"),
        Help("Volume change and rotation bounds the volume change of every piece; the Laplacian is quicker."),
        Advanced(),
    ] = "div-curl"
    smallest_jacobian: Annotated[
        float,
        Range(0.05, 0.95, 0.05),
        Title("Least Jacobian of a piece"),
        Help("A piece of the deformation that squeezes more than this is finished, and the next begins."),
        Advanced(),
    ] = 0.5
    levels: Annotated[
        int, Range(1, 8), Title("Levels"), Help("Working grids, each twice as coarse as the next."), Advanced()
    ] = 4
    margin: Annotated[
        float,
        Range(0, 1, 0.02),
        Title("Margin"),
        Help("Width of the rim around the fixed field of view in which the deformation fades, as a share of its size."),
        Advanced(),
    ] = 0.1
    blur: Annotated[
        float,
        Range(0, 5, 0.25),
        Unit("voxels"),
        Title("Blur"),
        Help("Both scans are smoothed by a Gaussian of this width at every level."),
        Advanced(),
    ] = 1.0
    radius: Annotated[
        int,
        Range(1, 20),
        Unit("voxels"),
        Title("Local contrast radius"),
        Help("Radius of the box intensity is normalised in, for local contrast."),
        Advanced(),
    ] = 3
    tolerance: Annotated[
        float,
        Range(0, 0.5, 0.005),
        Title("Rest"),
        Help("A level ends where a step lowers the difference by less than this share."),
        Advanced(),
    ] = 0.02
    intensity_minimum: LowestIntensity = None
    intensity_maximum: HighestIntensity = None


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform and inverse include it."""
    from ...core.result import RegistrationResult
    from ...optim.control_levels import register
    from ...transforms import compose
    from ...transforms.inverse import inverse_residual

    initial = problem.initial_transform
    forward, backward, history = register(problem.to(context.device), _scheme(parameters), context.progress)
    residual = inverse_residual(forward.field, backward.field, forward.grid, context.progress.tick)
    transform: Transform = forward
    inverse: Transform = backward
    if initial is not None:
        back = initial.inverse()
        transform, inverse = compose(forward, initial), compose(back.transform, backward)
        residual += back.residual_mm
    tables = {"inverse residual (mm)": residual}
    context.progress.update(1.0)
    return RegistrationResult(problem, transform, inverse, tables=tables, history=history)


def _scheme(parameters: Parameters) -> Scheme:
    from ...optim.control_levels import Scheme
    from ...optim.optimal_control import Settings

    return Scheme(
        control=parameters.control,
        similarity=parameters.similarity,
        spacing=parameters.spacing,
        margin=parameters.margin,
        levels=parameters.levels,
        blur=parameters.blur,
        radius=parameters.radius,
        window=chosen_window(parameters),
        settings=Settings(
            smallest=parameters.smallest_jacobian,
            detail=parameters.detail,
            steps=parameters.iterations,
            elasticity=parameters.elasticity,
            tolerance=parameters.tolerance,
        ),
    )


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: some 115 numbers a working voxel, margin included, and both scans as float."""
    voxels = float(grid.voxels)
    working = min(voxels, 2e6) if parameters.spacing is None else voxels
    return int(4 * (working * (1 + 2 * parameters.margin) ** grid.dimension * 115 + 4 * voxels)) + 200_000_000


_CT_BODY = {"intensity_minimum": -200.0, "intensity_maximum": 300.0}

SPEC = MethodSpec(
    id="variational-principle",
    title="Deformable alignment by volume change and rotation",
    description="Deforms without folding, steered by divergence and curl; gives the inverse; needs no training.",
    family="deformable",
    paper="Zhou and Liao: Recent developments of an optimal control approach to nonrigid image registration, WBIR 2022",
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
        Preset("brain-mr", "Brain (MR)", {"similarity": "lncc", "detail": 1.0, "blur": 0.5}),
        Preset("lung-ct", "Lungs (CT)", {"similarity": "lncc"}),
        Preset("abdomen-ct", "Abdomen (CT)", _CT_BODY),
        Preset("fast", "Quick look", {"control": "force", "iterations": 6}),
    ),
)
