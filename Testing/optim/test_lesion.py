"""Which segments and masks are taken for the lesion."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.optim.lesion import lesions, share_on
from DeepRegistrationLib.transforms import Affine

GRID = Grid((12, 10), (2.0, 3.0), (5.0, -7.0))


def labels(names: dict[int, str], *values: int) -> Image:
    """Row k of the picture holds the k-th value."""
    data = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    for row, value in enumerate(values):
        data[0, row] = value
    return Image(data, GRID, ImageKind.LABELS, names)


def mask(row: int) -> Image:
    data = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    data[0, row] = 1
    return Image(data, GRID, ImageKind.MASK)


def problem(**given: Image) -> RegistrationProblem:
    scan = Image(torch.rand(1, *GRID.shape), GRID)
    return RegistrationProblem(scan, scan, **given)


def rows(image: Image | None) -> list[int]:
    assert image is not None
    return [int(k) for k in image.data[0].sum(dim=1).nonzero()[:, 0]]


NAMES = {1: "Ventricle", 2: "Brain TUMOUR core", 3: "Peritumoral edema", 7: "Other"}


def test_names_decide_on_either_side() -> None:
    p = problem(fixed_segmentation=labels(NAMES, 1, 2, 3, 7), moving_segmentation=labels({1: "Lesion"}, 0, 0, 1))
    fixed, moving = lesions(p, "automatic", None)
    assert rows(fixed) == [1, 2] and rows(moving) == [2]
    assert fixed is not None and fixed.kind is ImageKind.INTENSITY and float(fixed.data.max()) == 1


def test_nothing_that_sounds_like_a_lesion() -> None:
    p = problem(fixed_segmentation=labels({1: "Ventricle"}, 1), moving_segmentation=labels({6: "Lesion"}, 1, 2))
    assert lesions(p, "automatic", None) == (None, None)
    assert lesions(problem(), "automatic", None) == (None, None)


def test_a_number_wins_over_names() -> None:
    p = problem(fixed_segmentation=labels(NAMES, 1, 2, 3, 7))
    for source in ("automatic", "fixed-segmentation", "segmentations"):
        assert rows(lesions(p, source, 7)[0]) == [3]


def test_a_chosen_segmentation_without_such_names_is_all_lesion() -> None:
    p = problem(moving_segmentation=labels({1: "Segment_1"}, 0, 1), fixed_segmentation=labels(NAMES, 2))
    fixed, moving = lesions(p, "moving-segmentation", None)
    assert fixed is None and rows(moving) == [1]


def test_masks() -> None:
    p = problem(fixed_mask=mask(2), moving_mask=mask(4))
    assert [None if m is None else rows(m) for m in lesions(p, "fixed-mask", None)] == [[2], None]
    assert [rows(m) for m in lesions(p, "masks", None)] == [[2], [4]]


@pytest.mark.parametrize(
    ("source", "value", "words"),
    [
        ("fixed-segmentation", 9, "segment 9"),
        ("moving-segmentation", None, "moving segmentation"),
        ("masks", None, "fixed mask or moving mask"),
        ("automatic", 9, "9"),
    ],
)
def test_what_is_not_there_is_refused(source: str, value: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        lesions(problem(fixed_segmentation=labels(NAMES, 1, 2)), source, value)


def test_share_on_another_grid_through_a_transform() -> None:
    image = lesions(problem(fixed_mask=mask(4)), "fixed-mask", None)[0]
    shift = Affine.from_translation([0.0, 6.0])
    share = share_on(image, GRID, shift)
    assert share is not None and rows(Image(share[None], GRID)) == [2]
    coarse = share_on(image, GRID.downsampled(2))
    assert coarse is not None and coarse.shape == (5, 6) and float(coarse.max()) == pytest.approx(0.5, abs=0.1)
    assert share_on(image, GRID, Affine.from_translation([500.0, 0.0])) is None
    assert share_on(None, GRID) is None
