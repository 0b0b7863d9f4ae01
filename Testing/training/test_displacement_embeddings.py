"""Training of displacement embeddings: both stages learn what they should, from synthetic anatomy and from scans."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.progress import Progress, no_tick
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.ops.mind import mind_ssc
from DeepRegistrationLib.training.cases import Case, TrainingCases
from DeepRegistrationLib.training.displacement_embeddings import EmbeddingTraining, mind_targets
from DeepRegistrationLib.training.recipes.displacement_embeddings import EMBEDDING, RECIPE, Settings, stages

CPU = torch.device("cpu")
SMALL = Settings(
    size=16, wide_size=32, amplitude=8.0, components=32, pairs=4, points=30, channels=2, spacing=4.0
)


def scans() -> TrainingCases:
    raw = torch.rand(1, 24, 30, 36, generator=torch.Generator().manual_seed(1)) * 400
    return TrainingCases([Case("a", Image(raw, Grid((36, 30, 24), (4.0,) * 3)))])


def test_targets_are_mind_over_blocks() -> None:
    scan = torch.rand(1, 1, 16, 16, 16)
    mind = mind_ssc(scan[0, 0])
    assert torch.allclose(mind_targets(scan)[0, :, 3, 2, 1], mind[:, 6:8, 4:6, 2:4].mean(dim=(1, 2, 3)), atol=1e-6)


def test_stages_learn_their_own_weights() -> None:
    torch.manual_seed(0)
    training = EmbeddingTraining(SMALL, None)
    first, second = stages(SMALL)
    training.begin(first, no_tick)
    training.enter(first)
    loss = training.losses(training.sample(torch.Generator().manual_seed(1), CPU), first)["features"]
    loss.backward()
    assert all(p.grad is not None for p in training.net.features.parameters())
    assert training.net.log_diffusion.grad is None and not bool(training.net.basis.any())

    training.network.zero_grad()
    training.begin(second, no_tick)
    training.enter(second)
    kept = training.net.space.basis.float().square().sum(dim=1)
    assert torch.allclose(kept, torch.ones(32), atol=0.01)
    surprise = training.losses(training.sample(torch.Generator().manual_seed(1), CPU), second)["surprise"]
    surprise.backward()
    assert training.net.log_diffusion.grad is not None
    assert all(p.grad is None for p in training.net.features.parameters())
    with torch.no_grad():
        found = training.validate(CPU, lambda: None)
    assert found.numbers["TRE before (mm)"] > 0 and set(found.pictures) == {"Fixed", "Moving", "Moved"}


def test_the_embedding_can_be_cancelled_while_it_is_made() -> None:
    training = EmbeddingTraining(SMALL, None)
    training.enter(stages(SMALL)[1])
    ticks: list[int] = []
    training.begin(stages(SMALL)[1], lambda: ticks.append(1))
    assert len(ticks) > 2 * SMALL.pairs
    with pytest.raises(Cancelled):
        training.begin(stages(SMALL)[1], Progress(cancelled=lambda: True).tick)


def test_steps_bring_features_closer_to_mind() -> None:
    torch.manual_seed(0)
    training = EmbeddingTraining(SMALL, None)
    stage = stages(SMALL)[0]
    training.enter(stage)
    with torch.no_grad():
        before = training.validate(CPU, lambda: None).score
    adam = torch.optim.Adam([p for p in training.network.parameters() if p.requires_grad], lr=5e-3)
    for k in range(25):
        adam.zero_grad()
        training.losses(training.sample(torch.Generator().manual_seed(k), CPU), stage)["features"].backward()
        adam.step()
    with torch.no_grad():
        assert training.validate(CPU, lambda: None).score > before + 0.01


def test_learns_from_single_scans() -> None:
    training = EmbeddingTraining(SMALL, scans())
    for stage in stages(SMALL):
        training.begin(stage, no_tick)
        training.enter(stage)
        batch = training.sample(torch.Generator().manual_seed(2), CPU)
        assert batch.displacement is not None
        losses = training.losses(batch, stage)
        assert all(bool(torch.isfinite(v)) for v in losses.values())


def test_the_card_builds_the_network() -> None:
    training = EmbeddingTraining(SMALL, None)
    card = training.card()
    again = build(RECIPE.architecture, card["network"])
    again.load_state_dict(training.network.state_dict())
    assert card["working"]["spacing"] == 4.0
    assert [s.name for s in stages(SMALL)][1] == EMBEDDING
