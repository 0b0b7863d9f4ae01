"""What LapIRN learns from: stages, losses by hand, real and synthetic pairs, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.losses.overlap import dice_distance
from DeepRegistrationLib.losses.regularity import diffusion
from DeepRegistrationLib.losses.similarity_pyramid import similarity_pyramid
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.working import WorkingSettings
from DeepRegistrationLib.ops.warp import exponential, warp
from DeepRegistrationLib.training.batch import Batch
from DeepRegistrationLib.training.cases import Case, Role, TrainingCases
from DeepRegistrationLib.training.lapirn import LapIRNTraining
from DeepRegistrationLib.training.recipes.lapirn import RECIPE, Settings, parts

CPU = torch.device("cpu")
SMALL = Settings(spacing=6.0, low=0.0, high=1.0, size=16, length=16, channels=4)


def patient(name: str, where: float, role: Role = Role.TRAIN, segmented: bool = True) -> Case:
    grid = Grid((20, 20, 20), (6.0, 6.0, 6.0), (-57.0, -57.0, -57.0))
    x = grid.world_points()
    body = (x.norm(dim=-1) < 55).float()
    ball = (x - torch.tensor([where, 0.0, 0.0])).norm(dim=-1) < 20
    labels = Image(ball[None].to(torch.uint8), grid, ImageKind.LABELS, {1: "ball"})
    return Case(name, Image((0.4 * body + 0.5 * ball)[None], grid), labels if segmented else None, role)


def cases(segmented: bool = True) -> TrainingCases:
    return TrainingCases(
        [
            patient("a", -12.0, segmented=segmented), patient("b", 12.0, segmented=segmented),
            patient("c", 0.0, Role.VALIDATE, segmented), patient("d", 18.0, Role.VALIDATE, segmented),
        ]
    )  # fmt: skip


def trainee(said: Settings = SMALL, of: TrainingCases | None = None) -> LapIRNTraining:
    torch.manual_seed(0)
    return LapIRNTraining(said, of or cases())


def test_each_level_learns_after_the_coarser_ones() -> None:
    made = trainee()
    names = [s.name for s in RECIPE.stages(SMALL)]
    assert len(set(names)) == len(names) == 5
    learning = []
    for stage in RECIPE.stages(SMALL):
        made.enter(stage)
        learning.append([k for k, b in enumerate(made.network.blocks, 1) if b.down.weight.requires_grad])  # type: ignore[arg-type, union-attr]
    assert learning == [[1], [2], [1, 2], [3], [1, 2, 3]]
    assert sum(p.stage.share for p in parts(SMALL)) == pytest.approx(1)
    assert [p.level for p in parts(replace(SMALL, levels=1))] == [1]


@pytest.mark.parametrize("diffeomorphic", [False, True])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_losses_by_hand(level: int, diffeomorphic: bool) -> None:
    made = trainee(replace(SMALL, diffeomorphic=diffeomorphic, smoothness=3.0, overlap_weight=2.0))
    batch = made.sample(torch.Generator().manual_seed(1), CPU)
    stage = [p.stage for p in parts(SMALL) if p.level == level][-1]
    made.enter(stage)
    with torch.no_grad():
        for block in made.network.blocks:  # type: ignore[union-attr]
            block.decode[2].weight.mul_(20)
        losses = made.losses(batch, stage)
        parts_of = [batch.fixed, batch.moving, batch.region, batch.fixed_labels, batch.moving_labels]
        small = [torch.nn.functional.avg_pool3d(v, 2 ** (3 - level)) if level < 3 else v for v in parts_of]  # type: ignore[arg-type]
        fixed, moving, region, fixed_labels, moving_labels = small
        found = made.network(batch.fixed, batch.moving)
        field = found.details["fields"][level - 1]
        displacement = exponential(field) if diffeomorphic else field
    assert float(displacement.abs().max()) > 0.1
    wanted = {
        "similarity": similarity_pyramid(fixed, warp(moving, displacement), level, region),
        "overlap": 2 * dice_distance(fixed_labels, warp(moving_labels, displacement), region),
        "smoothness": 3 * diffusion(field),
    }
    assert list(losses) == list(wanted)
    for name, value in wanted.items():
        assert float(losses[name]) == pytest.approx(float(value), rel=1e-3), name


def test_it_learns_to_bring_segments_together() -> None:
    made = trainee(replace(SMALL, levels=2, smoothness=0.05, augmentation=0.0))
    made.network.eval()
    with torch.no_grad():
        before = made.validate(CPU, lambda: None)
    for stage, steps in zip(RECIPE.stages(made.settings), (60, 20, 30), strict=True):
        made.enter(stage)
        adam = torch.optim.Adam([p for p in made.network.parameters() if p.requires_grad], lr=3e-3)
        for step in range(steps):
            loss = sum(made.losses(made.sample(torch.Generator().manual_seed(step), CPU), stage).values())
            adam.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            adam.step()
    with torch.no_grad():
        after, again = (made.validate(CPU, lambda: None) for _ in range(2))
    assert after.score == after.numbers["Dice"] == again.score
    assert after.numbers["Dice before"] == before.numbers["Dice before"]
    assert after.score > before.numbers["Dice before"] + 0.1
    assert set(after.pictures) == {"Fixed", "Moving", "Moved"}


def test_validation_counts_the_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dice of a ball against itself moved by a known number of voxels."""
    made = trainee()
    shares = torch.zeros(1, 1, 16, 16, 16)
    shares[..., 4:12, 4:12, 4:12] = 1
    moved = shares.roll(2, dims=-1)
    batch = Batch(shares, moved, torch.full((3,), 6.0), shares, moved, region=torch.ones_like(shares))
    monkeypatch.setattr(made, "validated", [batch])
    with torch.no_grad():
        made.network.blocks[-1].decode[2].weight.zero_()  # type: ignore[union-attr, index]
        for block in made.network.blocks:  # type: ignore[union-attr]
            block.decode[2].weight.zero_()
        numbers = made.validate(CPU, lambda: None).numbers
    assert numbers["Dice"] == numbers["Dice before"] == pytest.approx(0.75)
    assert numbers["Folding (%)"] == 0


