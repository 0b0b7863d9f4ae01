"""Synthetic pairs: the truth holds, whatever is drawn; a seed means one pair; fields are as large as asked for."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.sampling import sample_index
from DeepRegistrationLib.ops.warp import index_grid, warp
from DeepRegistrationLib.training.batch import Batch, collated
from DeepRegistrationLib.training.synthetic import SyntheticPairs, SyntheticSettings, bounding_boxes
from DeepRegistrationLib.training.synthetic.affine_motion import random_affine, taken_back
from DeepRegistrationLib.training.synthetic.anatomy import draw_anatomy, segments_of
from DeepRegistrationLib.training.synthetic.breathing import breathing_field, random_wall
from DeepRegistrationLib.training.synthetic.canvas import Canvas
from DeepRegistrationLib.training.synthetic.deformation import diffeomorphic_field, point_field, smooth_field
from DeepRegistrationLib.training.synthetic.draws import Draws
from DeepRegistrationLib.training.synthetic.settings import FAMILIES, MOTIONS
from DeepRegistrationLib.transforms.jacobian import determinant

CPU = torch.device("cpu")
CLEAN = {"noise": (0.0, 0.0), "bias": (0.0, 0.0), "thickness": (1.0, 1.0), "blur": (0.5, 0.5), "window": 0.0}


def pair(seed: int = 0, **said: object) -> Batch:
    settings = SyntheticSettings(**{"size": (44, 40, 48), "spacing": 3.0, **said})  # type: ignore[arg-type]
    return SyntheticPairs(settings).sample(torch.Generator().manual_seed(seed), CPU)


def dice(a: torch.Tensor, b: torch.Tensor, region: torch.Tensor) -> float:
    a, b = a * region, b * region
    return float(2 * (a * b).sum() / (a.sum() + b.sum()).clamp(min=1))


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), CPU)


def jacobian(field: torch.Tensor) -> torch.Tensor:
    """Determinant away from the border."""
    grid = Grid(tuple(reversed(field.shape[1:])), (1.0,) * len(field))
    inner = (slice(1, -1),) * len(field)
    return determinant(field, grid)[inner]


def test_a_seed_is_one_pair() -> None:
    first, again, other = (pair(s, contrast="different", lesion="either", motions=MOTIONS) for s in (3, 3, 4))
    for f in fields(Batch):
        a, b = getattr(first, f.name), getattr(again, f.name)
        assert a is not None and torch.equal(a, b), f.name
    assert not torch.equal(first.fixed, other.fixed)
    assert collated([first, other]).fixed.shape == (2, 1, 48, 40, 44)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_card_draws_the_same_pair(family: str, card: torch.device) -> None:
    said = {"size": (28, 24, 30), "spacing": 5.0, "families": (family,), "lesion": "either", "view": (0.7, 1.0)}
    for motion, linear in zip(MOTIONS, ("aligned", "rigid", "affine", "none", "affine"), strict=True):
        pairs = SyntheticPairs(
            SyntheticSettings(**said, motions=(motion,), linear=(linear,), variation=(0.0, 5.0), points=20)  # type: ignore[arg-type]
        )
        here, there = (pairs.sample(torch.Generator().manual_seed(3), device) for device in (CPU, card))
        for f in fields(Batch):
            a, b = getattr(here, f.name), getattr(there, f.name)
            assert b.device == card, f.name
            # a rounding may put a voxel on the other side of an edge
            assert (a - b.cpu()).abs().gt(1e-3).float().mean() < 1e-3, f.name


def test_nothing_but_the_generator_is_random() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    pair(5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("motion", ["diffeomorphic", "breathing"])
def test_the_truth_takes_moving_to_fixed(family: str, motion: str) -> None:
    """Labels and image of moving at x + u(x) are those of fixed at x; without u they are not."""
    made = pair(7, families=(family,), motions=(motion,), amplitude=(15.0, 15.0), contrast="typical", **CLEAN)
    assert made.displacement is not None and made.fixed_labels is not None and made.moving_labels is not None
    assert made.region is not None
    moved = (warp(made.moving_labels, made.displacement) > 0.5).float()
    before = dice(made.fixed_labels, made.moving_labels, made.region)
    after = dice(made.fixed_labels, moved, made.region)
    # what is left is the coarseness of the voxels
    assert after > 0.75 and 1 - after < 0.65 * (1 - before)
    wrong = ((warp(made.moving, made.displacement) - made.fixed) * made.region).square().mean()
    assert wrong < 0.65 * ((made.moving - made.fixed) * made.region).square().mean()
    # the other way round it would be wrong
    assert dice(made.fixed_labels, warp(made.moving_labels, -made.displacement), made.region) < before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(48, 48, 48), (56, 48), (32, 48, 40)])
def test_every_segment_is_there(family: str, shape: tuple[int, ...]) -> None:
    for seed in range(4):
        anatomy = draw_anatomy(family, shape, draws(seed))
        there = {anatomy.kinds[k].segment for k in anatomy.tissues.unique().tolist()}
        wanted = set(range(1, len(segments_of(family)) + 1))
        assert wanted <= there, f"{family} lacks segments {wanted - there} with seed {seed}"


@pytest.mark.parametrize("shape", [(40, 56), (20, 24, 28)])
@pytest.mark.parametrize("at_once", [2**20, 500])
def test_tubes_are_what_lies_near_their_axes(
    shape: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("DeepRegistrationLib.training.synthetic.canvas._AT_ONCE", at_once)
    d, draws = len(shape), Draws(torch.Generator().manual_seed(4), torch.device("cpu"))
    canvas = Canvas(shape, draws)
    canvas.labels[..., : shape[-1] // 2] = 1
    ends = 2.4 * torch.rand(7, 2, d, generator=draws.generator) - 1.2  # some reach beyond the image, one is outside
    ends[0] = torch.tensor(1.7)
    pieces = [(a.tolist(), b.tolist(), 0.3 + 0.5 * k) for k, (a, b) in enumerate(ends)]
    canvas.tubes(2, pieces, within=(1, 2))
    half = torch.tensor(shape[::-1]) / 2
    voxels = index_grid(shape, ends)
    wanted = torch.zeros(shape, dtype=torch.bool)
    for start, end, radius in pieces:
        a, b = ((torch.tensor(v) + 1) * half - 0.5 for v in (start, end))
        along = ((voxels - a) @ (b - a) / (b - a).square().sum().clamp(min=1e-6)).clamp(0, 1)
        wanted |= (voxels - a - along[..., None] * (b - a)).norm(dim=-1) < max(radius, 0.6)
    expected = torch.zeros(shape, dtype=torch.uint8)
    expected[..., : shape[-1] // 2] = 1
    expected[wanted & (expected == 1)] = 2
    assert 0.02 < (expected == 2).float().mean() < 0.45
    assert (canvas.labels != expected).float().mean() < 1e-3


def test_segments_reach_the_batch() -> None:
    for family in FAMILIES:
        made = pair(2, families=(family,), amplitude=(2.0, 4.0))
        assert made.fixed_labels is not None and made.moving_labels is not None
        assert made.fixed_labels.flatten(2).sum(dim=2).min() > 0
        assert made.moving_labels.flatten(2).sum(dim=2).min() > 0
        assert made.fixed_labels.sum(dim=1).max() <= 1


def test_keypoints_match_under_the_truth() -> None:
    made = pair(1, motions=("diffeomorphic",), linear=("affine",), points=50, size=(48, 40, 44))
    assert made.fixed_points is not None and made.moving_points is not None and made.displacement is not None
    x, y, z = made.fixed_points[0].long().unbind(1)
    u = made.displacement[0][:, z, y, x].T
    assert torch.allclose(made.fixed_points[0] + u, made.moving_points[0])
    size = torch.tensor([48, 40, 44])
    assert (made.moving_points[0] > -0.5).all() and (made.moving_points[0] < size - 0.5).all()


@pytest.mark.parametrize("shape", [(40, 36, 44), (60, 50)])
def test_fields_are_as_large_as_asked_for(shape: tuple[int, ...]) -> None:
    for seed in range(3):
        smooth = smooth_field(draws(seed), shape, 3.0, 9.0)
        assert smooth.square().sum(dim=0).max().sqrt() == pytest.approx(3.0, rel=1e-4)
        flow = diffeomorphic_field(draws(seed), shape, 6.0, 9.0)
        assert flow.square().sum(dim=0).max().sqrt() == pytest.approx(6.0, rel=0.12)
        points = point_field(draws(seed), shape, 4.0, 10.0, 80)
        assert points.abs().max() == pytest.approx(4.0, rel=1e-4)


@pytest.mark.parametrize("shape", [(40, 40, 40), (60, 50)])
def test_a_flow_does_not_fold_where_the_plain_field_does(shape: tuple[int, ...]) -> None:
    worst = [min(float(jacobian(f(draws(s), shape, 9.0, 8.0)).min()) for s in range(3))
             for f in (diffeomorphic_field, smooth_field)]  # fmt: skip
    assert worst[0] > 0 > worst[1]


def test_smoothness_is_the_frequency() -> None:
    def roughness(spacing: float) -> float:
        field = smooth_field(draws(1), (40, 40, 40), 3.0, spacing)
        return float(field.diff(dim=1).square().mean() / field.square().mean())

    assert roughness(6.0) > 2 * roughness(12.0)


def test_point_fields_have_the_width_of_their_gaussian() -> None:
    """One point: the field falls to exp(-1/2) at one standard deviation."""
    field = point_field(draws(11), (121, 121), 1.0, 10.0, 1)
    component = field[field.abs().flatten(1).amax(dim=1).argmax()].abs()
    area = (component / component.max()).sum()
    row, column = divmod(int(component.argmax()), 121)
    if 35 < row < 85 and 35 < column < 85:
        assert area == pytest.approx(2 * torch.pi * 100, rel=0.05)
    else:
        pytest.fail("choose a seed whose point lies in the middle")


def test_breathing_slides_along_the_wall() -> None:
    """The motion jumps across the wall along it, and hardly through it; inside stays inside."""
    shape = (48, 40, 44)
    wall = random_wall(draws(2), shape)
    field = breathing_field(draws(3), torch.zeros(3, *shape), wall, 6.0)
    assert field.square().sum(dim=0).max().sqrt() == pytest.approx(6.0, rel=0.2)
    jump = (field[2, :, :, 1:] - field[2, :, :, :-1]).abs()
    assert jump.max() > 2.0  # along the body, from one voxel to the next
    smooth = diffeomorphic_field(draws(3), shape, 6.0, 12.0)
    assert (smooth[2, :, :, 1:] - smooth[2, :, :, :-1]).abs().max() < 1.5
    moved = (field != 0).any(dim=0)
    assert 0.05 < moved.float().mean() < 0.6
    ratio = torch.tensor([n / m for n, m in zip(shape, wall.shape, strict=True)][::-1])
    landed = ((index_grid(shape, field) + field.movedim(0, -1) + 0.5) / ratio - 0.5)[moved]
    depth = sample_index(wall[None], landed, outside=None)[0]
    assert depth.max() < 1.5 and (depth < 0.3).float().mean() > 0.99


def test_lesions_are_in_one_image_only() -> None:
    seen = set()
    for seed in range(6):
        with_one = pair(seed, lesion="either", **CLEAN)
        without = pair(seed, lesion="none", **CLEAN)
        assert with_one.fixed_lesion is not None and with_one.moving_lesion is not None
        assert without.fixed_lesion is None
        sizes = (float(with_one.fixed_lesion.sum()), float(with_one.moving_lesion.sum()))
        assert min(sizes) == 0 and max(sizes) > 5
        seen.add(sizes[0] > 0)
    assert seen == {True, False}
    made = pair(1, lesion="fixed", lesion_radius=(14.0, 14.0), contrast="typical", **CLEAN)
    assert made.displacement is not None and made.fixed_lesion is not None
    wrong = (warp(made.moving, made.displacement) - made.fixed).abs()
    inside = made.fixed_lesion > 0
    assert wrong[inside].median() > 4 * wrong[~inside].mean()


def test_contrast_is_the_same_or_different() -> None:
    def likeness(contrast: str) -> float:
        made = [pair(s, contrast=contrast, motions=("none",), families=("shapes",), **CLEAN) for s in range(4)]
        return sum(float(torch.corrcoef(torch.stack([m.fixed.flatten(), m.moving.flatten()]))[0, 1]) for m in made) / 4

    assert likeness("same") > 0.95 and likeness("typical") > 0.9
    assert likeness("different") < 0.6


def test_linear_motion_is_linear() -> None:
    made = pair(4, motions=("none",), linear=("rigid",), rotation=15.0, translation=9.0)
    assert made.displacement is not None
    matrix = torch.eye(3) + torch.stack(
        [made.displacement[0].diff(dim=3 - k)[:, 5, 5, 5] for k in range(3)], dim=1
    )
    assert torch.allclose(matrix @ matrix.T, torch.eye(3), atol=1e-4)
    assert torch.allclose(jacobian(made.displacement[0]), torch.tensor(1.0), atol=1e-3)
    assert made.displacement.abs().max() > 1


def test_what_an_affine_alignment_leaves() -> None:
    """Nothing of an affine motion, and less of any other than there was; the truth stays exact."""
    shape = (20, 24, 28)
    x = index_grid(shape, torch.zeros(()))
    turn = random_affine(draws(3), shape, 12.0, 3.0, 0.1)
    back = taken_back((turn(x) - x).movedim(-1, 0))
    assert torch.allclose(back(turn(x)), x, atol=1e-3)
    for k in range(3):
        before, after = (
            pair(k, families=("lungs",), motions=("breathing",), linear=(linear,), amplitude=(20.0, 20.0)).displacement
            for linear in ("none", "aligned")
        )
        assert before is not None and after is not None
        assert 0.05 * before.square().mean() < after.square().mean() < before.square().mean()


def test_the_moving_anatomy_varies_without_touching_the_truth() -> None:
    said = {"contrast": "typical", "variation": (8.0, 8.0), "families": ("heads",), "amplitude": (6.0, 6.0), **CLEAN}
    made = pair(9, **said)
    assert made.displacement is not None and made.region is not None
    wrong = ((warp(made.moving, made.displacement) - made.fixed) * made.region).square().mean()
    assert wrong < 0.4 * ((made.moving - made.fixed) * made.region).square().mean()


def test_parts_of_an_anatomy() -> None:
    """Whose truth holds as that of a whole one; the larger what is drawn, the less of it is in view."""
    missing = []
    for seed in range(6):
        said = {"families": ("organs",), "contrast": "typical", "amplitude": (12.0, 12.0), **CLEAN}
        made = pair(seed, view=(0.4, 0.5), **said)
        assert made.displacement is not None and made.region is not None and made.fixed_labels is not None
        wrong = ((warp(made.moving, made.displacement) - made.fixed) * made.region).square().mean()
        assert wrong < 0.5 * ((made.moving - made.fixed) * made.region).square().mean()
        missing.append(int((made.fixed_labels.flatten(2).amax(dim=2) == 0).sum()))
    assert sum(m > 0 for m in missing) >= 3 and min(missing) < made.fixed_labels.shape[1] - 1
    assert pair(0, view=(0.5, 0.5), size=(40, 48)).fixed.shape == (1, 1, 48, 40)


def test_grain_is_how_fine_the_texture_is() -> None:
    def alike(grain: float) -> float:
        """Correlation of neighbours inside of one tissue."""
        said = {"families": ("shapes",), "motions": ("none",), "texture": (0.2, 0.2), **CLEAN}
        made = pair(2, grain=(grain, grain), **{**said, "blur": (0.0, 0.0)})
        inside = (made.fixed_labels.sum(dim=1) == 0)[0]
        both = inside[..., 1:] & inside[..., :-1]
        image = made.fixed[0, 0]
        return float(torch.corrcoef(torch.stack([image[..., 1:][both], image[..., :-1][both]]))[0, 1])

    assert alike(1.2) < alike(2.5) < alike(6.0)


def test_flat_pairs() -> None:
    for family in FAMILIES:
        for motion in MOTIONS:
            made = pair(1, size=(40, 48), families=(family,), motions=(motion,), linear=("affine",), lesion="either")
            assert made.fixed.shape == (1, 1, 48, 40) and made.fixed.isfinite().all()
            assert made.displacement is not None and made.displacement.shape == (1, 2, 48, 40)
            assert made.displacement.isfinite().all()


def test_boxes_hold_their_segments() -> None:
    labels = torch.zeros(1, 2, 6, 7, 8)
    labels[0, 0, 2:4, 1:6, 3] = 1
    boxes = bounding_boxes(labels)
    assert boxes[0, 0].tolist() == [[3, 1, 2], [3, 5, 3]]
    assert boxes[0, 1].isnan().all()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="families"):
        SyntheticSettings(families=("lung",))
    with pytest.raises(ValueError, match="contrast"):
        SyntheticSettings(contrast="any")
    with pytest.raises(ValueError, match="size"):
        SyntheticSettings(size=(8, 8, 8))
