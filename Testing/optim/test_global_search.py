"""The search finds planted poses in two and three dimensions, keeps different ones, and repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.methods.initialisation import find_everywhere
from DeepRegistrationLib.ops.gradients import spatial_gradient
from DeepRegistrationLib.ops.ngf import edge_level, normalised_gradient
from DeepRegistrationLib.optim.global_search import Found, PoseDistance, SearchSettings, distinct
from DeepRegistrationLib.optim.linear_images import Scan
from DeepRegistrationLib.optim.rotations import angles_between, random_rotations
from DeepRegistrationLib.optim.shift_search import NOISE, SHARE_REWARD, Pose, ShiftSearch
from DeepRegistrationLib.transforms import Affine


def grid(size: int, spacing: float, dimension: int) -> Grid:
    return Grid((size,) * dimension, (spacing,) * dimension, (-(size - 1) * spacing / 2,) * dimension)


def case(dimension: int, contrast: tuple[str, str] = ("T1", "T2"), seed: int = 3) -> phantoms.PhantomCase:
    """Heads of one person in any orientation to each other, a few centimetres apart."""
    turn = random_rotations(1, dimension, torch.Generator().manual_seed(seed))[0]
    g = grid(40, 5.5, 3) if dimension == 3 else grid(90, 2.4, 2)
    place = Affine.about((0,) * dimension, turn, (22.0, -17.0, 12.0)[:dimension])
    made = phantoms.brain(g, g, motion_mm=0.0, contrast=contrast, placement=place)
    return replace(made, problem=replace(made.problem, moving_mask=None))


def searched(known: phantoms.PhantomCase, progress: Progress | None = None, **settings: object) -> list[Found]:
    context = Context(torch.device("cpu"), progress or Progress())
    problem = replace(known.problem, fixed_mask=None)
    return find_everywhere(problem, context, SearchSettings(**settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def head() -> phantoms.PhantomCase:
    return case(3)


@pytest.fixture(scope="module")
def found(head: phantoms.PhantomCase) -> list[Found]:
    return searched(head, rotations=800)


def test_a_head_in_any_orientation_is_found(head: phantoms.PhantomCase, found: list[Found]) -> None:
    assert head.errors(Affine.identity(3)).mean() > 40
    assert head.errors(found[0].transform).mean() < 1.5
    turn = found[0].transform.matrix.numpy()
    assert np.allclose(turn.T @ turn, np.eye(3), atol=1e-9)


def test_answers_are_ordered_and_differ(head: phantoms.PhantomCase, found: list[Found]) -> None:
    assert 1 < len(found) <= 3
    scores = [f.score for f in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < f.edges < 1 and 0.3 < f.overlap <= 1 for f in found)
    points = head.body_points(2000)
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            assert float((one.transform.apply(points) - other.transform.apply(points)).norm(dim=1).mean()) > 10


def test_a_seed_gives_the_same_answer_again() -> None:
    known = case(2)
    found, again = (searched(known, rotations=90) for _ in range(2))
    assert [f.score for f in again] == [f.score for f in found]
    assert np.array_equal(again[0].transform.homogeneous, found[0].transform.homogeneous)


@pytest.mark.parametrize("contrast", [("T1", "T2"), ("CT", "T1")])
def test_a_slice_in_any_orientation_is_found(contrast: tuple[str, str]) -> None:
    known = case(2, contrast)
    assert known.errors(searched(known, rotations=90)[0].transform).mean() < 1.5


def test_a_restricted_turn_is_kept(head: phantoms.PhantomCase) -> None:
    truth = head.true_transform.matrix.numpy()  # type: ignore[attr-defined]
    largest = 0.5 * float(angles_between(truth, np.eye(3)))
    assert largest > 20
    for answer in searched(head, rotations=300, largest_angle=largest):
        # the descent may go on a little from where the search was stopped
        assert answer.degrees < largest + 15


def test_a_cancel_ends_the_search(head: phantoms.PhantomCase) -> None:
    reports: list[object] = []
    with pytest.raises(Cancelled):
        searched(head, Progress(reports.append, lambda: len(reports) > 5))


# ---------------------------------------------------------------- one rotation, all shifts


def test_the_best_pose_has_the_similarity_it_says() -> None:
    """S of the pose, from the scans resampled there and the definition."""
    known = case(2, ("T1", "T1"))
    g = known.problem.fixed.grid
    fixed, moving = (
        Scan(i.data / 200.0, torch.ones_like(i.data), i.grid) for i in (known.problem.fixed, known.problem.moving)
    )
    region = known.problem.fixed_mask.data.float()  # type: ignore[union-attr]
    whole = torch.ones_like(region)
    search = ShiftSearch(fixed, moving, whole, whole, g.spacing[0], smoothing=0.0, least_overlap=0.5)
    turn = known.true_transform.matrix.numpy()  # type: ignore[attr-defined]
    (pose,) = search.best(turn[None])
    assert np.allclose(pose.rotation, turn)
    # a whole-voxel shift comes within half a voxel of the truth along each axis
    assert known.errors(pose.transform).max() < 0.75 * g.spacing[0]

    moved = known.problem.moving.with_data(moving.values).resampled(g, pose.transform)
    inside = known.problem.moving.with_data(moving.weight).resampled(g, pose.transform, outside=0.0).data
    eta = [edge_level(spatial_gradient(s.values, s.grid.spacing), None, NOISE) for s in (fixed, moving)]
    a = normalised_gradient(fixed.values, g.spacing, eta[0])
    b = normalised_gradient(moved.data, g.spacing, eta[1])
    similar = ((a * b).sum(dim=0) ** 2 * inside).sum() / inside.sum()
    assert pose.score == pytest.approx(float(similar) * pose.overlap**SHARE_REWARD, rel=0.03)
    assert pose.overlap == pytest.approx(float(inside.mean()), rel=0.03)


def test_every_rotation_gets_a_pose() -> None:
    known = case(2, ("T1", "T1"))
    scans = [Scan(i.data, torch.ones_like(i.data), i.grid) for i in (known.problem.fixed, known.problem.moving)]
    region = torch.ones_like(known.problem.fixed.data)
    search = ShiftSearch(*scans, region, region, 8.0)
    rotations = random_rotations(300, 2, torch.Generator().manual_seed(0))
    poses = search.best(rotations)
    assert np.array_equal(np.array([p.rotation for p in poses]), rotations)
    assert all(0.5 <= p.overlap <= 1 for p in poses)


def test_masks_leave_out_what_would_mislead() -> None:
    """Half of the moving slice is replaced by itself upside down; under the mask the rest decides."""
    known = case(2, ("T1", "T1"))
    spoiled = known.problem.moving.data.clone()
    spoiled[..., 45:] = 0.7 * spoiled.flip(-2)[..., 45:]
    mask = torch.zeros_like(spoiled, dtype=torch.uint8)
    mask[..., :45] = 1
    moving = known.problem.moving.with_data(spoiled)
    masked = replace(known.problem, moving=moving, moving_mask=Image(mask, moving.grid, ImageKind.MASK))
    assert known.errors(searched(replace(known, problem=masked), rotations=90)[0].transform).mean() < 3.0


# ---------------------------------------------------------------- poses


def test_distance_of_poses_is_the_root_mean_square_over_the_anatomy() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3)) * (30, 20, 10) + (5, -40, 70)
    distance = PoseDistance(points.mean(axis=0), np.cov(points.T, bias=True))
    a, b = (
        Affine(r, rng.normal(size=3) * 20) for r in random_rotations(2, 3, torch.Generator().manual_seed(1))
    )
    x = torch.as_tensor(points)
    expected = float((a.apply(x) - b.apply(x)).square().sum(dim=1).mean().sqrt())
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert distance(a, a) == 0


def test_only_the_best_of_poses_close_together_is_kept() -> None:
    distance = PoseDistance(np.zeros(3), np.eye(3))
    poses = [Pose(Affine.from_translation((x, 0, 0)), s, 1.0) for x, s in ((0, 0.5), (1, 0.9), (5, 0.7), (9, 0.7004))]
    assert [p.score for p in distinct(poses, 2.0, 5, distance)] == [0.9, 0.7004, 0.7]
    assert [p.score for p in distinct(poses, 2.0, 5, distance, tie=0.001)] == [0.9, 0.7, 0.7004]
    assert [p.score for p in distinct(poses, 2.0, 1, distance)] == [0.9]
