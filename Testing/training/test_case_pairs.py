"""Pairs of real cases: where their voxels come from, whatever turns and mirrors them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.networks.working import WorkingSettings
from DeepRegistrationLib.training.case_pairs import Augmentation, CasePairs, pairs_of
from DeepRegistrationLib.training.cases import Case, Role, TrainingCases
from DeepRegistrationLib.transforms import Affine

WORKING = WorkingSettings(spacing=4.0, low=0.0, high=100.0, multiple=8)
SEGMENTS = ["ball", "box"]
#: an image everywhere bright, so that augmentation shows where nothing was
STRONG = Augmentation(probability=1.0, degrees=20, mm=8, stretch=0.2, mirror=0.5, jitter=10, apart=0.0)


def patient(name: str, shift: Sequence[float], grid: Grid | None = None, role: Role = Role.TRAIN) -> Case:
    """A body with a ball and a box in it, `shift` mm from the middle; label values differ between the patients."""
    grid = grid or Grid((60, 60, 50), (3.0, 3.0, 4.0), (-90.0, -90.0, -100.0))
    x = grid.world_points(dtype=torch.float64) - torch.as_tensor(np.asarray(shift, dtype=np.float64))
    body = (x / torch.tensor([70.0, 55.0, 85.0])).norm(dim=-1) < 1
    ball = (x - torch.tensor([30.0, 0.0, 20.0])).norm(dim=-1) < 18
    box = ((x - torch.tensor([-25.0, 5.0, -30.0])).abs() < torch.tensor([14.0, 22.0, 16.0])).all(dim=-1)
    values = 40.0 * body + 30.0 * ball + 50.0 * box
    first, second = (1, 2) if len(name) % 2 else (5, 3)
    labels = first * ball.to(torch.uint8) + second * box.to(torch.uint8)
    names = {first: "ball", second: "box"}
    scan = Image(values.to(torch.float32)[None], grid)
    return Case(name, scan, Image(labels[None], grid, ImageKind.LABELS, names), role)


def pairs(*cases: Case, **more: object) -> CasePairs:
    said: dict[str, object] = {"pairs": [], "segments": SEGMENTS, "working": WORKING, "size": (32, 32, 40), **more}
    return CasePairs(cases, **said)  # type: ignore[arg-type]


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    x, y = a > 0.5, b > 0.5
    return float(2 * (x & y).sum() / (x.sum() + y.sum()))


def test_a_pair_is_what_image_resampling_gives() -> None:
    drawn = pairs(patient("a", (0, 0, 0)), patient("bb", (9, -6, 12)), initialisation="centres")
    batch = drawn.pair("a", "bb")
    grid, start = drawn.view("a"), drawn.start("a", "bb")
    for case, how, values, shares in (
        (drawn.cases["a"], None, batch.fixed, batch.fixed_labels),
        (drawn.cases["bb"], start, batch.moving, batch.moving_labels),
    ):
        wanted = WORKING.normalised(case.scan.resampled(grid, how, outside=0.0).data)
        assert torch.allclose(values[0], wanted, atol=1e-3)
        assert shares is not None and case.labels is not None
        for channel, name in enumerate(SEGMENTS):
            (value,) = [v for v, n in case.labels.names.items() if n == name]
            only = Image((case.labels.data == value).float(), case.labels.grid)
            assert torch.allclose(shares[0, channel], only.resampled(grid, how, outside=0.0).data[0], atol=1e-3)
    assert grid.size == (32, 32, 40)
    assert batch.spacing.tolist() == pytest.approx([4.0] * 3, rel=0.05)


def test_cases_lie_on_each_other() -> None:
    drawn = pairs(patient("a", (0, 0, 0)), patient("bb", (18, -12, 16)), patient("c", (-12, 6, -8)))
    for fixed, moving in drawn.pairs:
        batch = drawn.pair(fixed, moving)
        assert batch.fixed_labels is not None and batch.moving_labels is not None
        assert dice(batch.fixed_labels, batch.moving_labels) > 0.85
    assert len(drawn.pairs) == 6


def test_every_case_is_aligned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def prealign(problem: object, how: str, context: object) -> Affine:
        asked.append(how)
        return Affine.from_translation([1.0, 2.0, 3.0])

    monkeypatch.setattr("DeepRegistrationLib.training.case_pairs.prealign", prealign)
    drawn = pairs(*(patient("abcd"[: k + 1], (0, 0, 0)) for k in range(4)), initialisation="rigid")
    for fixed, moving in drawn.pairs:
        drawn.start(fixed, moving)
    assert asked == ["rigid"] * 3  # of twelve pairs
    together = pairs(*drawn.cases.values(), pairs=[("a", "ab"), ("ab", "abc")])
    assert together.start("a", "ab").translation.tolist() == [1, 2, 3]
    assert len(asked) == 4


@pytest.mark.parametrize("seed", range(4))
def test_scans_and_segments_are_turned_and_mirrored_alike(seed: int) -> None:
    """The scans tell where the segments are: the box is brighter than all else, the ball brighter than the body."""
    drawn = pairs(patient("a", (0, 0, 0)), patient("bb", (6, 6, 6)), initialisation="centres", size=(40, 40, 48))
    batch = drawn.pair("a", "bb", torch.Generator().manual_seed(seed), STRONG)
    for scan, labels in ((batch.fixed, batch.fixed_labels), (batch.moving, batch.moving_labels)):
        assert labels is not None
        assert dice(scan[:, 0] > 0.8, labels[:, 1]) > 0.85
        assert dice((scan[:, 0] > 0.55) & (scan[:, 0] < 0.8), labels[:, 0]) > 0.75
    plain = drawn.pair("a", "bb")
    assert batch.fixed_labels is not None and plain.fixed_labels is not None
    assert dice(batch.fixed_labels, plain.fixed_labels) < 0.9


def test_both_scans_are_changed_alike() -> None:
    """Two scans of one patient stay the same scan."""
    case = patient("a", (0, 0, 0))
    drawn = pairs(case, Case("bb", case.scan, case.labels), initialisation="none")
    batch = drawn.pair("a", "bb", torch.Generator().manual_seed(3), STRONG)
    assert torch.equal(batch.fixed, batch.moving)
    apart = Augmentation(probability=0.0, mirror=0.0, jitter=0.0, apart=4.0)
    batch = drawn.pair("a", "bb", torch.Generator().manual_seed(3), apart)
    assert torch.equal(batch.fixed, drawn.pair("a", "bb").fixed)
    assert not torch.equal(batch.fixed, batch.moving)


def test_the_same_generator_draws_the_same() -> None:
    cases = patient("a", (0, 0, 0)), patient("bb", (6, 6, 6)), patient("c", (0, 9, 0))
    one, other = pairs(*cases), pairs(*cases)
    other.draw(torch.Generator().manual_seed(8), STRONG)  # what was drawn before does not matter
    a, b = (drawn.draw(torch.Generator().manual_seed(5), STRONG) for drawn in (one, other))
    assert torch.equal(a.fixed, b.fixed) and torch.equal(a.moving, b.moving)


def test_axes_are_those_of_the_world() -> None:
    """A scan stored with other axes gives the same pair."""
    plain = Grid((60, 60, 50), (3.0, 3.0, 4.0), (-90.0, -90.0, -100.0))
    stored = Grid(
        (50, 60, 60), (4.0, 3.0, 3.0), plain.world_from_index([59, 0, 49]), [[0, -1, 0], [0, 0, 1], [-1, 0, 0]]
    )
    batches = [
        pairs(patient("a", (0, 0, 0), g), patient("bb", (6, 0, 0), g), initialisation="none").pair("a", "bb")
        for g in (plain, stored)
    ]
    assert torch.allclose(batches[0].fixed, batches[1].fixed, atol=1e-3)
    assert torch.allclose(batches[0].moving, batches[1].moving, atol=1e-3)


def test_where_nothing_was_seen_does_not_count() -> None:
    near = patient("a", (0, 0, 0))
    short = Grid((60, 60, 25), (3.0, 3.0, 4.0), (-90.0, -90.0, -100.0))
    drawn = pairs(near, patient("bb", (0, 0, 0), short), initialisation="none")
    region = drawn.pair("a", "bb").region
    assert region is not None
    z = drawn.view("a").world_points()[..., 2]
    assert bool((region[0, 0][z > 2] == 0).all()) and bool((region[0, 0][(z < -6) & (z > -98)] > 0.99).all())


def test_without_segments_the_body_is_looked_at() -> None:
    case, other = patient("a", (0, 0, 0)), patient("bb", (9, 0, 0))
    drawn = pairs(Case("a", case.scan), Case("bb", other.scan), segments=[])
    batch = drawn.pair("a", "bb")
    assert batch.fixed_labels is None
    assert np.abs(drawn.view("bb").centre - [9, 0, 0]).max() < 5


def test_what_cannot_be_paired_is_refused() -> None:
    case = patient("a", (0, 0, 0))
    with pytest.raises(InputError, match="at least two"):
        pairs(case)
    with pytest.raises(InputError, match="no such case"):
        pairs(case, patient("bb", (0, 0, 0)), pairs=[("a", "x")])
    with pytest.raises(InputError, match="no segmentation"):
        pairs(case, Case("bb", case.scan), initialisation="none").pair("a", "bb")


def test_named_pairs_go_with_the_role_of_their_cases() -> None:
    cases = TrainingCases(
        [patient("a", (0, 0, 0)), patient("bb", (0, 0, 0)), patient("c", (0, 0, 0), role=Role.VALIDATE)],
        pairs=[("a", "bb"), ("bb", "c")],
    )
    assert pairs_of(cases, Role.TRAIN) == [("a", "bb")]
    assert pairs_of(cases, Role.VALIDATE) == []
