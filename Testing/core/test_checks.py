"""Every way in which a problem can be wrong before it is computed, and what is only a warning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.checks import check_problem
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.overlap import fields_overlap
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.spec import Capability, Need
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.tiny import Parameters, blob, make_spec


def problem(**changes):
    return RegistrationProblem(
        **{"fixed": blob((10.0, 20.0, 12.0)), "moving": blob((12.0, 23.0, 12.0)), **changes}
    )


def check(given, initialisation="none", **spec):
    return check_problem(given, make_spec(**spec), Parameters(initialisation=initialisation))


def refused(given, *words, initialisation="none", **spec):
    with pytest.raises(InputError) as caught:
        check(given, initialisation, **spec)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")


def mask_at(origin, size=(4, 4, 4), value=1):
    grid = Grid(size, (1,) * len(size), origin)
    data = torch.full((1, *grid.shape), value, dtype=torch.uint8)
    return Image(data, grid, ImageKind.MASK)


def with_voxel(image, value):
    data = image.data.clone()
    data.view(-1)[77] = value
    return image.with_data(data)


def test_a_good_problem_passes_without_a_word():
    assert check(problem()) == []


@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_voxels_that_are_no_numbers(side, value):
    bad = with_voxel(blob((10.0, 20.0, 12.0)), value)
    refused(problem(**{side: bad}), f"{side} image", "1 of 7680 voxels", "not finite")


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint8])
def test_a_constant_image(dtype):
    flat = blob((10.0, 20.0, 12.0))
    flat = flat.with_data(torch.full_like(flat.data, 7).to(dtype))
    refused(problem(moving=flat), "moving image is constant", "every voxel is 7")


@pytest.mark.parametrize(
    ("size", "words"),
    [((20, 24, 1), "single slice"), ((1, 24, 20), "single slice"), ((20, 24, 3), "too small")],
)
def test_too_few_slices(size, words):
    refused(problem(fixed=blob((10.0, 20.0, 0.0), size=size)), "fixed image", words, f"{size[0]} x 24")


def test_channels():
    grid = Grid((8, 8, 8))
    refused(problem(moving=Image(torch.rand(5, 8, 8, 8), grid)), "moving image", "5 values a voxel", "3-D")


def test_spacing_in_other_units():
    refused(problem(fixed=blob((10.0, 20.0, 12.0), spacing=(1000.0, 2.0, 2.0))), "1000 mm", "header")


def test_two_and_three_axes_do_not_mix():
    flat = blob((10.0, 20.0))
    refused(problem(moving=flat), "fixed image is 3-D", "moving image is 2-D")
    marks = PointSet(torch.zeros(1, 2))
    refused(problem(fixed_landmarks=marks, moving_landmarks=marks), "fixed landmarks is 2-D")
    refused(problem(initial_transform=Affine.identity(2)), "initial transform is 2-D")


@pytest.mark.parametrize(("able", "centre"), [("THREE_D", (10.0, 20.0)), ("TWO_D", (10.0, 20.0, 12.0))])
def test_a_method_that_cannot_do_this_dimension(able, centre):
    given = problem(fixed=blob(centre), moving=blob(centre))
    abilities = frozenset({Capability[able]})
    refused(given, "tiny", Capability[able].value, f"these are {len(centre)}-D", capabilities=abilities)


@pytest.mark.parametrize("name", ["fixed_mask", "moving_mask", "fixed_segmentation", "moving_segmentation"])
def test_a_mask_that_lies_elsewhere(name):
    said = name.replace("_", " ")
    refused(problem(**{name: mask_at((500, 0, 0))}), f"The {said} does not touch", "from (500, 0, 0)")
    refused(problem(**{name: mask_at((2, 2, 2), value=0)}), f"The {said} is empty")
    # another grid that touches is fine, also where only its corner does
    assert check(problem(**{name: mask_at((2.2, 2.3, 2.4))})) == []
    assert check(problem(**{name: mask_at((-3, -3, -3))})) == []


def test_a_mask_is_judged_by_its_voxels_and_not_by_its_box():
    mask = mask_at((0, 0, 0), size=(23, 10, 10))
    mask.data[..., :21] = 0  # only beyond the image's 20 mm along x; along z it reaches 23 mm
    refused(problem(fixed_mask=mask), "does not touch")


def test_landmarks_that_do_not_pair_up():
    three, two = PointSet(torch.ones(3, 3)), PointSet(torch.ones(2, 3))
    refused(problem(fixed_landmarks=three, moving_landmarks=two), "3 fixed landmarks", "2 moving landmarks")
    refused(problem(fixed_landmarks=three), "fixed landmarks but no moving")
    refused(problem(moving_landmarks=three), "moving landmarks but no fixed")
    none = PointSet(torch.ones(0, 3))
    refused(problem(fixed_landmarks=none, moving_landmarks=none), "0 points")


def test_landmarks_outside_are_told():
    inside, outside = PointSet(torch.ones(2, 3)), PointSet(torch.tensor([[1.0, 1, 1], [-900, 1, 1]]))
    said = check(problem(fixed_landmarks=inside, moving_landmarks=outside))
    assert len(said) == 1 and said[0].startswith("1 of 2 moving landmarks lie outside")


def test_starts_that_lack_what_they_start_from():
    refused(problem(), "initialisation='given'", "none came", initialisation="given")
    refused(problem(), "at least 3 pairs", "but 0 came", initialisation="landmarks")
    two = PointSet(torch.ones(2, 3))
    given = problem(fixed_landmarks=two, moving_landmarks=two)
    refused(given, "but 2 came", initialisation="landmarks")


def test_fields_of_view_that_do_not_overlap():
    far = blob((512.0, 20.0, 12.0), origin=(500.0, 0.0, 0.0))
    refused(problem(moving=far), "do not overlap", "from (500, 0, 0)")
    said = check(problem(moving=far), "centres")
    assert len(said) == 1 and "500 mm apart" in said[0] and "'centres'" in said[0]
    onto = Affine.from_translation([500.0, 0.0, 0.0])
    assert check(problem(moving=far, initial_transform=onto), "given") == []
    away = onto.inverse().transform
    refused(
        problem(moving=far, initial_transform=away), "after the initial transform", initialisation="given"
    )


def test_an_initial_transform_that_is_not_used_is_told():
    said = check(problem(initial_transform=Affine.identity(3)), "centres")
    assert len(said) == 1 and "not used" in said[0]


def test_what_a_method_needs_and_does_not_use():
    refused(problem(), "needs the fixed mask", inputs={"fixed_mask": Need.REQUIRED})
    refused(problem(), "needs the fixed landmarks", inputs={"landmarks": Need.REQUIRED})
    said = check(problem(fixed_mask=mask_at((2, 2, 2))), inputs={})
    assert len(said) == 1 and "does not use the fixed mask" in said[0]


def test_the_problem_is_left_as_it_was():
    given = problem(fixed_mask=mask_at((2, 2, 2)))
    before = [image.data.clone() for _, image in given.images()]
    check(given)
    after = [image.data for _, image in given.images()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_overlap_of_fields_of_view():
    large, small = Grid((100, 100, 100)), Grid((2, 2, 2), origin=(50.3, 50.3, 50.3))
    assert fields_overlap(large, small) and fields_overlap(small, large)
    assert not fields_overlap(large, Grid((5, 5, 5), origin=(100.1, 0, 0)))
    assert fields_overlap(large, Grid((5, 5, 5), origin=(99.0, 0, 0)))
    # the boxes around the two overlap, the turned image itself does not
    turn = np.array([[np.cos(0.785), -np.sin(0.785)], [np.sin(0.785), np.cos(0.785)]])
    diamond = Grid((50, 50), origin=(50, 0), direction=turn)
    assert not fields_overlap(Grid((20, 20)), diamond)
    assert fields_overlap(Grid((20, 20), origin=(40, 30)), diamond)


def test_overlap_after_a_displacement():
    grid = Grid((10, 10, 10))
    field = torch.zeros(3, 10, 10, 10)
    field[0] = 300.0
    far = Grid((10, 10, 10), origin=(300, 0, 0))
    assert fields_overlap(grid, far, DisplacementField(field, grid))
    assert not fields_overlap(grid, grid, DisplacementField(field, grid))


def test_any_number_of_small_faults_gives_one_sentence():
    flat = blob((10.0, 20.0, 12.0))
    flat = flat.with_data(torch.zeros_like(flat.data))
    refused(replace(problem(moving=flat), fixed=flat), "fixed image is constant")
