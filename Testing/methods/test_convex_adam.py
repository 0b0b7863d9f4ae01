"""What ConvexAdam makes of its optional inputs and settings, on small volumes of blurred noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.transform import Transform
from DeepRegistrationLib.methods.deformable.convex_adam import SPEC
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.optim.parametric import SplineField
from DeepRegistrationLib.optim.spline_transform import spline_transform
from DeepRegistrationLib.transforms import Affine, DisplacementField

GRIDS = {2: Grid((56, 50), (2.0, 2.0), (-50.0, 30.0)), 3: Grid((32, 36, 30), (2.0, 2.0, 2.0), (-31.0, 20.0, -300.0))}


def run(problem: RegistrationProblem, preset: str | None = None, **values: object) -> RegistrationResult:
    """The method itself, without pipeline and pre-alignment."""
    parameters = SPEC.make_parameters(preset, {"initialisation": "none", **values})
    return SPEC.run(problem, parameters, Context(torch.device("cpu")))


def noise(grid: Grid, seed: int, blur: int = 1, scale: float = 100.0) -> Image:
    g = torch.Generator().manual_seed(seed)
    data = torch.randn(grid.shape, generator=g)
    for _ in range(2 if blur else 0):
        data = box_mean(data[None], blur)[0]
    return Image((scale * data / data.std())[None], grid)


def bump(grid: Grid, peak: Sequence[float], width: float = 14.0) -> DisplacementField:
    """x + peak exp(-|x - middle|^2 / 2 width^2), mm."""
    x = grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)
    weight = torch.exp(-x.square().sum(dim=-1) / (2 * width**2))
    return DisplacementField(torch.stack([p * weight for p in peak]).float(), grid)


@cache
def planted(d: int) -> tuple[RegistrationProblem, DisplacementField]:
    """fixed(x) = moving(T(x)) for a bump of 7 mm."""
    grid = GRIDS[d]
    truth = bump(grid, (5.0, -4.0, 3.0)[:d])
    moving = noise(grid, 1)
    return RegistrationProblem(moving.resampled(grid, truth), moving), truth


def inner(grid: Grid, margin: int = 5) -> torch.Tensor:
    """(N, d) LPS mm of the voxels away from the border."""
    x = grid.world_points(dtype=torch.float64)
    return x[(slice(margin, -margin),) * grid.dimension].reshape(-1, grid.dimension)


def apart(a: Transform, b: Transform, points: torch.Tensor) -> float:
    return float((a.apply(points) - b.apply(points)).norm(dim=1).mean())


def error(result: RegistrationResult, truth: Transform, part: slice = slice(None)) -> float:
    return apart(result.transform, truth, inner(result.grid)[part])


def identity(d: int) -> Affine:
    return Affine.identity(d)


def displacement(result: RegistrationResult) -> torch.Tensor:
    return result.transform.displacement(result.grid)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(("d", "preset"), [(2, None), *((3, p) for p in (None, *(p.id for p in SPEC.presets)))])
def test_every_preset_finds_a_planted_bump(preset: str | None, d: int) -> None:
    problem, truth = planted(d)
    values = {} if preset is None else {k: 2.0 for k in SPEC.preset(preset).values if k == "spacing"}
    result = run(problem, preset, **values)
    x = inner(result.grid)
    assert error(result, truth) < 0.4 * apart(identity(d), truth, x)


def test_history_has_every_step_of_every_stage() -> None:
    history = run(planted(2)[0], coarse_iterations=7, iterations=11).history
    assert {name: len(values) for name, values in history.items()} == {"stiff": 7, "coarse": 7, "fine": 11}
    refined = run(planted(2)[0]).history["fine"]
    assert sum(refined[-5:]) < sum(refined[:5])


@pytest.mark.parametrize("both_ways", [False, True])
def test_search_reaches_as_far_as_asked_and_the_steps_refine_it(both_ways: bool) -> None:
    """26 mm are a good two cells of 6 voxels of 2 mm."""
    grid = GRIDS[2]
    wide = Grid((100, 100), grid.spacing, (-94.0, -20.0))
    shift = Affine.from_translation([26.0, 0.0])
    moving = noise(wide, 3)
    problem = RegistrationProblem(moving.resampled(grid, shift), moving)
    far = run(problem, search_both_ways=both_ways)
    near = run(problem, search_cells=1, search_both_ways=both_ways)
    searched = run(problem, search_both_ways=both_ways, coarse_iterations=0, iterations=0)
    # the moving scan was taken over on the fixed grid: what leaves that has no partner
    x = inner(grid)
    x = x[x[:, 0] < 20]
    assert apart(far.transform, shift, x) < 0.5
    assert apart(far.transform, shift, x) < 0.5 * apart(searched.transform, shift, x) < 3.0
    assert apart(near.transform, shift, x) > 8.0


@pytest.mark.parametrize("both_ways", [False, True])
def test_air_stays_where_it_is(both_ways: bool) -> None:
    """Two equal scans of an island in air that is perfectly flat."""
    grid = GRIDS[2]
    data = torch.zeros(1, *grid.shape)
    data[:, 18:34, 20:36] = noise(grid, 4).data[:, 18:34, 20:36]
    result = run(RegistrationProblem(Image(data, grid), Image(data, grid)), search_both_ways=both_ways)
    assert float(displacement(result).abs().max()) < 0.5


def test_stiffer_means_less_strain() -> None:
    soft, stiff = (displacement(run(planted(2)[0], smoothness=s)) for s in (0.05, 50.0))
    assert float(stiff.diff(dim=-1).square().mean()) < 0.2 * float(soft.diff(dim=-1).square().mean())


def test_intensities_beyond_the_window_do_not_matter() -> None:
    problem, _ = planted(2)
    metal = problem.fixed.data.clone()
    metal[metal > 100] *= 20
    window = {"intensity_minimum": -150.0, "intensity_maximum": 100.0}
    a, b = run(problem, **window), run(replace(problem, fixed=problem.fixed.with_data(metal)), **window)
    assert torch.equal(displacement(a), displacement(b))
    assert not torch.equal(displacement(run(problem)), displacement(a))


@pytest.mark.parametrize(("low", "high"), [(100.0, -50.0), (30.0, 30.0)])
def test_window_upside_down_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match=rf"{low:g}.*{high:g}"):
        run(planted(2)[0], intensity_minimum=low, intensity_maximum=high)


@pytest.mark.parametrize("size", [(4, 4, 4), (30, 5, 40), (1, 20, 20), (4, 4), (40, 3)])
@pytest.mark.parametrize("values", [{}, {"diffeomorphic": True}, {"intensity_weight": 1.0, "inverse": True}], ids=str)
def test_tiny_volumes(size: tuple[int, ...], values: dict[str, object]) -> None:
    grid = Grid(size, (2.0,) * len(size))
    image = noise(grid, 5, blur=0)
    marks = PointSet(grid.world_points(dtype=torch.float64).reshape(-1, len(size))[:3])
    problem = RegistrationProblem(image, noise(grid, 6, blur=0), fixed_landmarks=marks, moving_landmarks=marks)
    result = run(problem, **values)
    assert displacement(result).shape == (len(size), *grid.shape)
    assert bool(torch.isfinite(displacement(result)).all())
    # a scan and itself agree as they are
    same = run(RegistrationProblem(image, image), **values)
    assert float(displacement(same).abs().mean()) < 0.2


def test_deformation_is_written_down_where_it_belongs() -> None:
    """u = 0.1 x along one axis of a working grid of its own spacing, read off at world points."""
    fixed = Grid((40, 30), (2.0, 2.0), (-10.0, 5.0), [[0.0, -1.0], [1.0, 0.0]])
    working = fixed.with_spacing(5.0)

    def stretch(positions: Sequence[torch.Tensor]) -> torch.Tensor:
        along = 0.1 * positions[1].expand(len(positions[0]), -1)
        return torch.stack([along, torch.zeros_like(along)])

    spline = SplineField.fitted(working.shape, 2.0, stretch, torch.device("cpu"))
    x = inner(fixed)
    index = working.index_from_world(x)
    index[:, 0] *= 1.1
    there = torch.from_numpy(working.world_from_index(index))
    assert float((spline_transform(spline, working, fixed, False).apply(x) - there).norm(dim=1).max()) < 0.03


# ---------------------------------------------------------------- invertibility


@cache
def conflicting(d: int) -> RegistrationProblem:
    """Two scans with nothing in common, which a soft displacement folds for."""
    return RegistrationProblem(noise(GRIDS[d], 7), noise(GRIDS[d], 8))


@pytest.mark.parametrize("d", [2, 3])
def test_diffeomorphic_never_folds(d: int) -> None:
    soft = {"smoothness": 0.02, "initialisation": "none"}
    assert float(run(conflicting(d), **soft).jacobian().data.min()) < 0
    result = run(conflicting(d), diffeomorphic=True, **soft)
    assert float(result.jacobian().data.min()) > 0
    assert float(displacement(result).norm(dim=0).max()) > 4


@pytest.mark.parametrize("values", [{"inverse": True}, {"diffeomorphic": True}], ids=str)
@pytest.mark.parametrize("d", [2, 3])
def test_inverse_undoes_the_transform_and_its_residual_is_told(d: int, values: dict[str, bool]) -> None:
    result = run(planted(d)[0], **values)
    assert result.inverse is not None
    x = inner(result.grid)
    back = (result.inverse.apply(result.transform.apply(x)) - x).norm(dim=1)
    assert float(back.mean()) < 0.05
    assert float(torch.quantile(back, 0.99)) < 3 * result.tables["inverse residual (mm)"] + 0.05
    assert result.tables["inverse residual (mm)"] < 0.5


def test_inverse_includes_the_start() -> None:
    problem, truth = planted(2)
    away = Affine.from_translation([40.0, -25.0])
    grid = problem.moving.grid
    there = Grid(grid.size, grid.spacing, (grid.origin[0] + 40, grid.origin[1] - 25))
    moving = Image(problem.moving.data, there)
    result = run(replace(problem, moving=moving, initial_transform=away), initialisation="given", inverse=True)
    x = inner(result.grid)
    y = result.transform.apply(x)
    assert float((y - away.apply(truth.apply(x))).norm(dim=1).mean()) < 1.0
    assert result.inverse is not None
    assert float((result.inverse.apply(y) - x).norm(dim=1).mean()) < 0.05


def test_no_inverse_unless_asked() -> None:
    result = run(planted(2)[0])
    assert result.inverse is None and not result.tables


# ---------------------------------------------------------------- segmentations, landmarks, masks


@cache
def only_labels(d: int) -> RegistrationProblem:
    """Two organs that a bump carries away, drawn in the segmentations; the scans show the same body around them."""
    grid = GRIDS[d]
    truth = bump(grid, (9.0, -7.0, 5.0)[:d], 16.0)
    x = grid.world_points(dtype=torch.float64) - torch.from_numpy(grid.centre)
    data = torch.zeros(grid.shape, dtype=torch.uint8)
    for value, offset, radius in ((3, (-9.0, 4.0, 0.0), 11.0), (7, (11.0, -5.0, 4.0), 8.0)):
        data[(x - torch.tensor(offset[:d])).norm(dim=-1) < radius] = value
    labels = Image(data[None], grid, ImageKind.LABELS)
    body = torch.zeros(1, *grid.shape)
    body[(0, *[slice(3, -3)] * d)] = 100
    scan = Image(body, grid)
    return RegistrationProblem(scan, scan, fixed_segmentation=labels.resampled(grid, truth), moving_segmentation=labels)


def dice(a: Image, b: Image, value: int) -> float:
    x, y = a.data == value, b.data == value
    return 2 * float((x & y).sum()) / float(x.sum() + y.sum())


@pytest.mark.parametrize("d", [2, 3])
def test_segmentations_lead_where_there_is_no_contrast(d: int) -> None:
    problem = only_labels(d)
    fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
    assert fixed is not None and moving is not None
    blind, led, pulled = (run(problem, segmentation_weight=w) for w in (0, 2, 20))
    for value in (3, 7):
        before = dice(fixed, moving, value)
        assert before < 0.6
        assert dice(fixed, blind.moved_segmentation(), value) == pytest.approx(before, abs=0.03)
        assert dice(fixed, led.moved_segmentation(), value) > 0.68
        assert dice(fixed, pulled.moved_segmentation(), value) > 0.85


def test_segmentations_without_weight_are_not_looked_at() -> None:
    problem = only_labels(2)
    bare = replace(problem, fixed_segmentation=None, moving_segmentation=None)
    assert torch.equal(displacement(run(problem, segmentation_weight=0)), displacement(run(bare)))
    assert not torch.equal(displacement(run(problem)), displacement(run(bare)))


def test_labels_that_only_one_side_has_are_left_out() -> None:
    problem = only_labels(2)
    assert problem.fixed_segmentation is not None
    data = problem.fixed_segmentation.data.clone()
    data[:, :4, :4] = 9
    more = replace(problem, fixed_segmentation=problem.fixed_segmentation.with_data(data))
    assert torch.equal(displacement(run(more)), displacement(run(problem)))


def test_segmentations_without_a_common_label_are_refused() -> None:
    problem = only_labels(2)
    assert problem.fixed_segmentation is not None
    other = problem.fixed_segmentation.with_data(problem.fixed_segmentation.data * 2)
    with pytest.raises(InputError, match=r"\[6, 14\].*\[3, 7\]"):
        run(replace(problem, fixed_segmentation=other))


@cache
def with_landmarks(d: int) -> RegistrationProblem:
    """Scans that say nothing, and a dozen pairs of points on a bump."""
    grid = GRIDS[d]
    truth = bump(grid, (6.0, -5.0, 4.0)[:d])
    x = inner(grid, 8)
    marks = PointSet(x[torch.randperm(len(x), generator=torch.Generator().manual_seed(11))[:12]])
    return RegistrationProblem(
        noise(grid, 12, blur=0), noise(grid, 13, blur=0), fixed_landmarks=marks, moving_landmarks=marks.mapped(truth)
    )


def tre(result: RegistrationResult) -> float:
    marks = result.problem.moving_landmarks
    assert marks is not None
    return float((result.moved_landmarks().points - marks.points).norm(dim=1).mean())


@pytest.mark.parametrize(("d", "diffeomorphic"), [(2, False), (2, True), (3, False)])
def test_landmarks_pull_the_harder_the_more_they_weigh(d: int, diffeomorphic: bool) -> None:
    problem = with_landmarks(d)
    none, little, much = (tre(run(problem, landmark_weight=w, diffeomorphic=diffeomorphic)) for w in (0.0, 0.002, 0.05))
    assert much < 0.5 * little < 0.4 * none
    assert 0 < much < 0.6  # a soft term: close, not exact


def test_landmarks_count_beyond_the_start() -> None:
    """The moving patient lies 40 mm away, and so do its landmarks."""
    problem = with_landmarks(2)
    away = Affine.from_translation([40.0, -25.0])
    grid, marks = problem.moving.grid, problem.moving_landmarks
    assert marks is not None
    there = Grid(grid.size, grid.spacing, (grid.origin[0] + 40, grid.origin[1] - 25))
    moved = replace(
        problem, moving=Image(problem.moving.data, there), moving_landmarks=marks.mapped(away), initial_transform=away
    )
    assert tre(run(moved, initialisation="given")) == pytest.approx(tre(run(problem)), abs=0.05)


def test_landmarks_without_weight_are_not_looked_at() -> None:
    problem = with_landmarks(2)
    bare = replace(problem, fixed_landmarks=None, moving_landmarks=None)
    assert torch.equal(displacement(run(problem, landmark_weight=0)), displacement(run(bare)))


def corrupted(image: Image, seed: int, gain: float = 1.0) -> Image:
    """Another texture from three fifths of x on."""
    data = image.data.clone()
    start = image.grid.size[0] * 3 // 5
    data[..., start:] = gain * noise(image.grid, seed).data[..., start:]
    return image.with_data(data)


def clean_side(grid: Grid) -> Image:
    data = torch.ones((1, *grid.shape), dtype=torch.uint8)
    data[..., grid.size[0] * 3 // 5 - 4 :] = 0  # features look a few voxels around themselves
    return Image(data, grid, ImageKind.MASK)


@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize(
    ("d", "values"), [(2, {}), (3, {}), (2, {"intensity_weight": 1.0}), (2, {"diffeomorphic": True})], ids=str
)
def test_what_lies_outside_the_mask_has_no_influence(d: int, values: dict[str, object], side: str) -> None:
    problem, truth = planted(d)
    grid = GRIDS[d]
    spoilt = [replace(problem, **{side: corrupted(getattr(problem, side), seed)}) for seed in (20, 21)]
    masked = [run(replace(p, **{f"{side}_mask": clean_side(grid)}), **values) for p in spoilt]
    bare = [run(p, **values) for p in spoilt]
    x = inner(grid)
    left = x[x[:, 0] < grid.world_from_index([grid.size[0] * 3 // 5 - 8] + [0] * (d - 1))[0]]
    assert apart(masked[0].transform, masked[1].transform, left) < 0.05
    assert apart(masked[0].transform, masked[1].transform, x) < 0.2
    assert apart(bare[0].transform, bare[1].transform, x) > 0.5
    assert apart(masked[0].transform, truth, left) < 0.5 * apart(identity(d), truth, left)


def test_search_does_not_look_outside_the_fixed_mask() -> None:
    problem, _ = planted(2)
    found = [
        run(
            replace(problem, fixed=corrupted(problem.fixed, seed), fixed_mask=clean_side(GRIDS[2])),
            coarse_iterations=0, iterations=0, search_both_ways=False,
        )
        for seed in (20, 21)
    ]  # fmt: skip
    assert float((displacement(found[0]) - displacement(found[1])).abs().max()) < 1e-3


@pytest.mark.parametrize("side", ["fixed", "moving"])
@pytest.mark.parametrize("values", [{}, {"mind_weight": 0.0, "intensity_weight": 1.0}], ids=str)
def test_metal_outside_the_mask_does_not_set_the_scale(values: dict[str, object], side: str) -> None:
    problem, truth = planted(2)
    grid = GRIDS[2]
    metal = corrupted(getattr(problem, side), 20, gain=300.0)
    result = run(replace(problem, **{side: metal, f"{side}_mask": clean_side(grid)}), **values)
    x = inner(grid)
    left = x[x[:, 0] < grid.world_from_index([grid.size[0] * 3 // 5 - 8, 0])[0]]
    assert apart(result.transform, truth, left) < 0.3
