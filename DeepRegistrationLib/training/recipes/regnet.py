"""Training of RegNet: the displacement of synthetic fields, regressed patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Help, Range, Title, Unit
from ..recipe import Recipe, Stage
from ..recipe_settings import HighestIntensity, LowestIntensity, WorkingSpacing

if TYPE_CHECKING:
    from ..cases import TrainingCases
    from ..recipe import Trainee


#: the second stage's name, and its share of the steps
SETTLED, _SHARE = "Settled normalisation", 0.6


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the chest CT model."""

    spacing: WorkingSpacing = 2.0
    low: LowestIntensity = -1000.0
    high: HighestIntensity = 500.0
    amplitude: Annotated[
        float,
        Range(0.5, 100, 1),
        Unit("mm"),
        Title("Capture range"),
        Help("Largest displacement along each axis that is learned."),
    ] = 8.0
    size: Annotated[
        int,
        Range(32, 512, 8),
        Unit("voxels"),
        Title("Size of a sample"),
        Help("Edge of the scans that are drawn; patches come from a block of them."),
    ] = 72
    block: Annotated[
        int,
        Range(2, 128, 8),
        Unit("voxels"),
        Title("Block of a step"),
        Help("Edge of the block whose patches each step looks at; an even number, at most the size of a sample."),
    ] = 24
    width: Annotated[
        float,
        Range(0.1, 4, 0.25),
        Title("Width"),
        Help("Channels of every layer, relative to the published network."),
        Advanced(),
    ] = 1.0
    scales: Annotated[
        int, Range(1, 2), Title("Scales"), Help("2: patches of two sizes; 1: the small ones alone."), Advanced()
    ] = 2
    late: Annotated[
        bool, Title("Late fusion"), Help("Each scan passes some layers by itself before both are joined."), Advanced()
    ] = True
    dimension: Annotated[
        int, Range(2, 3), Title("Dimensions"), Help("3 for volumes, 2 for single slices."), Advanced()
    ] = 3


def stages(settings: Settings) -> Sequence[Stage]:
    """Batch normalisation by the block at hand at first, then by the means of all blocks, as when it is used."""
    return Stage("Training", 1 - _SHARE), Stage(SETTLED, _SHARE)


def trainee(settings: Settings, cases: TrainingCases | None) -> Trainee:
    """See training/regnet.py."""
    from ..regnet import RegNetTraining

    return RegNetTraining(settings, cases)


RECIPE = Recipe(
    id="regnet",
    title="RegNet: displacements of patches",
    description="Learns what patches of two sizes tell of small displacements, from scans deformed at random.",
    architecture="regnet",
    paper="Sokooti et al.: Nonrigid image registration using multi-scale 3D convolutional neural networks, MICCAI 2017",
    doi="10.1007/978-3-319-66182-7_27",
    settings=Settings,
    trainee=trainee,
    stages=stages,
    steps=2000,
    batch=1,
    learning_rate=1e-3,
    validate_every=250,
)
