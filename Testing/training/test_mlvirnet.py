"""The training of mlVIRNET: stages, what learns in them, losses, and a model that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.progress import no_tick
from DeepRegistrationLib.io.weights import load_weights
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.working import WorkingSettings
from DeepRegistrationLib.training.cases import Case, TrainingCases
from DeepRegistrationLib.training.mlvirnet import MlVirnetTraining, breathing, packed
from DeepRegistrationLib.training.recipes.mlvirnet import RECIPE, Settings, stages
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.training.synthetic import SyntheticPairs

TINY: dict[str, Any] = {
    "slices": True, "size": 32, "length": 48, "stride": 1, "filters": 4, "levels": 2, "spacing": 6.0, "motion": 40.0,
    "drawn": 0,
}  # fmt: skip


def trainee(**changes: Any) -> MlVirnetTraining:
    torch.manual_seed(0)
    return MlVirnetTraining(Settings(**{**TINY, **changes}), None)


def test_levels_share_the_steps_and_only_later_ones_are_started() -> None:
    made = trainee()
    coarse, fine = stages(made.settings)
    assert coarse.share == fine.share and coarse.name != fine.name
    first, second = made.network.levels  # type: ignore[misc]
    apart = first.last.weight.clone(), second.last.weight.clone()
    made.begin(coarse, no_tick)
    assert torch.equal(second.last.weight, apart[1]), "the coarsest level begins with random weights"
    made.enter(coarse)
    assert all(p.requires_grad for p in first.parameters()) and not any(p.requires_grad for p in second.parameters())
    made.begin(fine, no_tick)
    assert torch.equal(second.last.weight, apart[0])
    made.enter(fine)
    assert all(p.requires_grad for p in second.parameters()) and not any(p.requires_grad for p in first.parameters())
    other = trainee(progressive=False)
    other.begin(fine, no_tick)
    assert torch.equal(other.network.levels[1].last.weight, apart[1])  # type: ignore[index, union-attr]


def test_losses_are_named_and_make_the_scans_alike() -> None:
    made = trainee()
    (coarse, _) = stages(made.settings)
    made.enter(coarse)
    batch = made.sample(torch.Generator().manual_seed(0), torch.device("cpu"))
    assert batch.fixed.shape == (1, 1, 48, 32)
    adam = torch.optim.Adam([p for p in made.network.parameters() if p.requires_grad], 3e-3)
    values = []
    for _ in range(60):
        losses = made.losses(batch, coarse)
        assert set(losses) == {"edges", "curvature", "masks"}
        values.append(float(sum(losses.values())))  # type: ignore[arg-type]
        adam.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        adam.step()
    assert values[-1] < 0.9 * values[0]


def test_masks_count_only_where_they_are_wanted() -> None:
    made = trainee(mask_weight=0.0)
    batch = made.sample(torch.Generator().manual_seed(0), torch.device("cpu"))
    assert batch.fixed_labels is None
    assert set(made.losses(batch, stages(made.settings)[0])) == {"edges", "curvature"}
    assert breathing(made.settings).families == ("lungs",)


def test_drawn_pairs_come_again() -> None:
    made = trainee(drawn=2)
    seen = [made.sample(torch.Generator().manual_seed(k), torch.device("cpu")).fixed for k in range(8)]
    different = {round(float(s.sum()), 3) for s in seen}
    assert len(different) == 2
    again = trainee(drawn=2).sample(torch.Generator().manual_seed(5), torch.device("cpu"))
    assert torch.equal(again.fixed, seen[5])


def test_drawn_pairs_are_kept_small_and_whole() -> None:
    made = trainee(drawn=1)
    assert isinstance(made.pairs, SyntheticPairs)
    drawn = made.pairs.sample(torch.Generator().manual_seed(0), torch.device("cpu"))
    kept, used = packed(drawn), made.sample(torch.Generator().manual_seed(3), torch.device("cpu"))
    assert used.fixed_labels is not None and drawn.fixed_labels is not None and kept.fixed_labels is not None
    assert torch.equal(used.fixed_labels, drawn.fixed_labels) and torch.equal(used.moving, drawn.moving)
    assert used.region is not None and drawn.region is not None and torch.equal(used.region, drawn.region)
    assert kept.fixed_labels.element_size() == 1 and kept.displacement is None


def test_a_training_gives_a_model_that_runs(tmp_path: Path) -> None:
    told = []
    request = TrainingRequest(
        "mlvirnet", tmp_path, settings=TINY, steps=4, validate_every=4, device="cpu", title="Mine", model_id="mine"
    )
    model = run_training(request, report=told.append)
    assert (model.id, model.architecture) == ("mine", "mlvirnet")
    working = WorkingSettings.from_card(model.settings["working"])
    assert (working.spacing, working.low, working.high, working.multiple) == (6.0, -1000.0, 500.0, 8)
    network = build("mlvirnet", model.settings["network"])
    network.load_state_dict(load_weights(model))
    found = network.eval()(torch.rand(1, 1, 40, 48), torch.rand(1, 1, 40, 48))
    assert found.displacement.shape == (1, 2, 40, 48)
    numbers = next(e.validation.numbers for e in told if hasattr(e, "validation"))
    assert {"Dice", "TRE (mm)", "Folding (%)"} <= set(numbers)


def test_real_cases_are_learned_from_in_their_own_number_of_axes() -> None:
    grid = Grid((48, 40, 44), (4.0, 4.0, 4.0))
    x = grid.world_points() - torch.as_tensor(grid.centre, dtype=torch.float32)

    def case(name: str, radius: float) -> Case:
        ball = (x.norm(dim=-1) < radius)[None]
        labels = Image(ball.to(torch.uint8), grid, ImageKind.LABELS, {1: "Ball"})
        noise = 20 * torch.randn(ball.shape, generator=torch.Generator().manual_seed(int(radius)))
        return Case(name, Image(1000.0 * ball - 1000 + noise, grid), labels)

    cases = TrainingCases([case("in", 50), case("out", 40)], [("in", "out")])
    made = MlVirnetTraining(Settings(**{**TINY, "length": 32}), cases)
    batch = made.sample(torch.Generator().manual_seed(0), torch.device("cpu"))
    assert batch.fixed.shape == (1, 1, 32, 32, 32) and made.segments == ["Ball"]
    assert set(made.losses(batch, stages(made.settings)[0])) == {"edges", "curvature", "masks"}
    assert made.card()["network"]["dimension"] == 3


@pytest.mark.parametrize("name", ["architecture", "id"])
def test_the_recipe_is_that_of_the_method(name: str) -> None:
    assert getattr(RECIPE, name) == "mlvirnet"
