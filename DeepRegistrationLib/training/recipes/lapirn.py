"""Training of LapIRN: level by level, from similarity, smoothness and, where there are segmentations, their overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Help, Range, Title, Unit
from ..recipe import Recipe, Stage
from ..recipe_settings import HighestIntensity, Levels, LowestIntensity, Mirror

if TYPE_CHECKING:
    from ..cases import TrainingCases
    from ..recipe import Trainee


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the head-and-neck CT model."""

    spacing: Annotated[
        float,
        Range(0.1, 20, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the network works on; about twice that of the scans."),
    ] = 5.0
    low: LowestIntensity = -500.0
    high: HighestIntensity = 800.0
    size: Annotated[
        int,
        Range(16, 512, 8),
        Unit("voxels"),
        Title("Size of a sample"),
        Help("Breadth of what each step looks at, around the segments; a multiple of 8."),
    ] = 48
    length: Annotated[
        int,
        Range(16, 512, 8),
        Unit("voxels"),
        Title("Length of a sample"),
        Help("The same from head to foot."),
    ] = 64
    overlap_weight: Annotated[
        float,
        Range(0, 100, 0.5),
        Title("Weight of segmentations"),
        Help("How much the overlap of segments counts, where the cases have them; 0 ignores them."),
    ] = 1.0
    smoothness: Annotated[
        float, Range(0, 100, 0.1), Title("Smoothness"), Help("More gives stiffer deformations.")
    ] = 0.5
    diffeomorphic: Annotated[
        bool, Title("Never fold (diffeomorphic)"), Help("Learn velocities, whose flow cannot fold; slower.")
    ] = False
    levels: Levels = 3
    channels: Annotated[
        int, Range(4, 64), Title("Channels"), Help("Of every layer; more learn more and take longer."), Advanced()
    ] = 16
    reach: Annotated[
        float,
        Range(0.5, 64, 0.5),
        Unit("voxels"),
        Title("Reach"),
        Help("Largest displacement one level adds, in voxels of its resolution."),
        Advanced(),
    ] = 4.0
    augmentation: Annotated[
        float,
        Range(0, 1, 0.1),
        Title("Affine augmentation"),
        Help("Share of the samples that are turned, moved and stretched."),
        Advanced(),
    ] = 0.1
    mirror: Mirror = True


#: share of the steps of a level that the coarser levels are held for, and of the levels themselves
HELD = 0.2
_SHARES = (0.25, 0.45, 0.3)


@dataclass(frozen=True)
class Part:
    """A stage: which level learns (from 1, the coarsest), and whether the coarser ones are held."""

    level: int
    held: bool
    stage: Stage


def parts(settings: Settings) -> list[Part]:
    """Level after level; after the first each begins with the coarser ones held."""
    shares = _SHARES if settings.levels == len(_SHARES) else (1 / settings.levels,) * settings.levels
    found = []
    for level, share in enumerate(shares, start=1):
        name = f"Level {level} of {settings.levels}"
        if level > 1:
            found.append(Part(level, True, Stage(f"{name}, the coarser held", HELD * share)))
            share *= 1 - HELD
        found.append(Part(level, False, Stage(name, share)))
    return found


def stages(settings: Settings) -> Sequence[Stage]:
    return [part.stage for part in parts(settings)]


def trainee(settings: Settings, cases: TrainingCases | None) -> Trainee:
    """See training/lapirn.py."""
    from ..lapirn import LapIRNTraining

    return LapIRNTraining(settings, cases)


RECIPE = Recipe(
    id="lapirn",
    title="LapIRN: deformations from coarse to fine",
    description="A pyramid of networks that learns to align scans of one region, better with segmentations of organs.",
    architecture="lapirn",
    paper="Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks, 2021",
    doi="10.1007/978-3-030-71827-5_7",
    settings=Settings,
    trainee=trainee,
    stages=stages,
    steps=8000,
    batch=1,
    learning_rate=1e-3,
    validate_every=250,
)
