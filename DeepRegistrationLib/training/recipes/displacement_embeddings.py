"""Training of displacement embeddings: features like MIND first, then the embedding and how strongly it is smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ...core.spec import Advanced, Help, Range, Title, Unit
from ..recipe import Recipe, Stage

if TYPE_CHECKING:
    from ..cases import TrainingCases
    from ..recipe import Trainee

#: the stages' names: what learns in them is not the same
FEATURES, EMBEDDING = "Features", "Embedding"


@dataclass(frozen=True)
class Settings:
    """Defaults are those of the shipped model."""

    spacing: Annotated[
        float,
        Range(0.1, 20, 0.5),
        Unit("mm"),
        Title("Working resolution"),
        Help("Spacing of the isotropic grid the network works on; it finds motion of up to twenty voxels."),
    ] = 2.0
    size: Annotated[
        int,
        Range(16, 512, 8),
        Unit("voxels"),
        Title("Size of a sample"),
        Help("Edge of what each step looks at while features are learned; a multiple of 8."),
    ] = 48
    wide_size: Annotated[
        int,
        Range(32, 512, 8),
        Unit("voxels"),
        Title("Size of a sample with large motion"),
        Help("The same while the embedding is learned: room for the largest motion; a multiple of 8."),
    ] = 80
    amplitude: Annotated[
        float,
        Range(1, 200, 5),
        Unit("mm"),
        Title("Largest motion"),
        Help("Of the deformations that the embedding is learned from."),
    ] = 30.0
    components: Annotated[
        int, Range(16, 2048, 32), Title("Components"), Help("Numbers that stand for the costs of all displacements.")
    ] = 512
    noise: Annotated[
        float,
        Range(0, 0.5, 0.01),
        Title("Noise"),
        Help("Largest noise added to what features are made of, intensities being 0 to 1; they learn to ignore it."),
        Advanced(),
    ] = 0.05
    pairs: Annotated[
        int, Range(4, 1000, 10), Title("Pairs for the embedding"), Help("Scans its components are made of."), Advanced()
    ] = 40
    points: Annotated[
        int, Range(20, 5000, 50), Title("Keypoints of a sample"), Help("At most, where motion is large."), Advanced()
    ] = 300
    channels: Annotated[
        int,
        Range(2, 64),
        Title("Channels"),
        Help("Of the first layer of the feature network; deeper ones have two, four and six times as many."),
        Advanced(),
    ] = 8
    embedding_share: Annotated[
        float,
        Range(0.005, 0.9, 0.01),
        Title("Share of the second stage"),
        Help("Part of the steps that learn how strongly the embedding is smoothed."),
        Advanced(),
    ] = 0.03


def stages(settings: Settings) -> Sequence[Stage]:
    return Stage(FEATURES, 1 - settings.embedding_share), Stage(EMBEDDING, settings.embedding_share)


def trainee(settings: Settings, cases: TrainingCases | None) -> Trainee:
    """See training/displacement_embeddings.py."""
    from ..displacement_embeddings import EmbeddingTraining

    return EmbeddingTraining(settings, cases)


RECIPE = Recipe(
    id="displacement-embeddings",
    title="Displacement embeddings: large motion in one pass",
    description="Features that make scans comparable, and an embedding of what every displacement of a keypoint costs.",
    architecture="displacement-embeddings",
    paper="Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image "
    "registration using displacement embeddings, MIDL 2020",
    doi="10.48550/arXiv.2005.13338",
    settings=Settings,
    trainee=trainee,
    stages=stages,
    steps=1500,
    batch=1,
    learning_rate=2e-3,
    validate_every=300,
)
