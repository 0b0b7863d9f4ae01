"""What the variational principle makes of its optional inputs and settings, on small images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.transform import Transform
from DeepRegistrationLib.methods.deformable.variational_principle import SPEC
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.transforms import Affine, DisplacementField

GRIDS = {2: Grid((56, 50), (2.0, 2.0), (-50.0, 30.0)), 3: Grid((26, 28, 24), (2.4, 2.2, 2.3), (-31.0, 20.0, -300.0))}
PRESETS = [p.id for p in SPEC.presets]


def run(problem: RegistrationProblem, preset: str | None = None, **values: object) -> RegistrationResult:
    """The method itself, without pipeline and pre-alignment."""
    parameters = SPEC.make_parameters(preset, {"initialisation": "none", **values})
    return SPEC.run(problem, parameters, Context(torch.device("cpu")))


def noise(grid: Grid, seed: int, scale: float = 100.0) -> Image:
    data = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    for _ in range(2):
        data = box_mean(data[None], 1)[0]
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


def inner(grid: Grid, margin: int = 4) -> torch.Tensor:
    """(N, d) LPS mm of the voxels away from the border."""
    x = grid.world_points(dtype=torch.float64)
    return x[(slice(margin, -margin),) * grid.dimension].reshape(-1, grid.dimension)


def apart(a: Transform, b: Transform, points: torch.Tensor) -> float:
    return float((a.apply(points) - b.apply(points)).norm(dim=1).mean())


def share_left(result: RegistrationResult, truth: Transform) -> float:
    """Mean error over what it was before."""
    x = inner(result.grid)
    return apart(result.transform, truth, x) / apart(Affine.identity(x.shape[1]), truth, x)


@pytest.mark.parametrize(("d", "preset"), [(2, None), *((3, p) for p in (None, *PRESETS))])
def test_every_preset_finds_a_planted_bump_and_its_inverse(preset: str | None, d: int) -> None:
    problem, truth = planted(d)
    result = run(problem, preset)
    assert share_left(result, truth) < 0.3
    x = inner(result.grid)
    assert result.inverse is not None
    assert apart(result.inverse, truth.inverse().transform, x) < 0.35 * apart(Affine.identity(d), truth, x)
    assert float(result.jacobian().data.min()) > 0
    assert result.tables["inverse residual (mm)"] < 0.2


def test_both_controls_find_about_the_same() -> None:
    problem, truth = planted(2)
    x = inner(problem.fixed.grid)
    found = [run(problem, control=control).transform for control in ("force", "div-curl")]
    assert apart(*found, x) < 0.3 * apart(Affine.identity(2), truth, x)
    assert apart(*found, x) > 0


def test_history_has_a_falling_loss_for_every_level() -> None:
    history = run(planted(2)[0], levels=3).history
    assert list(history) == ["level 1", "level 2", "level 3"]
    for losses in history.values():
        assert len(losses) > 1 and losses[-1] < losses[0]


def test_pieces_are_bounded_as_asked() -> None:
    """More and smaller pieces lead there too."""
    problem, truth = planted(2)
    assert share_left(run(problem, smallest_jacobian=0.9, iterations=60), truth) < 0.35


def test_initial_transform_is_part_of_the_answer_and_of_its_inverse() -> None:
    problem, truth = planted(2)
    away = Affine.from_translation([40.0, -60.0])
    grid = problem.moving.grid
    there = replace(problem.moving, grid=Grid(grid.size, grid.spacing, np.add(grid.origin, [40.0, -60.0])))
    result = run(replace(problem, moving=there, initial_transform=away), initialisation="given")
    x = inner(result.grid)
    assert apart(result.transform, run(problem).transform, x) == pytest.approx(np.hypot(40, 60), rel=0.2)
    back = away.inverse().transform
    error = (back.apply(result.transform.apply(x)) - truth.apply(x)).norm(dim=1).mean()
    assert float(error) < 0.3 * apart(Affine.identity(2), truth, x)
    assert result.inverse is not None
    assert float((result.inverse.apply(result.transform.apply(x)) - x).norm(dim=1).mean()) < 0.1


def test_brightness_does_not_matter() -> None:
    """Another scale and offset in the moving scan change nothing; a shading that varies asks for local contrast."""
    problem, truth = planted(2)
    other = replace(problem, moving=problem.moving.with_data(7.0 * problem.moving.data - 3000.0))
    x = inner(problem.fixed.grid)
    assert apart(run(other).transform, run(problem).transform, x) < 0.05
    ramp = torch.linspace(-150, 150, problem.moving.grid.size[0])
    shaded = replace(problem, moving=problem.moving.with_data(problem.moving.data + ramp))
    assert share_left(run(shaded, similarity="lncc"), truth) < 0.3
    assert share_left(run(shaded, similarity="lncc"), truth) < share_left(run(shaded), truth)


def test_bright_outliers_do_not_set_the_scale() -> None:
    problem, truth = planted(2)
    data = problem.moving.data.clone()
    data[0, 2, 2:5] = 1e6
    assert share_left(run(replace(problem, moving=problem.moving.with_data(data))), truth) < 0.3


def test_masks_say_what_counts() -> None:
    """An artefact outside the mask of either scan is not looked at."""
    problem, truth = planted(2)
    mask = torch.zeros_like(problem.fixed.data, dtype=torch.uint8)
    mask[..., :36] = 1
    for side in ("fixed", "moving"):
        image = getattr(problem, side)
        spoilt = image.data.clone()
        spoilt[..., 40:] = 300.0
        spoilt[..., ::9, 40:] = -300.0
        masked = replace(
            problem,
            **{side: image.with_data(spoilt), f"{side}_mask": Image(mask, image.grid, ImageKind.MASK)},
        )
        x = inner(problem.fixed.grid)
        x = x[x[:, 0] < 10.0]
        left = apart(run(masked).transform, truth, x)
        assert left < 0.4 * apart(Affine.identity(2), truth, x)


def test_intensity_window() -> None:
    problem, truth = planted(2)
    assert share_left(run(problem, intensity_minimum=-150.0, intensity_maximum=150.0), truth) < 0.4
    with pytest.raises(InputError, match="150"):
        run(problem, intensity_minimum=150.0, intensity_maximum=-150.0)


def test_deformation_vanishes_beyond_the_margin() -> None:
    problem, _ = planted(2)
    result = run(problem, margin=0.0)
    corners = torch.from_numpy(problem.fixed.grid.corners)
    assert apart(result.transform, Affine.identity(2), corners) < 1e-4
    far = corners * 10
    assert apart(run(problem).transform, Affine.identity(2), far) == 0


def test_coarser_working_spacing_is_quicker_and_still_finds_it() -> None:
    problem, truth = planted(2)
    assert share_left(run(problem, spacing=4.0), truth) < 0.5
