"""What VoxelMorph++ learns from: keypoints that are right, mirrored and shaken with the scans, and losses that fall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.progress import no_tick
from DeepRegistrationLib.core.sampling import sample_batch
from DeepRegistrationLib.losses.nonlocal_mind import warped_mind
from DeepRegistrationLib.networks.voxelmorph_plus_plus import VoxelMorphPlusPlus
from DeepRegistrationLib.training.batch import Batch
from DeepRegistrationLib.training.cases import Case, TrainingCases
from DeepRegistrationLib.training.keypoint_lessons import match, mirrored, shaken, truth, union
from DeepRegistrationLib.training.precision import learn_in
from DeepRegistrationLib.training.recipe import Stage
from DeepRegistrationLib.training.recipes import find_recipe
from DeepRegistrationLib.training.recipes.voxelmorph_plus_plus import Settings
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.training.synthetic.pairs import SyntheticPairs
from DeepRegistrationLib.training.voxelmorph_plus_plus import (
    KeypointTraining,
    breathing,
    drawn_chest,
    mind,
    roughness,
)

_SMALL = Settings(
    size=48, spacing=5.0, pairs=2, points=24, channels=8, keypoints=150, slices=True,
    learn_from="keypoints", within=False,
)  # fmt: skip


def _trainee(**changes: object) -> KeypointTraining:
    torch.manual_seed(0)
    trainee = find_recipe("voxelmorph-plus-plus").trainee(replace(_SMALL, **changes), None)  # type: ignore[arg-type]
    assert isinstance(trainee, KeypointTraining)
    return trainee


_DRAWN = replace(_SMALL, amplitude=60.0, size=96, spacing=2.5, keypoints=400, varied=False)


@pytest.fixture(scope="module")
def pair() -> Batch:
    """Moves by about four voxels."""
    return SyntheticPairs(breathing(_DRAWN)).sample(torch.Generator().manual_seed(4), torch.device("cpu"))


@pytest.fixture(scope="module")
def lesson(pair: Batch) -> Batch:
    return match(pair, _DRAWN)


def _far(lesson: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """How far the keypoints moved in truth, and how far off the lesson is, voxels."""
    assert lesson.fixed_points is not None and lesson.moving_points is not None and lesson.displacement is not None
    true = sample_batch(lesson.displacement, lesson.fixed_points).transpose(1, 2)
    return true.norm(dim=2), (lesson.moving_points - lesson.fixed_points - true).norm(dim=2)


def test_matched_keypoints_are_near_the_truth(lesson: Batch) -> None:
    moved, missed = _far(lesson)
    assert moved.shape[1] > 100
    assert missed.median() < 0.5
    assert missed.mean() < 0.5 * moved.mean()


def test_known_keypoints_are_the_truth(pair: Batch) -> None:
    moved, missed = _far(truth(pair, _DRAWN))
    assert moved.shape[1] > 100
    assert missed.max() < 1e-4


def test_drawn_scans_are_matched_only_where_it_is_wanted() -> None:
    known, matched = (_trainee(known=k).lesson(0) for k in (True, False))
    assert torch.equal(known.fixed, matched.fixed)
    assert known.fixed_points is not None and matched.fixed_points is not None
    assert known.fixed_points.shape[1] > matched.fixed_points.shape[1], "not every keypoint is found again"


@pytest.mark.parametrize("seed", range(4))
def test_shaking_moves_the_points_with_one_scan(seed: int) -> None:
    n = 48
    ramp = (torch.arange(n)[:, None] + 3.0 * torch.arange(n))[None, None]
    points = 12 + 24 * torch.rand((1, 50, 2), generator=torch.Generator().manual_seed(9))
    before = Batch(ramp, ramp, torch.ones(2), fixed_points=points, moving_points=points)
    after = shaken(before, 0.035, torch.Generator().manual_seed(seed))
    changed = [scan for scan in ("fixed", "moving") if not torch.equal(getattr(after, scan), ramp)]
    assert len(changed) == 1
    for scan in ("fixed", "moving"):
        there = getattr(after, f"{scan}_points")
        assert torch.allclose(sample_batch(getattr(after, scan), there), sample_batch(ramp, points), atol=1e-2)
    assert after.fixed_points is not None and after.moving_points is not None
    assert (after.fixed_points - after.moving_points).norm(dim=2).max() > 0.5


def test_points_that_are_shaken_out_of_a_scan_are_left_out(pair: Batch) -> None:
    before = truth(pair, _DRAWN)
    after = shaken(before, 0.2, torch.Generator().manual_seed(0))
    assert before.fixed_points is not None and after.fixed_points is not None and after.moving_points is not None
    assert 0 < after.fixed_points.shape[1] < before.fixed_points.shape[1]
    assert after.fixed_points.shape == after.moving_points.shape
    for points in (after.fixed_points, after.moving_points):
        assert ((points >= 0) & (points <= _DRAWN.size - 1)).all()


def test_shaking_by_nothing_changes_nothing(lesson: Batch) -> None:
    same = shaken(lesson, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same.fixed, lesson.fixed) and torch.equal(same.moving, lesson.moving)


def test_a_sample_depends_on_its_generator_alone() -> None:
    trainee, other = _trainee(), _trainee()
    other.lesson(1)
    for k in range(2):
        one, two = (t.sample(torch.Generator().manual_seed(k), torch.device("cpu")) for t in (trainee, other))
        assert torch.equal(one.fixed, two.fixed)
        assert one.fixed_points is not None and two.fixed_points is not None
        assert one.fixed_points.shape == (1, 24, 2)
        assert torch.equal(one.fixed_points, two.fixed_points)


def test_mirroring_takes_the_points_along(lesson: Batch) -> None:
    turned = mirrored(lesson)
    for scan, points in (("fixed", "fixed_points"), ("moving", "moving_points")):
        before = sample_batch(getattr(lesson, scan), getattr(lesson, points))
        after = sample_batch(getattr(turned, scan), getattr(turned, points))
        assert torch.allclose(before, after, atol=1e-5)
    assert not torch.equal(turned.fixed, lesson.fixed)


@pytest.fixture(scope="module")
def lungs() -> Batch:
    """A chest of which the lungs alone are of interest."""
    chests = SyntheticPairs(breathing(replace(_DRAWN, within=True)))
    return drawn_chest(chests, torch.Generator().manual_seed(4))


def _share_inside(pair: Batch, scan: str) -> float:
    """Of the points in that scan, those that lie in its segments."""
    here = sample_batch(union(getattr(pair, f"{scan}_labels")), getattr(pair, f"{scan}_points"))
    return float((here > 0.5).float().mean())


def test_inside_of_segments_keypoints_and_truth_lie_in_the_lungs(pair: Batch, lungs: Batch) -> None:
    assert lungs.fixed_labels is not None and lungs.fixed_labels.shape[1] == 2
    assert lungs.region is not None and 0.1 < lungs.region.mean() < 0.5
    everywhere, there = truth(pair, _DRAWN), truth(lungs, _DRAWN)
    assert _share_inside(lungs, "fixed") == _share_inside(there, "fixed") == 1
    assert everywhere.fixed_points is not None and there.fixed_points is not None
    assert 20 < there.fixed_points.shape[1] < 0.7 * everywhere.fixed_points.shape[1]


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_shaken_and_mirrored_with_their_scan(lungs: Batch, seed: int) -> None:
    turned = mirrored(shaken(truth(lungs, _DRAWN), 0.035, torch.Generator().manual_seed(seed)))
    for scan in ("fixed", "moving"):
        assert not torch.equal(getattr(turned, f"{scan}_labels"), getattr(lungs, f"{scan}_labels"))
        assert _share_inside(turned, scan) > 0.93, "only what lies at the border may leave them"


def test_features_are_blank_outside_of_the_segments(lungs: Batch) -> None:
    assert lungs.fixed_labels is not None
    whole, blanked = mind(lungs.fixed, None), mind(lungs.fixed, lungs.fixed_labels)
    share = F.avg_pool2d(union(lungs.fixed_labels), lungs.fixed.shape[-1] // whole.shape[-1]).expand_as(whole)
    assert torch.equal(blanked[share == 1], whole[share == 1])
    assert blanked[share == 0].abs().max() == 0 < whole[share == 0].abs().max()


def test_scans_without_texture_are_brought_together_by_their_segments() -> None:
    """What a heat map learns inside of segments, where the scans themselves show nothing."""
    blank, labels = torch.zeros(1, 1, 48, 48), torch.zeros(2, 1, 48, 48)
    labels[0, :, 16:32, 16:32] = 1
    labels[1, :, 22:38, 16:32] = 1
    rows, columns = torch.meshgrid(torch.arange(16.0, 32), torch.arange(16.0, 32), indexing="ij")
    points = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2)
    features = [mind(blank, side[None]) for side in labels]
    block = blank.shape[-1] / features[0].shape[-1]
    here = (points + 0.5) / block - 0.5

    def unlike(y: float) -> float:
        return float(warped_mind(*features, here, torch.tensor([0.0, y / block]).expand_as(here)))

    assert unlike(6) < 1e-9 < unlike(4) < unlike(0)


def test_cases_are_learned_from_inside_of_their_segments(lungs: Batch) -> None:
    """A pair of scans of one patient, matched; the lungs are segments of both."""
    grid, sides = Grid((96, 96), (2.5, 2.5)), ("fixed", "moving")
    cases = []
    for side in sides:
        number = (getattr(lungs, f"{side}_labels")[0] * torch.tensor([1, 2])[:, None, None]).sum(dim=0, keepdim=True)
        labels = Image(number.to(torch.uint8), grid, ImageKind.LABELS, {1: "Left lung", 2: "Right lung"})
        cases.append(Case(side, Image(getattr(lungs, side)[0], grid), labels))
    said = replace(_DRAWN, within=True, low=0.0, high=1.0, learn_from="similarity", pairs=1)
    trainee = find_recipe("voxelmorph-plus-plus").trainee(said, TrainingCases(cases, [sides]))
    assert isinstance(trainee, KeypointTraining)
    lesson = trainee.lesson(0)
    assert lesson.fixed_labels is not None and lesson.fixed_labels.shape == lungs.fixed_labels.shape  # type: ignore[union-attr]
    assert lesson.fixed_points is not None and lesson.fixed_points.shape[1] > 20
    assert _share_inside(lesson, "fixed") == 1
    with torch.no_grad():
        assert set(trainee.validate(torch.device("cpu"), no_tick).numbers) >= {"Dice", "TRE (mm)"}


def test_cases_without_segmentations_are_learned_from_as_a_whole(lungs: Batch) -> None:
    grid, sides = Grid((96, 96), (2.5, 2.5)), ("fixed", "moving")
    cases = [Case(side, Image(getattr(lungs, side)[0], grid)) for side in sides]
    said = replace(_DRAWN, within=True, low=0.0, high=1.0, learn_from="similarity", pairs=1)
    trainee = find_recipe("voxelmorph-plus-plus").trainee(said, TrainingCases(cases, [sides]))
    assert isinstance(trainee, KeypointTraining)
    lesson = trainee.lesson(0)
    assert lesson.fixed_labels is None and trainee.card()["segments_only"] is False
    assert lesson.fixed_points is not None and lesson.fixed_points.shape[1] > 80


def test_roughness_is_zero_for_one_motion_and_grows() -> None:
    points = 20 * torch.rand((1, 30, 3), generator=torch.Generator().manual_seed(0))
    same = torch.ones(1, 30, 3)
    assert float(roughness(points, same)) == 0
    assert roughness(points, points) < roughness(points, 2 * points)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("heat_map", "learn_from"), [(True, "keypoints"), (True, "similarity"), (False, "similarity")])
def test_every_variant_learns(heat_map: bool, learn_from: str, within: bool) -> None:
    trainee = _trainee(
        heat_map=heat_map, learn_from=learn_from, within=within, mirror=False, pairs=1, shaking=0.0
    )
    batch = trainee.sample(torch.Generator().manual_seed(0), torch.device("cpu"))
    adam = torch.optim.Adam(trainee.network.parameters(), lr=3e-3)
    values = []
    for _ in range(12):
        losses = trainee.losses(batch, Stage("Training"))
        assert set(losses) == ({"keypoints"} if learn_from == "keypoints" else {"similarity", "smoothness"})
        total = torch.stack(list(losses.values())).sum()
        adam.zero_grad()
        total.backward()
        adam.step()
        values.append(total.item())
    assert values[-1] < 0.97 * values[0]


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_it_learns_in_the_precision_of_the_trainer(half: torch.dtype | None) -> None:
    """Though its losses do not call the network as a whole."""
    trainee, seen = _trainee(learn_from="both", pairs=1), []
    network = trainee.network
    assert isinstance(network, VoxelMorphPlusPlus)
    for part in (network.backbone.down[0], network.head):
        part.register_forward_hook(lambda module, given, found: seen.append(found.dtype))
    learn_in(network, torch.device("cpu"), half)
    losses = trainee.losses(trainee.sample(torch.Generator().manual_seed(0), torch.device("cpu")), Stage("Training"))
    assert seen == [half or torch.float32] * 2
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    network.eval()
    with torch.no_grad():
        network.features(torch.zeros(1, 1, 48, 48), torch.zeros(1, 1, 48, 48))
    assert seen[-1] == torch.float32


def test_a_training_gives_a_model(tmp_path: Path) -> None:
    settings = {"size": 32, "spacing": 8.0, "pairs": 1, "points": 24, "channels": 8, "keypoints": 150}
    request = TrainingRequest(
        recipe="voxelmorph-plus-plus", out=tmp_path, settings=settings, steps=3, validate_every=3, device="cpu"
    )
    model = run_training(request)
    assert model.architecture == "voxelmorph-plus-plus"
    assert model.settings["network"]["reach"] == [0.3 * 16] * 3
    assert model.settings["working"]["multiple"] == 16
    assert model.settings["segments_only"] is True


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="size=40"):
        _trainee(size=40)
