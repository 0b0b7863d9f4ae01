"""What cannot be registered is refused at once, in one sentence that quotes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

import phantoms
from contract.cases import INPUTS, grid_about, only_needed
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem as Problem
from DeepRegistrationLib.core.spec import Capability, MethodSpec, Need, parameters_of
from DeepRegistrationLib.methods.pipeline import register_problem

pytestmark = pytest.mark.needs(Capability.THREE_D)


@cache
def _good() -> Problem:
    grid = grid_about((0, 0, 0), (20, 24, 20), (9.0, 9.0, 9.0))
    return phantoms.brain(grid, grid, motion_mm=4).problem


def _refused(problem: Problem, spec: MethodSpec, *quoted: str, **values: object) -> None:
    with pytest.raises(InputError) as caught:
        register_problem(problem, spec.id, values=values, context=Context(torch.device("cpu")))
    said = str(caught.value)
    assert said.endswith((".", "?")) and "\n" not in said and len(said) < 400
    for words in quoted:
        assert words in said, f"{words!r} is not quoted in: {said}"


def _changed(image: Image, change: Callable[[torch.Tensor], torch.Tensor]) -> Image:
    return image.with_data(change(image.data.clone()))


def _with_one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(data: torch.Tensor) -> torch.Tensor:
        data[0, 3, 4, 5] = value
        return data

    return change


@pytest.mark.parametrize("side", ["fixed", "moving"])
class TestOfOneImage:
    def _with(self, spec: MethodSpec, side: str, image: Image) -> Problem:
        return replace(only_needed(_good(), spec), **{side: image})

    def test_constant(self, spec: MethodSpec, side: str) -> None:
        image = _changed(_good().fixed, lambda d: torch.full_like(d, 7.0))
        _refused(self._with(spec, side, image), spec, side, "7")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_not_finite(self, spec: MethodSpec, side: str, value: float) -> None:
        _refused(self._with(spec, side, _changed(_good().fixed, _with_one(value))), spec, side, "1 of")

    @pytest.mark.parametrize("size", [(2, 2, 2), (40, 40, 1), (30, 3, 30)])
    def test_tiny(self, spec: MethodSpec, side: str, size: tuple[int, ...]) -> None:
        grid = grid_about((0, 0, 0), size, (4.0, 4.0, 4.0))
        _refused(self._with(spec, side, Image(torch.rand(1, *grid.shape), grid)), spec, side)

    def test_huge_spacing(self, spec: MethodSpec, side: str) -> None:
        good = _good().fixed
        image = replace(good, grid=Grid(good.grid.size, (3000.0,) * 3, good.grid.origin))
        _refused(self._with(spec, side, image), spec, side, "3000")

    def test_several_values_a_voxel(self, spec: MethodSpec, side: str) -> None:
        image = _changed(_good().fixed, lambda d: d.repeat(3, 1, 1, 1))
        _refused(self._with(spec, side, image), spec, side, "3")

    def test_other_number_of_axes(self, spec: MethodSpec, side: str) -> None:
        flat = Image(torch.rand(1, 30, 30), grid_about((0, 0), (30, 30), (4.0, 4.0)))
        _refused(self._with(spec, side, flat), spec, "2-D", "3-D")

    def test_empty_mask(self, spec: MethodSpec, side: str) -> None:
        mask = Image(
            torch.zeros_like(_good().fixed.data, dtype=torch.uint8), _good().fixed.grid, ImageKind.MASK
        )
        _refused(replace(_good(), **{f"{side}_mask": mask}), spec, side, "mask")

    def test_mask_elsewhere(self, spec: MethodSpec, side: str) -> None:
        grid = grid_about((5000, 0, 0), (8, 8, 8), (5.0, 5.0, 5.0))
        mask = Image(torch.ones(1, 8, 8, 8, dtype=torch.uint8), grid, ImageKind.MASK)
        _refused(replace(_good(), **{f"{side}_mask": mask}), spec, side, "mask")

    def test_landmarks_on_one_side_only(self, spec: MethodSpec, side: str) -> None:
        _refused(replace(_good(), **{f"{side}_landmarks": None}), spec, side, "landmarks")


def test_different_numbers_of_landmarks(spec: MethodSpec) -> None:
    marks = _good().fixed_landmarks
    assert marks is not None
    fewer = PointSet(marks.points[:-2])
    _refused(replace(_good(), fixed_landmarks=fewer), spec, str(len(marks)), str(len(fewer)))


def test_missing_required_input(spec: MethodSpec) -> None:
    for name in INPUTS:
        if spec.inputs.get(name) is Need.REQUIRED:
            _refused(replace(_good(), **{name: None}), spec, name.replace("_", " "))
    # and a method that requires nothing accepts the bare images: the truth tests show that


def test_images_apart_without_initialisation(spec: MethodSpec) -> None:
    start = next((p for p in parameters_of(spec.parameters) if p.name == "initialisation"), None)
    if start is None:
        pytest.skip("the method has no choice of initialisation")
    p = only_needed(_good(), spec)
    grid = p.moving.grid
    away = replace(p.moving, grid=Grid(grid.size, grid.spacing, (4000.0, 0.0, 0.0), grid.direction))
    labels = p.moving_segmentation
    if labels is not None:  # they belong to the image
        labels = replace(labels, grid=away.grid)
    _refused(replace(p, moving=away, moving_segmentation=labels), spec, "overlap", "centres", initialisation="none")


def test_given_start_that_was_not_given(spec: MethodSpec) -> None:
    _refused(only_needed(_good(), spec), spec, "given", initialisation="given")


def test_unknown_parameter_and_value_out_of_range(spec: MethodSpec) -> None:
    p = only_needed(_good(), spec)
    _refused(p, spec, "no_such_setting", no_such_setting=1)
    for parameter in parameters_of(spec.parameters):
        if parameter.range is not None:
            _refused(p, spec, parameter.name, **{parameter.name: parameter.range.maximum + 1e6})
        if parameter.choice is not None:
            _refused(p, spec, parameter.name, "'nonsense'", **{parameter.name: "nonsense"})
