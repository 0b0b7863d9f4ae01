"""A known answer is found, on every kind of grid, and what is exported or moved agrees with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from contract.cases import (
    ACROSS_SURFACE,
    GRIDS,
    allowed_tre,
    blob,
    centroid,
    from_surfaces,
    is_linear,
    only_needed,
    run,
    solved,
    truth_case,
)
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.spec import Capability, MethodSpec
from DeepRegistrationLib.io import write_transform
from DeepRegistrationLib.ops.surface_points import label_surface, signed_distance
from DeepRegistrationLib.transforms import Affine


def _assert_found(
    spec: MethodSpec, grids: str, contrast: tuple[str, str] = ("T1", "T1"), slack: float = 1.0
) -> None:
    case = truth_case(is_linear(spec), grids, contrast)
    errors = case.errors(solved(spec.id, grids, contrast).result.transform)
    before = case.errors(Affine.identity(case.problem.dimension))
    limit = slack * allowed_tre(spec)
    assert before.mean() > 1.8 * limit, "the case must be worth solving"
    assert errors.mean() < limit
    assert np.percentile(errors, 95) < 2.5 * limit


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.parametrize("grids", GRIDS)
def test_known_truth_is_found(spec: MethodSpec, grids: str) -> None:
    _assert_found(spec, grids)


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.parametrize("grids", GRIDS)
def test_surfaces_come_to_lie_on_each_other(spec: MethodSpec, grids: str) -> None:
    """What a method from surfaces can know: how far T takes a point of a segment's surface off the moving segment's."""
    if not from_surfaces(spec):
        pytest.skip("the method works from images")
    problem = truth_case(False, grids).problem
    fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
    assert fixed is not None and moving is not None
    for value in fixed.label_values:
        here, there = (label_surface(s.data[0] == value, s.grid) for s in (fixed, moving))
        moved = solved(spec.id, grids).result.transform.apply(torch.as_tensor(here.points))
        off = np.abs(signed_distance(there, moved.numpy()))
        voxel = max(fixed.grid.spacing + moving.grid.spacing)
        assert off.mean() < ACROSS_SURFACE * voxel, fixed.names[value]


@pytest.mark.needs(Capability.TWO_D)
def test_known_truth_is_found_in_two_dimensions(spec: MethodSpec) -> None:
    _assert_found(spec, "2-D")


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.needs(Capability.MULTIMODAL)
def test_known_truth_is_found_across_contrasts(spec: MethodSpec) -> None:
    if from_surfaces(spec):
        pytest.skip("the method looks at no contrast")
    _assert_found(spec, "plain", ("T1", "T2"), slack=1.2)


@pytest.mark.needs(Capability.THREE_D)
def test_everything_that_can_help_does_not_hurt(spec: MethodSpec) -> None:
    case = truth_case(is_linear(spec))
    errors = case.errors(run(only_needed(case.problem, spec, optional=True), spec).result.transform)
    assert errors.mean() < allowed_tre(spec)


def test_given_initial_transform_is_the_start_and_part_of_the_answer(spec: MethodSpec) -> None:
    """A start 60 mm away in the moving world, which no local search bridges, must be honoured."""
    case = truth_case(is_linear(spec), "2-D" if Capability.TWO_D in spec.capabilities else "plain")
    away = Affine.from_translation([60.0, -70.0, 80.0][: case.problem.dimension])
    grid = case.problem.moving.grid
    moved_grid = replace_origin(grid, np.add(grid.origin, away.translation.numpy()))
    moving = replace(case.problem.moving, grid=moved_grid)
    problem = replace(only_needed(case.problem, spec), moving=moving, initial_transform=away)
    problem = replace(
        problem, **{n: None for n in ("moving_mask", "moving_segmentation", "moving_landmarks")}
    )
    if problem.fixed_landmarks is not None or problem.fixed_segmentation is not None:
        pytest.skip("the method requires landmarks or labels, which this test does not carry along")
    result = run(problem, spec, initialisation="given").result
    back = away.inverse().transform
    x = case.body_points()
    errors = (back.apply(result.transform.apply(x)) - case.true_transform.apply(x)).norm(dim=1)
    assert float(errors.mean()) < allowed_tre(spec)


def replace_origin(grid, origin):  # type: ignore[no-untyped-def]
    return type(grid)(grid.size, grid.spacing, origin, grid.direction)


def test_identical_images_stay_where_they_are(spec: MethodSpec) -> None:
    grids = "plain" if Capability.THREE_D in spec.capabilities else "2-D"
    p = truth_case(is_linear(spec), grids).problem
    same = replace(
        p, moving=p.fixed, moving_mask=p.fixed_mask, moving_segmentation=p.fixed_segmentation,
        moving_landmarks=p.fixed_landmarks,
    )  # fmt: skip
    transform = run(only_needed(same, spec), spec).result.transform
    x = truth_case(is_linear(spec), grids).body_points()
    moved = (transform.apply(x) - x).norm(dim=1)
    voxel = min(p.fixed.grid.spacing)
    assert float(moved.mean()) < 0.05 * voxel
    assert float(moved.max()) < 0.35 * voxel


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.parametrize("grids", ["plain", "oblique left-handed far off"])
def test_exported_transform_in_simpleitk_gives_the_moved_image(
    spec: MethodSpec, grids: str, tmp_path: Path
) -> None:
    result = solved(spec.id, grids).result
    if result.transform.is_linear:
        path = tmp_path / "transform.tfm"
        write_transform(result.transform, path)
        transform = sitk.ReadTransform(str(path))
    else:
        path = tmp_path / "transform.nrrd"
        write_transform(result.transform, path, grid=result.grid)
        transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    moving = result.problem.moving
    there = sitk.Resample(
        _to_sitk(moving), _to_sitk(result.problem.fixed), transform, sitk.sitkLinear, moving.outside_value()
    )
    difference = np.abs(sitk.GetArrayFromImage(there) - result.moved().data[0].numpy())
    contrast = float(moving.data.max() - moving.data.min())
    # a voxel at the border of the moving image may fall on either side of it
    assert difference.mean() < 1e-3 * contrast
    assert np.percentile(difference, 99) < 0.01 * contrast


def _to_sitk(image: Image) -> sitk.Image:
    """By hand, so that the library's own conversion is not its judge."""
    out = sitk.GetImageFromArray(image.data[0].numpy())
    out.SetSpacing(image.grid.spacing)
    out.SetOrigin(image.grid.origin)
    out.SetDirection(np.asarray(image.grid.direction).ravel().tolist())
    return out


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.parametrize("grids", ["plain", "oblique left-handed far off"])
def test_landmark_and_the_blob_under_it_end_together(spec: MethodSpec, grids: str) -> None:
    """A blob drawn at T(x) in the moving world is pulled back onto x."""
    result = solved(spec.id, grids).result
    x = truth_case(is_linear(spec), grids).body_points(400)
    y = result.transform.apply(x)
    far = (y - x).norm(dim=1).argsort(descending=True)
    index = result.problem.moving.grid.index_from_world(y.numpy())
    middle = ((index > 8) & (index < np.array(result.problem.moving.grid.size) - 9)).all(axis=1)
    chosen = [int(k) for k in far if middle[int(k)]][:3]
    assert len(chosen) == 3
    for k in chosen:
        assert float((y[k] - x[k]).norm()) > 3.0, "too little motion to tell the directions apart"
        # the middle of a wide blob leaves its landmark where T bends, which one from surfaces does more
        width = 4.0 if from_surfaces(spec) else 6.0
        pulled = result.moved(blob(result.problem.moving.grid, y[k].numpy(), width))
        assert np.linalg.norm(centroid(pulled) - x[k].numpy()) < 1.2


@pytest.mark.needs(Capability.THREE_D)
@pytest.mark.parametrize("grids", ["plain", "oblique left-handed far off"])
def test_inverse_undoes_the_transform(spec: MethodSpec, grids: str) -> None:
    result = solved(spec.id, grids).result
    if Capability.INVERSE in spec.capabilities:
        assert result.inverse is not None, "the method says that it gives an inverse"
    inverse = result.inverse or result.transform.inverse().transform
    x = truth_case(is_linear(spec), grids).body_points()
    back = (inverse.apply(result.transform.apply(x)) - x).norm(dim=1)
    voxel = min(result.grid.spacing)
    assert float(back.mean()) < 0.05 * voxel
    assert float(torch.quantile(back, 0.99)) < 0.25 * voxel
