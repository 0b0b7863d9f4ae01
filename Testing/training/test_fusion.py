"""Training of the feature fusion on small made-up cases: it learns, repeats, and goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled, InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.io.weights import read_tensors
from DeepRegistrationLib.metrics.overlap import overlap_by_label
from DeepRegistrationLib.networks.fusion_settings import FusionSettings
from DeepRegistrationLib.ops.mind import mind_ssc
from DeepRegistrationLib.training.contour_errors import with_contour_errors
from DeepRegistrationLib.training.fusion import FusionCase, FusionTraining, class_weights, fusion_case, train_fusion
from DeepRegistrationLib.transforms import Affine

SETTINGS = FusionSettings((("ball",), ("box",)), 4.0, hidden=8, fused=6)
TRAINING = FusionTraining(steps=6, half_width=1, block=8, coupling=(0.03, 0.3), checkpoint_every=2)
FRAME = Grid((24, 26, 22), (4.0, 4.0, 4.0))


def organs(shift: tuple[float, float, float]) -> tuple[Image, Image]:
    """A scan with a ball and a box, both moved by `shift` mm, and their label map."""
    x = FRAME.world_points() - torch.tensor([46.0, 50.0, 42.0]) - torch.tensor(shift)
    ball = (x - torch.tensor([-16.0, 0.0, 0.0])).norm(dim=-1) < 12
    box = ((x - torch.tensor([18.0, 6.0, 4.0])).abs() < torch.tensor([8.0, 14.0, 10.0])).all(dim=-1)
    texture = 5 * torch.randn(FRAME.shape, generator=torch.Generator().manual_seed(int(10 * shift[0]) + 100))
    scan = texture + 100 * ball + 60 * box
    labels = (ball + 2 * box).to(torch.uint8)
    return Image(scan[None], FRAME), Image(labels[None], FRAME, ImageKind.LABELS)


@cache
def cases() -> list[FusionCase]:
    shifts = [(0.0, 0.0, 0.0), (8.0, -4.0, 0.0), (-6.0, 6.0, 4.0)]
    return [
        fusion_case(f"case {k}", *organs(s), FRAME, None, SETTINGS, [1, 2], (0.0, 2.0), seed=k)
        for k, s in enumerate(shifts)
    ]


def weights_of(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def test_a_case_holds_what_the_method_would_see() -> None:
    scan, labels = organs((0.0, 0.0, 0.0))
    away = Affine.from_translation([8.0, 0.0, -4.0])
    there = Image(scan.data, Grid(FRAME.size, FRAME.spacing, (8.0, 0.0, -4.0)))
    case = fusion_case("x", there, replace(labels, grid=there.grid), FRAME, away, SETTINGS, [2, 1])
    mind = mind_ssc(scan.data[0], 1, 2)
    block = mind[:, 4:6, 6:8, 8:10].flatten(1).mean(dim=1)
    assert torch.allclose(case.mind[:, 2, 3, 4], block, atol=1e-4)
    inside = (labels.data[0] == 2).float()
    assert float(case.truth[0].sum()) * 8 == pytest.approx(float(inside.sum()))
    assert torch.equal(case.seen[0], case.truth)
    assert float(case.known.min()) == 1


def test_what_lies_beyond_the_scan_is_unknown() -> None:
    case = fusion_case("x", *organs((0, 0, 0)), FRAME, Affine.from_translation([24.0, 0, 0]), SETTINGS, [1, 2])
    assert float(case.known[..., -2:].max()) == 0 and float(case.known[..., :8].min()) == 1


def test_contours_are_off_by_about_what_was_asked() -> None:
    labels = organs((0.0, 0.0, 0.0))[1]
    dice = []
    for deviation in (0.0, 2.0, 6.0):
        seen = with_contour_errors(labels, deviation, torch.Generator().manual_seed(5))
        assert set(seen.label_values) <= {1, 2} and seen.data.dtype == torch.uint8
        found = overlap_by_label(labels, seen)
        dice.append(min(o.dice or 0.0 for o in found.values()))
    assert dice[0] == 1.0 and 0.8 < dice[1] < 0.99 and 0.4 < dice[2] < dice[1]
    again = with_contour_errors(labels, 6.0, torch.Generator().manual_seed(5))
    other = with_contour_errors(labels, 6.0, torch.Generator().manual_seed(6))
    assert torch.equal(again.data, seen.data) and not torch.equal(other.data, seen.data)


def test_rare_classes_weigh_by_the_root() -> None:
    truth = torch.zeros(2, 10, 10, 10)
    truth[0, 0, :4] = 1  # 40 cells
    truth[1, 5, 0] = 1  # 10 cells
    case = FusionCase("x", torch.zeros(12, 10, 10, 10), torch.ones(10, 10, 10), [truth], truth)
    weights = class_weights([case, case])
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[1] / weights[0]) == pytest.approx(2.0)
    assert float(weights[0] / weights[2]) == pytest.approx((950 / 40) ** 0.5)


def test_training_lowers_the_loss() -> None:
    _, losses = train_fusion(cases(), SETTINGS, replace(TRAINING, steps=24, step=0.02))
    assert len(losses) == 24
    assert sum(losses[-6:]) < 0.85 * sum(losses[:6])


def test_the_seed_decides() -> None:
    a, b, c = (train_fusion(cases(), SETTINGS, replace(TRAINING, seed=s))[0] for s in (0, 0, 1))
    assert torch.equal(weights_of(a), weights_of(b))
    assert not torch.equal(weights_of(a), weights_of(c))


def test_training_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    train_fusion(cases(), SETTINGS, replace(TRAINING, steps=1))
    assert torch.equal(torch.rand(3), wanted)


class StopsAt(Progress):
    """Cancels in the given step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def update(self, fraction: float, stage: str | None = None) -> None:
        if self.left == 0:
            raise Cancelled()
        self.left -= 1


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_stopped_training_goes_on_as_if_it_never_had(stop: int, tmp_path: Path) -> None:
    whole, losses = train_fusion(cases(), SETTINGS, TRAINING)
    file = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Cancelled):
        train_fusion(cases(), SETTINGS, TRAINING, file, StopsAt(stop))
    assert len(read_tensors(file)["losses"]) == stop // 2 * 2
    again, continued = train_fusion(cases(), SETTINGS, TRAINING, file)
    assert continued == losses
    assert torch.equal(weights_of(again), weights_of(whole))
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    # once more: nothing is left to do
    done, _ = train_fusion(cases(), SETTINGS, TRAINING, file, StopsAt(1))
    assert torch.equal(weights_of(done), weights_of(whole))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    train_fusion(cases(), SETTINGS, replace(TRAINING, steps=2), file)
    with pytest.raises(InputError, match="other cases or settings"):
        train_fusion(cases(), SETTINGS, replace(TRAINING, steps=2, seed=4), file)
    with pytest.raises(InputError, match="other cases"):
        train_fusion(cases()[:2], SETTINGS, replace(TRAINING, steps=2), file)


def test_one_case_is_no_pair() -> None:
    with pytest.raises(InputError, match="1 came"):
        train_fusion(cases()[:1], SETTINGS, TRAINING)
