"""Point sets, problems and results."""

from __future__ import annotations

import pytest
import torch

from core.grids import GRIDS, linear_map, noise, some_points, wavy
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult


def test_points_are_mapped_with_their_names():
    grid = GRIDS["oblique"]
    points = PointSet(some_points(grid, 3), labels=torch.tensor([4, 5, 6]), names=["a", "b", "c"])
    moved = points.mapped(linear_map(grid))
    torch.testing.assert_close(moved.points, linear_map(grid).apply(points.points))
    assert list(moved.names) == ["a", "b", "c"] and moved.labels.tolist() == [4, 5, 6]
    assert len(points) == 3 and points.dimension == 3 and points.points.dtype == torch.float64


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(points=[[1.0, 2.0, float("nan")], [0, 0, 0]]), "Point 1 of 2"),
        (dict(points=[[0.0, 0], [0, float("inf")]]), "Point 2 of 2"),
        (dict(points=[1.0, 2.0, 3.0]), "N rows"),
        (dict(points=[[1.0, 2, 3, 4]]), r"\(1, 4\)"),
        (dict(points=[[1.0, 2]], names=["a", "b"]), "1 points came with 2 names"),
        (dict(points=[[1.0, 2]], labels=torch.tensor([1, 2])), "1 points came with 2 labels"),
    ],
)
def test_refuses_what_are_no_points(arguments, words):
    with pytest.raises(InputError, match=words):
        PointSet(**arguments)


def problem(**more) -> RegistrationProblem:
    fixed, moving = GRIDS["oblique"], GRIDS["left-handed"]
    return RegistrationProblem(noise(fixed), noise(moving), **more)


def test_a_problem_lists_and_moves_what_it_holds():
    labels = noise(GRIDS["plain"], kind=ImageKind.LABELS)
    given = problem(moving_segmentation=labels, initial_transform=wavy(GRIDS["plain"], 1.0))
    assert [name for name, _ in given.images()] == ["fixed", "moving", "moving_segmentation"]
    moved = given.to("cpu")
    assert moved.dimension == 3 and torch.equal(moved.moving_segmentation.data, labels.data)
    assert moved.initial_transform is not None


def test_a_result_computes_on_the_fixed_grid():
    grid = GRIDS["oblique"]
    labels = Image(
        noise(GRIDS["plain"], kind=ImageKind.LABELS).data, GRIDS["plain"], ImageKind.LABELS, {1: "a"}
    )
    points = PointSet(some_points(grid, 4))
    field = wavy(grid, 1.0)
    result = RegistrationResult(problem(moving_segmentation=labels, fixed_landmarks=points), field)
    assert result.moved().grid == grid and result.jacobian().grid == grid
    torch.testing.assert_close(result.moved().data, result.problem.moving.resampled(grid, field).data)
    assert result.moved_segmentation().names == {1: "a"}
    torch.testing.assert_close(result.moved_landmarks().points, field.apply(points.points))


def test_a_result_says_what_it_lacks():
    result = RegistrationResult(problem(), linear_map(GRIDS["oblique"]))
    with pytest.raises(InputError, match="No moving segmentation"):
        result.moved_segmentation()
    with pytest.raises(InputError, match="No fixed landmarks"):
        result.moved_landmarks()
