"""RegNet's training: fields and blocks are what the paper says, the error is its own, and it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.networks.regnet import LARGE
from DeepRegistrationLib.networks.working import WorkingSettings
from DeepRegistrationLib.ops.warp import warp
from DeepRegistrationLib.training.cases import Case, Role, TrainingCases
from DeepRegistrationLib.training.deformed_scans import DeformedScans, FieldSettings
from DeepRegistrationLib.training.recipe import Stage
from DeepRegistrationLib.training.recipes.regnet import RECIPE, Settings, stages
from DeepRegistrationLib.training.regnet import RegNetTraining, block_of, residual, synthetic
from DeepRegistrationLib.training.synthetic import SyntheticPairs

CPU = torch.device("cpu")
SMALL = Settings(size=40, block=8, width=0.2, dimension=2, spacing=2.0)


def scan() -> Image:
    grid = Grid((60, 56, 44), (2.0, 2.0, 3.0), (-60.0, -50.0, 10.0))
    x = grid.world_points()
    waves = torch.sin(x[..., 0] / 9) + torch.sin(x[..., 1] / 7) + torch.cos(x[..., 2] / 8)
    return Image(200 * waves[None].float(), grid)


def test_blocks_are_the_paper_s_patches() -> None:
    """Of the whole: fixed(x) = moving(x + u), u within the capture range in each component."""
    pairs = SyntheticPairs(synthetic(SMALL)[0])
    whole = pairs.sample(torch.Generator().manual_seed(1), CPU)
    assert whole.displacement is not None and whole.region is not None and whole.fixed_points is not None
    assert whole.displacement.abs().max() * 2.0 == pytest.approx(8.0, rel=1e-4)
    block = block_of(whole, whole.fixed_points[0, 0], 8)
    assert block.displacement is not None and block.region is not None
    before, behind = LARGE
    assert block.fixed.shape[2:] == (8 + before + behind,) * 2 == block.displacement.shape[2:]
    inner = (..., slice(before, -behind), slice(before, -behind))
    assert block.region[inner].sum() == block.region.sum() > 0
    places = [(y, x) for y in range(33) for x in range(33)
              if torch.equal(whole.fixed[0, 0, y : y + 8, x : x + 8], block.fixed[inner][0, 0])]  # fmt: skip
    (y, x) = places[0]
    assert torch.equal(whole.displacement[..., y : y + 8, x : x + 8], block.displacement[inner])


def test_the_error_is_the_sum_over_components_in_mm() -> None:
    training = RegNetTraining(SMALL, None)
    block = training.sample(torch.Generator().manual_seed(2), CPU)
    assert block.displacement is not None and block.region is not None
    before, behind = LARGE
    odd = (slice(None), slice(None), *(slice(before + 1, n - behind, 2) for n in block.fixed.shape[2:]))
    truth = block.displacement[odd]
    assert residual(truth, block) == 0
    off = truth + torch.tensor([0.5, -1.5]).reshape(1, 2, 1, 1)
    assert residual(off, block) == pytest.approx(2.0 * (0.5 + 1.5), rel=1e-5)


def test_it_learns() -> None:
    """A few steps on one block make its error smaller."""
    torch.manual_seed(0)
    training = RegNetTraining(SMALL, None)
    block = training.sample(torch.Generator().manual_seed(5), CPU)
    adam = torch.optim.Adam(training.network.parameters(), 3e-3)
    errors = []
    for _ in range(25):
        (loss,) = training.losses(block, Stage("Training")).values()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < 0.6 * errors[0]
    training.network.eval()
    with torch.no_grad():
        first, again = (training.validate(CPU, lambda: None) for _ in range(2))
    assert first.numbers == again.numbers and first.score == -first.numbers["MAE (mm)"]
    assert {"Fixed", "Moving", "Moved"} <= set(first.pictures)


def test_real_scans_are_deformed_with_a_map_that_is_known() -> None:
    working = WorkingSettings(3.0, -500.0, 500.0, 2)
    pairs = DeformedScans([Case("a", scan())], working, (32, 32, 32), FieldSettings(6.0))
    first, again, other = (pairs.sample(torch.Generator().manual_seed(s), CPU) for s in (1, 1, 2))
    assert torch.equal(first.fixed, again.fixed) and not torch.equal(first.fixed, other.fixed)
    for made in (first, other):
        assert made.displacement is not None and made.region is not None
        assert made.fixed_points is not None and made.moving_points is not None
        assert made.displacement.abs().max() * 3 == pytest.approx(6.0, rel=1e-4)
        inner = (..., *(slice(4, -4),) * 3)
        after = ((warp(made.moving, made.displacement) - made.fixed) * made.region)[inner].square().mean()
        before = ((made.moving - made.fixed) * made.region)[inner].square().mean()
        assert after < 0.15 * before
        x, y, z = made.fixed_points[0].long().unbind(1)
        moved = made.moving_points[0] - made.fixed_points[0]
        assert torch.allclose(moved, made.displacement[0][:, z, y, x].T, atol=1e-5)


def test_cases_are_taken_by_their_role() -> None:
    cases = TrainingCases([Case("a", scan()), Case("b", scan(), role=Role.VALIDATE)])
    training = RegNetTraining(Settings(size=32, block=4, width=0.15, spacing=3.0), cases)
    assert training.pairs is not training.validation
    block = training.sample(torch.Generator().manual_seed(3), CPU)
    (loss,) = training.losses(block, Stage("Training")).values()
    assert loss.isfinite()


def test_the_recipe_declares_what_it_makes() -> None:
    training = RECIPE.trainee(SMALL, None)
    assert training.card()["network"] == {"dimension": 2, "scales": 2, "late": True, "width": 0.2, "stride": 2}


def test_the_second_stage_normalises_as_the_finished_network() -> None:
    """Its loss is that of the network in evaluation, and the means over what was seen do not change."""
    torch.manual_seed(0)
    trainee = RegNetTraining(SMALL, None)
    first, settled = stages(trainee.settings)
    batch = trainee.sample(torch.Generator().manual_seed(1), CPU)
    trainee.network.train()
    trainee.enter(first)
    by_block = trainee.losses(batch, first)["mae"]
    kept = {k: v.clone() for k, v in trainee.network.state_dict().items()}
    trainee.enter(settled)
    by_means = trainee.losses(batch, settled)["mae"]
    by_means.backward()
    assert all(torch.equal(v, kept[k]) for k, v in trainee.network.state_dict().items())
    trainee.network.eval()
    assert torch.equal(by_means, trainee.losses(batch, settled)["mae"]) and not torch.equal(by_means, by_block)


def test_blocks_lie_where_motion_is_more_often() -> None:
    trainee = RegNetTraining(replace(SMALL, size=160), None)
    whole, chosen = 0.0, 0.0
    for k in range(30):
        batch = trainee.sample(torch.Generator().manual_seed(k), CPU)
        generator = torch.Generator().manual_seed(k)
        pair = trainee.pairs[int(torch.randint(2, (), generator=generator))].sample(generator, CPU)
        assert batch.displacement is not None and batch.region is not None and pair.displacement is not None
        chosen += float(batch.displacement.norm(dim=1)[batch.region[:, 0] > 0].mean())
        whole += float(pair.displacement.norm(dim=1).mean())
    assert chosen > 1.2 * whole
