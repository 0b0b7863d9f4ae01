"""Settings of the instance optimisation, declared once for all methods that end with it (optim/instance.py).

Lengths in voxels are voxels of the isotropic working grid. Importing this loads no torch.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from ..core.spec import Advanced, Help, Preset, Range, Title, Unit

if TYPE_CHECKING:
    from ..core.grid import Grid
    from ..optim.convex_adam import RefinementSettings

    Numbers = TypeVar("Numbers", bound=RefinementSettings)

WorkingSpacing = Annotated[
    float | None,
    Range(0.05, 50, 0.5),
    Unit("mm"),
    Title("Working resolution"),
    Help("Spacing of the isotropic grid the alignment works on; automatic where it is not set."),
]
Smoothness = Annotated[
    float,
    Range(0.001, 100, 0.1),
    Title("Smoothness"),
    Help("Weight of |grad u|^2: more gives a stiffer deformation."),
]
FineSteps = Annotated[int, Range(0, 2000, 10), Title("Refinement steps"), Help("Adam steps on the fine knots.")]
CoarseSteps = Annotated[
    int,
    Range(0, 2000, 10),
    Title("Coarse steps"),
    Help("Adam steps on knots four times as far apart, and again on knots twice as far apart."),
    Advanced(),
]
Diffeomorphic = Annotated[
    bool,
    Title("Never fold (diffeomorphic)"),
    Help("Deform by the flow of a smooth velocity, which cannot fold and gives an exact inverse; slower."),
]
WithInverse = Annotated[
    bool,
    Title("Also give the inverse"),
    Help("Invert the deformation numerically; its residual is reported. A diffeomorphic run always gives it."),
]
Knots = Annotated[
    float, Range(2, 64, 1), Title("Knot spacing"), Unit("voxels"), Help("Detail of the deformation."), Advanced()
]
StepLength = Annotated[
    float, Range(0.001, 10, 0.1), Title("Adam step"), Unit("voxels"), Help("First step of Adam."), Advanced()
]
MindRadius = Annotated[
    int, Range(1, 4), Title("MIND patch radius"), Unit("voxels"), Help("Radius of compared patches."), Advanced()
]
MindDilation = Annotated[
    int | None,
    Range(1, 6),
    Title("MIND patch distance"),
    Unit("voxels"),
    Help("Distance of compared patches from the centre; automatic where it is not set: 2, or 1 above 3.3 mm."),
    Advanced(),
]
MindWeight = Annotated[
    float,
    Range(0, 100, 0.1),
    Title("Weight of MIND"),
    Help("Weight of the MIND features on the fine knots; the coarse knots always use them."),
    Advanced(),
]
IntensityWeight = Annotated[
    float,
    Range(0, 100, 0.1),
    Title("Weight of intensity"),
    Help("Weight of locally normalised intensity on the fine knots; 0 for scans of different kinds."),
    Advanced(),
]
IntensityRadius = Annotated[
    int,
    Range(1, 20),
    Title("Intensity window radius"),
    Unit("voxels"),
    Help("Radius of the box intensity is normalised in."),
    Advanced(),
]
SegmentationWeight = Annotated[
    float,
    Range(0, 100, 0.5),
    Title("Weight of segmentations"),
    Help("How much matching segments count, where both scans have them; 0 ignores them."),
    Advanced(),
]
LandmarkWeight = Annotated[
    float,
    Range(0, 100, 0.1),
    Title("Weight of landmarks"),
    Help("How hard landmarks pull, where both scans have them; 0 ignores them."),
    Advanced(),
]

#: voxels, cells of the discrete search, and how many of them it looks at to every side, where nothing else is said
SEARCH_GRID, SEARCH_CELLS = 6, 4

#: soft, for without a mask of the lungs the deformation has to follow their sliding along the wall
LUNG_CT = Preset(
    "lung-ct",
    "Lungs (CT)",
    {"spacing": 1.5, "smoothness": 0.3, "mind_weight": 0.0, "intensity_weight": 1.0, "step": 0.4},
)


def automatic_dilation(spacing: float) -> int:
    """Patch distance in voxels of `spacing` mm: between contrasts, patches much farther apart than 6 mm mislead, for
    they are of different anatomy."""
    return 2 if spacing <= 3.3 else 1


def numbers_of(parameters: Any, kind: type[Numbers], grid: Grid, seed: int) -> Numbers:
    """The numbers of an optimisation on its working grid from a method's parameters, which have their names."""
    from ..optim.convex_adam import FLOW_SMOOTHNESS

    values = {f.name: getattr(parameters, f.name) for f in fields(kind) if f.name != "seed"}
    if parameters.mind_dilation is None:
        values["mind_dilation"] = automatic_dilation(min(grid.spacing))
    if parameters.diffeomorphic:
        values["smoothness"] *= FLOW_SMOOTHNESS
    return kind(**values, seed=seed)
