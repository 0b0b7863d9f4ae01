"""Training of VoxelMorph++: heat maps at keypoints, from correspondences and from the images, inside of segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Choice, Help, Range, Title, Unit
from ..recipe import Recipe
from ..recipe_settings import HighestIntensity, LowestIntensity, Mirror

if TYPE_CHECKING:
    from ..cases import TrainingCases
    from ..recipe import Trainee


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the model voxelmorph-plus-plus-varied."""

    spacing: Annotated[
        float,
        Range(0.1, 20, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the network works on; about twice to four times that of the scans."),
    ] = 4.0
    size: Annotated[
        int,
        Range(16, 512, 16),
        Unit("voxels"),
        Title("Size of a sample"),
        Help("Edge of what each step looks at: the whole region; a multiple of 16."),
    ] = 64
    low: LowestIntensity = -1100.0
    high: HighestIntensity = 900.0
    reach: Annotated[
        float,
        Range(0.05, 1, 0.05),
        Title("Reach"),
        Help("Largest displacement, as a share of half a sample's size."),
    ] = 0.3
    amplitude: Annotated[
        float,
        Range(1, 200, 5),
        Unit("mm"),
        Title("Largest motion"),
        Help("Of the breathing chests that are drawn where no cases are given."),
    ] = 50.0
    varied: Annotated[
        bool,
        Title("Varied chests"),
        Help("Draw parts of chests too, with rougher lungs, moved by anything; off: whole ones that move far."),
    ] = True
    learn_from: Annotated[
        str,
        Choice({"keypoints": "Matched keypoints", "similarity": "Similarity of the images", "both": "Both"}),
        Title("Learn from"),
        Help("What says how good an answer is: points that were matched beforehand, the images alone, or both."),
    ] = "both"
    heat_map: Annotated[
        bool,
        Title("Heat maps"),
        Help("Predict how likely every displacement is; off: predict one displacement directly, as VoxelMorph."),
    ] = True
    within: Annotated[
        bool,
        Title("Inside of segments"),
        Help(
            "Learn inside of the segments only: of your cases those that all have, if any; of drawn chests the lungs. "
            "Mask the fixed scan likewise when you use the model."
        ),
    ] = True
    pairs: Annotated[
        int,
        Range(1, 10_000, 50),
        Title("Pairs"),
        Help("How many pairs are drawn and matched; every step takes one of them again."),
    ] = 600
    shaking: Annotated[
        float,
        Range(0, 0.2, 0.005),
        Title("Shaking"),
        Help("How much one scan of a pair is stretched, turned and moved at random, relative to half of a sample."),
    ] = 0.035
    points: Annotated[
        int, Range(8, 5000, 50), Title("Keypoints of a step"), Help("So many of a pair's keypoints, at random.")
    ] = 64
    known: Annotated[
        bool,
        Title("Known motion"),
        Help("Where keypoints of drawn scans go is what they were drawn with; off: it is searched, as in real scans."),
        Advanced(),
    ] = True
    smoothness: Annotated[
        float,
        Range(0, 100, 0.25),
        Title("Smoothness"),
        Help("Weight of differences between neighbouring keypoints, where the images say what is good."),
        Advanced(),
    ] = 0.25
    keypoints: Annotated[
        int, Range(16, 5000, 100), Title("Keypoints"), Help("Looked for in each fixed scan."), Advanced()
    ] = 1024
    channels: Annotated[
        int,
        Range(8, 256, 16),
        Title("Channels"),
        Help("Of the features that keypoints are told apart by; the other layers in proportion."),
        Advanced(),
    ] = 64
    mirror: Mirror = True
    slices: Annotated[
        bool, Title("Slices"), Help("Draw slices instead of volumes, to try things out quickly."), Advanced()
    ] = False


def trainee(settings: Settings, cases: TrainingCases | None) -> Trainee:
    """See training/voxelmorph_plus_plus.py."""
    from ..voxelmorph_plus_plus import KeypointTraining

    return KeypointTraining(settings, cases)


RECIPE = Recipe(
    id="voxelmorph-plus-plus",
    title="VoxelMorph++: large motion of the lungs",
    description="A network that predicts heat maps of where keypoints go, taught by matched keypoints and the images.",
    architecture="voxelmorph-plus-plus",
    paper="Heinrich, Hansen: VoxelMorph++: going beyond the cranial vault with keypoint supervision and multi-channel "
    "instance optimisation, WBIR 2022",
    doi="10.1007/978-3-031-11203-4_10",
    settings=Settings,
    trainee=trainee,
    steps=4000,
    batch=1,
    learning_rate=1e-3,
    validate_every=200,
)
