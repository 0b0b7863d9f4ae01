"""ConvexAdam: MIND-SSC features, coupled convex search of large motion, Adam instance optimisation. The default.

    T(x) = A(x + u(x)),   u = argmin  sum_x |F(x) - M(x + u(x))|^2 + lambda |grad u|^2     (M: features of moving o A)

A is the automatic pre-alignment; the search looks at every displacement of a window on a coarse grid and finds a
smooth field among them; Adam then refines a cubic B-spline on knots ever closer: by MIND features, and on the finest
(scans of one kind) by locally normalised intensity as well. With `diffeomorphic` the spline is a stationary velocity
and u its exponential.

F and M are MIND; MIND and one-hot segments side by side, where both scans are segmented; or, with `features="fused"`,
what a trained network of 1x1x1 convolutions makes of both (networks/feature_fusion.py), which says more about organs
without forgetting what is not segmented.

Siebert, Hansen, Heinrich: Fast 3D registration with accurate optimisation and little learning for Learn2Reg 2021,
doi:10.1007/978-3-030-97281-3_14. Siebert, Heinrich: Learn to fuse input features for large-deformation registration
with differentiable convex-discrete optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_13.

Differs from the papers: one isotropic working grid in mm whatever the grids of the scans; the moving scan's field of
view is honoured; splines and sub-lattices (see optim/instance.py); intensity beside MIND.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Capability, Choice, Help, MethodSpec, Need, Preset, Range, Title, Unit
from ..fused_features import fitting_fusion
from ..initialisation import INITIALISATIONS
from ..intensity_window import HighestIntensity, LowestIntensity, chosen_window

if TYPE_CHECKING:
    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult
    from ...core.transform import Transform
    from ...optim.convex_adam import Settings
    from ...optim.parametric import SplineField


@dataclass(frozen=True)
class Parameters:
    """Lengths in voxels are voxels of the isotropic working grid."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    features: Annotated[
        str,
        Choice(
            {
                "mind": "The images",
                "mind+labels": "The images, and segmentations where both scans have them",
                "fused": "A learned mixture of images and segmentations",
            }
        ),
        Title("Compare"),
        Help(
            "What is brought to agreement. The learned mixture needs the segments it was trained for in both scans; "
            "it brings its own resolution, patches and intensity range."
        ),
    ] = "mind+labels"
    spacing: Annotated[
        float | None,
        Range(0.05, 50, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the alignment works on; automatic where it is not set."),
    ] = None
    smoothness: Annotated[
        float,
        Range(0.001, 100, 0.1),
        Title("Smoothness"),
        Help("Weight of |grad u|^2: more gives a stiffer deformation."),
    ] = 0.4
    iterations: Annotated[
        int, Range(0, 2000, 10), Title("Refinement steps"), Help("Adam steps on the fine knots.")
    ] = 60
    diffeomorphic: Annotated[
        bool,
        Title("Never fold (diffeomorphic)"),
        Help("Deform by the flow of a smooth velocity, which cannot fold and gives an exact inverse; slower."),
    ] = False
    inverse: Annotated[
        bool,
        Title("Also give the inverse"),
        Help("Invert the deformation numerically; its residual is reported. A diffeomorphic run always gives it."),
    ] = False
    search_cells: Annotated[
        int,
        Range(1, 8),
        Title("Search range"),
        Unit("cells"),
        Help("Largest displacement that is looked for, in cells of the search grid, to every side."),
    ] = 4
    search_grid: Annotated[
        int, Range(2, 16), Title("Search grid"), Unit("voxels"), Help("Size of a cell of the search grid."), Advanced()
    ] = 6
    search_both_ways: Annotated[
        bool,
        Title("Search both ways"),
        Help("Also search from moving to fixed and make the two agree (inverse-consistency)."),
        Advanced(),
    ] = True
    mind_radius: Annotated[
        int, Range(1, 4), Title("MIND patch radius"), Unit("voxels"), Help("Radius of compared patches."), Advanced()
    ] = 1
    mind_dilation: Annotated[
        int | None,
        Range(1, 6),
        Title("MIND patch distance"),
        Unit("voxels"),
        Help("Distance of compared patches from the centre; automatic where it is not set: 2, or 1 above 3.3 mm."),
        Advanced(),
    ] = 2
    intensity_minimum: LowestIntensity = None
    intensity_maximum: HighestIntensity = None
    knots: Annotated[
        float, Range(2, 64, 1), Title("Knot spacing"), Unit("voxels"), Help("Detail of the deformation."), Advanced()
    ] = 4.0
    coarse_iterations: Annotated[
        int,
        Range(0, 2000, 10),
        Title("Coarse steps"),
        Help("Adam steps on knots four times as far apart, and again on knots twice as far apart."),
        Advanced(),
    ] = 40
    step: Annotated[
        float, Range(0.001, 10, 0.1), Title("Adam step"), Unit("voxels"), Help("First step of Adam."), Advanced()
    ] = 0.5
    mind_weight: Annotated[
        float,
        Range(0, 100, 0.1),
        Title("Weight of MIND"),
        Help("Weight of the MIND features on the fine knots; the coarse knots always use them."),
        Advanced(),
    ] = 1.0
    intensity_weight: Annotated[
        float,
        Range(0, 100, 0.1),
        Title("Weight of intensity"),
        Help("Weight of locally normalised intensity on the fine knots; 0 for scans of different kinds."),
        Advanced(),
    ] = 0.0
    intensity_radius: Annotated[
        int,
        Range(1, 20),
        Title("Intensity window radius"),
        Unit("voxels"),
        Help("Radius of the box intensity is normalised in."),
        Advanced(),
    ] = 3
    segmentation_weight: Annotated[
        float,
        Range(0, 100, 0.5),
        Title("Weight of segmentations"),
        Help("How much matching segments count, where both scans have them; 0 ignores them."),
        Advanced(),
    ] = 2.0
    landmark_weight: Annotated[
        float,
        Range(0, 100, 0.1),
        Title("Weight of landmarks"),
        Help("How hard landmarks pull, where both scans have them; 0 ignores them."),
        Advanced(),
    ] = 0.05


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it."""
    from ...core.result import RegistrationResult
    from ...optim.convex_adam import deform, landmark_term, shared_labels
    from ...optim.working_pair import prepare, working_grid
    from ...transforms import compose

    device, progress, initial = context.device, context.progress, problem.initial_transform
    progress.update(0.0, "Preparing the scans")
    on_device = problem.to(device)
    fusion = fitting_fusion(on_device, context) if parameters.features == "fused" else None
    if fusion is not None:
        parameters = fusion.adapted(parameters)
    grid = working_grid(problem.fixed.grid, parameters.spacing)
    settings = _settings(parameters, grid, context.seed)
    pair = prepare(on_device, grid, initial, chosen_window(parameters))
    compared = parameters.features != "mind" and settings.segmentation_weight > 0
    labels = shared_labels(on_device, grid, initial) if compared else None
    landmarks = landmark_term(on_device, grid, initial, parameters.landmark_weight)
    fuse = None if fusion is None else partial(fusion.features, problem=on_device, grid=grid, initial=initial)
    spline, history = deform(pair, settings, progress.part(0.05, 0.9), labels, landmarks, fuse)
    del pair, labels, fuse

    progress.update(0.9, "Writing down the deformation")
    warp = _transform(spline, grid, problem.fixed.grid, settings.diffeomorphic)
    total = warp if initial is None else compose(warp, initial)
    tables: dict[str, float] = {}
    inverse = None
    if parameters.inverse or parameters.diffeomorphic:
        progress.update(0.95, "Inverting")
        inverse, residual = total.inverse()
        tables["inverse residual (mm)"] = residual
    progress.update(1.0)
    said = None if fusion is None else fusion.provenance(context)
    return RegistrationResult(problem, total, inverse, tables=tables, history=history, provenance=said)


def _settings(parameters: Parameters, grid: Grid, seed: int) -> Settings:
    from dataclasses import fields

    from ...optim.convex_adam import FLOW_SMOOTHNESS, Settings

    values = {f.name: getattr(parameters, f.name) for f in fields(Settings) if f.name != "seed"}
    if parameters.mind_dilation is None:
        # between contrasts, patches much farther apart than 6 mm mislead: they are of different anatomy
        values["mind_dilation"] = 2 if min(grid.spacing) <= 3.3 else 1
    if parameters.diffeomorphic:
        values["smoothness"] *= FLOW_SMOOTHNESS
    return Settings(**values, seed=seed)


def _transform(spline: SplineField, working: Grid, fixed: Grid, diffeomorphic: bool) -> Transform:
    """The deformation in LPS mm: sampled on the fixed grid, or as a velocity on a grid half as fine as the working
    one."""
    import torch

    from ...transforms import DisplacementField, VelocityField

    target = working.with_size([(n + 1) // 2 for n in working.size]) if diffeomorphic else fixed
    device = spline.coefficients.device
    # both grids have the same edges and axes: voxel centres of the target are crossings in the working grid
    positions = [
        (torch.arange(n, device=device, dtype=torch.float32) + 0.5) * (w / n) - 0.5
        for n, w in zip(target.shape, working.shape, strict=True)
    ]
    axes = torch.as_tensor(working.index_to_world[:-1, :-1], dtype=torch.float32, device=device)
    field = torch.einsum("wk,k...->w...", axes, spline.lattice(positions))
    return VelocityField(field, target) if diffeomorphic else DisplacementField(field, target)


def memory(size: tuple[int, ...], parameters: Parameters) -> int:
    """Bytes: features of one scan at full working resolution, pooled features of both, a few images."""
    voxels = 1.0
    for n in size:
        voxels *= n
    channels = 12 if len(size) == 3 else 4
    pooled = 2 * channels / 2 ** len(size)
    return int(4 * voxels * (channels + pooled + 10)) + 200_000_000


_CT_BODY = {
    "intensity_minimum": -200.0,
    "intensity_maximum": 300.0,
    "smoothness": 0.6,
    "intensity_weight": 1.0,
}

SPEC = MethodSpec(
    id="convex-adam",
    title="Deformable alignment (ConvexAdam)",
    description="Finds large and small deformations between scans of one or of different kinds; needs no training.",
    family="deformable",
    paper="Siebert, Hansen, Heinrich: Fast 3D registration with accurate optimisation and little learning for "
    "Learn2Reg 2021",
    doi="10.1007/978-3-030-97281-3_14",
    parameters=Parameters,
    run=run,
    memory=memory,
    inputs={
        "fixed_mask": Need.OPTIONAL,
        "moving_mask": Need.OPTIONAL,
        "fixed_segmentation": Need.OPTIONAL,
        "moving_segmentation": Need.OPTIONAL,
        "fixed_landmarks": Need.OPTIONAL,
        "moving_landmarks": Need.OPTIONAL,
        "initial_transform": Need.OPTIONAL,
    },
    capabilities=frozenset(
        {
            Capability.TWO_D,
            Capability.THREE_D,
            Capability.MULTIMODAL,
            Capability.DEFORMABLE,
            Capability.DIFFEOMORPHIC,
            Capability.INVERSE,
        }
    ),
    presets=(
        Preset(
            "lung-ct",
            "Lungs (CT)",
            {"spacing": 1.5, "smoothness": 0.3, "mind_weight": 0.0, "intensity_weight": 1.0, "step": 0.4},
        ),
        Preset(
            "brain-mr",
            "Brain (MR)",
            {
                "smoothness": 0.4,
                "mind_weight": 0.5,
                "intensity_weight": 1.0,
                "intensity_radius": 2,
                "iterations": 30,
                "coarse_iterations": 15,
            },
        ),
        Preset("abdomen-ct", "Abdomen (CT)", {"spacing": 2.0, **_CT_BODY}),
        Preset(
            "head-neck-ct",
            "Head and neck (CT)",
            {"spacing": 3.0, **_CT_BODY, "iterations": 40, "coarse_iterations": 20},
        ),
        Preset("multimodal", "Different kinds of scan (CT/MR/PET)", {"smoothness": 1.5, "mind_dilation": None}),
        Preset(
            "fast",
            "Quick look",
            {"iterations": 20, "coarse_iterations": 15, "search_both_ways": False, "search_cells": 3},
        ),
    ),
)