@pytest.mark.parametrize(
    ("roles", "wanted"),
    [
        ("tttt", [("a", "b"), ("b", "c"), ("c", "a")]),
        ("ttvv", [("c", "d"), ("d", "c")]),
        ("tttv", [("d", "a")]),
    ],
)
def test_cases_for_validation(roles: str, wanted: list[tuple[str, str]]) -> None:
    said = {"t": Role.TRAIN, "v": Role.VALIDATE}
    several = [replace(c, role=said[r]) for c, r in zip(cases().cases, roles, strict=True)]
    made = trainee(of=TrainingCases(several))
    assert made.validation.pairs == wanted  # type: ignore[union-attr]
    assert {n for pair in made.pairs.pairs for n in pair} == {n for n, r in zip("abcd", roles, strict=True) if r == "t"}  # type: ignore[union-attr]


def test_without_segmentations_similarity_is_the_score() -> None:
    made = trainee(of=cases(segmented=False))
    stage = RECIPE.stages(SMALL)[-1]
    made.enter(stage)
    assert set(made.losses(made.sample(torch.Generator().manual_seed(0), CPU), stage)) == {"similarity", "smoothness"}
    with torch.no_grad():
        found = made.validate(CPU, lambda: None)
    assert found.score == found.numbers["Local correlation"]
    assert "Dice" not in found.numbers
    assert set(trainee(replace(SMALL, overlap_weight=0.0)).sample(torch.Generator(), CPU).__dict__) >= {"fixed"}


def test_without_cases_it_learns_from_synthetic_ones() -> None:
    torch.manual_seed(0)
    made = RECIPE.trainee(replace(SMALL, size=32, length=32), None)
    stage = RECIPE.stages(SMALL)[0]
    made.enter(stage)
    batch = made.sample(torch.Generator().manual_seed(0), CPU)
    assert batch.fixed.shape[2:] == (32, 32, 32)
    assert all(bool(torch.isfinite(v)) for v in made.losses(batch, stage).values())
    with torch.no_grad():
        assert made.validate(CPU, lambda: None).numbers["Error (mm)"] > 0


def test_the_card_says_how_to_build_the_network() -> None:
    made = trainee(replace(SMALL, diffeomorphic=True))
    card = made.card()
    again = build("lapirn", card["network"])
    again.load_state_dict(made.network.state_dict())
    assert again.diffeomorphic  # type: ignore[union-attr]
    assert WorkingSettings.from_card(card["working"]) == WorkingSettings(6.0, 0.0, 1.0, 8)
    assert card["segments"] == ["ball"]
