"""Training of mlVIRNET: one level after the other, on chests that breathe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Help, Range, Title, Unit
from ..recipe import Recipe, Stage
from ..recipe_settings import HighestIntensity, Levels, LowestIntensity, WorkingSpacing

if TYPE_CHECKING:
    from ..cases import TrainingCases
    from ..recipe import Trainee


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the chest CT model."""

    spacing: WorkingSpacing = 3.0
    low: LowestIntensity = -1000.0
    high: HighestIntensity = 500.0
    size: Annotated[
        int,
        Range(16, 512, 16),
        Unit("voxels"),
        Title("Size of a sample"),
        Help("Breadth of what each step looks at; a multiple of 32 (fewer for fewer levels)."),
    ] = 96
    length: Annotated[
        int,
        Range(16, 512, 16),
        Unit("voxels"),
        Title("Length of a sample"),
        Help("The same from head to foot."),
    ] = 96
    motion: Annotated[
        float,
        Range(1, 100, 5),
        Unit("mm"),
        Title("Largest motion"),
        Help("Of the breathing that is drawn where there are no cases."),
    ] = 40.0
    drawn: Annotated[
        int,
        Range(0, 100_000, 100),
        Title("Drawn pairs"),
        Help("So many different pairs are drawn where there are no cases, and kept in memory; 0: a new one each step."),
        Advanced(),
    ] = 250
    slices: Annotated[
        bool,
        Title("Slices"),
        Help("Learn from coronal slices instead of volumes, where there are no cases."),
        Advanced(),
    ] = False
    mask_weight: Annotated[
        float,
        Range(0, 100, 0.5),
        Title("Weight of segmentations"),
        Help("How much matching segments count, where the cases have them; 0 ignores them."),
    ] = 5.0
    curvature_weight: Annotated[
        float, Range(0, 100, 0.1), Title("Smoothness"), Help("More gives smoother deformations.")
    ] = 1.0
    edges: Annotated[
        float,
        Range(0.01, 10, 0.1),
        Title("Faintest edge"),
        Help("Edges weaker than this share of a scan's mean gradient count as noise."),
        Advanced(),
    ] = 0.5
    levels: Levels = 3
    filters: Annotated[
        int, Range(4, 64), Title("Filters"), Help("Of the first layers; more learn more and take longer."), Advanced()
    ] = 16
    stride: Annotated[
        int,
        Range(1, 4),
        Unit("voxels"),
        Title("Finest level"),
        Help("Size of the blocks of voxels the finest level looks at."),
        Advanced(),
    ] = 2
    progressive: Annotated[
        bool,
        Title("Begin with the coarser level's weights"),
        Help("Each level begins with what the coarser one has learned, instead of random weights."),
        Advanced(),
    ] = True


def stages(settings: Settings) -> Sequence[Stage]:
    """The levels, the coarsest first, with equal shares of the steps as in the paper."""
    return [Stage(f"Level {k + 1} of {settings.levels}") for k in range(settings.levels)]


def trainee(settings: Settings, cases: TrainingCases | None) -> Trainee:
    """See training/mlvirnet.py."""
    from ..mlvirnet import MlVirnetTraining

    return MlVirnetTraining(settings, cases)


RECIPE = Recipe(
    id="mlvirnet",
    title="mlVIRNET: breathing chests, level by level",
    description="A small network for each resolution that learns to align chests in different phases of breathing.",
    architecture="mlvirnet",
    paper="Hering, van Ginneken, Heldmann: mlVIRNET: Multilevel variational image registration network, MICCAI 2019",
    doi="10.1007/978-3-030-32226-7_29",
    settings=Settings,
    trainee=trainee,
    stages=stages,
    steps=4500,
    batch=1,
    learning_rate=2e-3,
    validate_every=250,
)
