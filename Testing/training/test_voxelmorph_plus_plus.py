"""What VoxelMorph++ learns from: matched keypoints that are right, mirrored with the scans, and losses that fall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.sampling import sample_batch
from DeepRegistrationLib.networks.voxelmorph_plus_plus import VoxelMorphPlusPlus
from DeepRegistrationLib.training.batch import Batch
from DeepRegistrationLib.training.precision import learn_in
from DeepRegistrationLib.training.recipe import Stage
from DeepRegistrationLib.training.recipes import find_recipe
from DeepRegistrationLib.training.recipes.voxelmorph_plus_plus import Settings
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.training.voxelmorph_plus_plus import KeypointTraining, mirrored, roughness

_SMALL = Settings(size=48, spacing=5.0, pairs=2, points=24, channels=8, keypoints=150, slices=True)


def _trainee(**changes: object) -> KeypointTraining:
    torch.manual_seed(0)
    trainee = find_recipe("voxelmorph-plus-plus").trainee(replace(_SMALL, **changes), None)  # type: ignore[arg-type]
    assert isinstance(trainee, KeypointTraining)
    return trainee


@pytest.fixture(scope="module")
def lesson() -> Batch:
    """A pair that moves by one to two voxels."""
    return _trainee(amplitude=36.0, size=64, spacing=4.0).matched(2)


def test_matched_keypoints_are_near_the_truth(lesson: Batch) -> None:
    assert lesson.fixed_points is not None and lesson.moving_points is not None and lesson.displacement is not None
    true = sample_batch(lesson.displacement, lesson.fixed_points).transpose(1, 2)
    found = lesson.moving_points - lesson.fixed_points
    assert lesson.fixed_points.shape[1] > 30
    assert (found - true).norm(dim=2).median() < 0.8, "voxels"
    assert (found - true).norm(dim=2).mean() < 0.7 * true.norm(dim=2).mean()


def test_a_sample_depends_on_its_generator_alone() -> None:
    trainee, other = _trainee(), _trainee()
    other.matched(1)
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


def test_roughness_is_zero_for_one_motion_and_grows() -> None:
    points = 20 * torch.rand((1, 30, 3), generator=torch.Generator().manual_seed(0))
    same = torch.ones(1, 30, 3)
    assert float(roughness(points, same)) == 0
    assert roughness(points, points) < roughness(points, 2 * points)


@pytest.mark.parametrize(("heat_map", "learn_from"), [(True, "keypoints"), (True, "similarity"), (False, "similarity")])
def test_every_variant_learns(heat_map: bool, learn_from: str) -> None:
    trainee = _trainee(heat_map=heat_map, learn_from=learn_from, mirror=False, pairs=1)
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


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="size=40"):
        _trainee(size=40)
