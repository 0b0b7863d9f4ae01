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
from ..memory import refinement_bytes
from ..refinement_parameters import (
    LUNG_CT,
    SEARCH_CELLS,
    SEARCH_GRID,
    CoarseSteps,
    Diffeomorphic,
    FineSteps,
    IntensityRadius,
    IntensityWeight,
    Knots,
    LandmarkWeight,
    MindDilation,
    MindRadius,
    MindWeight,
    SegmentationWeight,
    Smoothness,
    StepLength,
    WithInverse,
    WorkingSpacing,
    numbers_of,
)

if TYPE_CHECKING:
    from ...core.context import Context
    from ...core.grid import Grid
    from ...core.problem import RegistrationProblem
    from ...core.result import RegistrationResult


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
    spacing: WorkingSpacing = None
    smoothness: Smoothness = 0.4
    iterations: FineSteps = 60
    diffeomorphic: Diffeomorphic = False
    inverse: WithInverse = False
    search_cells: Annotated[
        int,
        Range(1, 8),
        Title("Search range"),
        Unit("cells"),
        Help("Largest displacement that is looked for, in cells of the search grid, to every side."),
    ] = SEARCH_CELLS
    search_grid: Annotated[
        int, Range(2, 16), Title("Search grid"), Unit("voxels"), Help("Size of a cell of the search grid."), Advanced()
    ] = SEARCH_GRID
    search_both_ways: Annotated[
        bool,
        Title("Search both ways"),
        Help("Also search from moving to fixed and make the two agree (inverse-consistency)."),
        Advanced(),
    ] = True
    mind_radius: MindRadius = 1
    mind_dilation: MindDilation = 2
    intensity_minimum: LowestIntensity = None
    intensity_maximum: HighestIntensity = None
    knots: Knots = 4.0
    coarse_iterations: CoarseSteps = 40
    step: StepLength = 0.5
    mind_weight: MindWeight = 1.0
    intensity_weight: IntensityWeight = 0.0
    intensity_radius: IntensityRadius = 3
    segmentation_weight: SegmentationWeight = 2.0
    landmark_weight: LandmarkWeight = 0.05


def run(problem: RegistrationProblem, parameters: Parameters, context: Context) -> RegistrationResult:
    """See the module's docstring. `problem.initial_transform` is A; the result's transform includes it."""
    from ...core.result import RegistrationResult
    from ...optim.convex_adam import Settings, deform, landmark_term, shared_labels
    from ...optim.spline_transform import spline_transform
    from ...optim.working_pair import prepare, working_grid
    from ...transforms import compose

    device, progress, initial = context.device, context.progress, problem.initial_transform
    progress.update(0.0, "Preparing the scans")
    on_device = problem.to(device)
    fusion = fitting_fusion(on_device, context) if parameters.features == "fused" else None
    if fusion is not None:
        parameters = fusion.adapted(parameters)
    grid = working_grid(problem.fixed.grid, parameters.spacing)
    settings = numbers_of(parameters, Settings, grid, context.seed)
    pair = prepare(on_device, grid, initial, chosen_window(parameters), progress.tick)
    compared = parameters.features != "mind" and settings.segmentation_weight > 0
    labels = shared_labels(on_device, grid, initial) if compared else None
    landmarks = landmark_term(on_device, grid, initial, parameters.landmark_weight)
    fuse = None if fusion is None else partial(fusion.features, problem=on_device, grid=grid, initial=initial)
    spline, history = deform(pair, settings, progress.part(0.05, 0.9), labels, landmarks, fuse)
    del pair, labels, fuse

    progress.update(0.9, "Writing down the deformation")
    warp = spline_transform(spline, grid, problem.fixed.grid, settings.diffeomorphic)
    total = warp if initial is None else compose(warp, initial)
    tables: dict[str, float] = {}
    inverse = None
    if parameters.inverse or parameters.diffeomorphic:
        progress.update(0.95, "Inverting")
        inverse, residual = total.inverse(progress.tick)
        tables["inverse residual (mm)"] = residual
    progress.update(1.0)
    said = None if fusion is None else fusion.provenance(context)
    return RegistrationResult(problem, total, inverse, tables=tables, history=history, provenance=said)


def memory(grid: Grid, parameters: Parameters) -> int:
    """Bytes: see `refinement_bytes`."""
    return int(refinement_bytes(grid, parameters.spacing)) + 200_000_000


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
        LUNG_CT,
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
