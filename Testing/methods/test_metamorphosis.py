"""What metamorphosis makes of lesions, kinds and settings, on small discs: a ring that a spot grows into."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.methods.deformable.metamorphosis import SPEC
from DeepRegistrationLib.optim.evolving_mask import balls, evolving_mask

TURN = [[0.8, 0.6], [0.6, -0.8]]  # left-handed
GRID = Grid((40, 44), (2.0, 1.8), (30.0, -50.0), TURN)
NAMES = {3: "Tumour"}


def disc(radius: float, edge: float = 2.0) -> torch.Tensor:
    r = (GRID.world_points(dtype=torch.float64) - torch.from_numpy(GRID.centre)).norm(dim=-1)
    return ((radius - r) / edge + 0.5).clamp(0, 1).to(torch.float32)


def scan(spot: bool) -> Image:
    """A bright disc of 26 mm with a darker core; the spot inside has grown from nothing and pushed the core."""
    values = 100 * disc(26) - 40 * disc(12.0 if spot else 9.0)
    return Image((values + 90 * disc(6.0) if spot else values)[None], GRID)


def spot(names: dict[int, str] = NAMES) -> Image:
    return Image((3 * (disc(6.0) > 0.5)).to(torch.uint8)[None], GRID, ImageKind.LABELS, names)


def run(problem: RegistrationProblem, context: Context | None = None, **values: object) -> RegistrationResult:
    small = {"initialisation": "none", "kernel_width": 8.0, "spacing": 3.0, "iterations": 8, "levels": 1}
    parameters = SPEC.make_parameters(None, {**small, **values})
    return SPEC.run(problem, parameters, context or Context(torch.device("cpu")))


def problem(side: str = "fixed") -> RegistrationProblem:
    grown, healthy = scan(True), scan(False)
    if side == "fixed":
        return RegistrationProblem(grown, healthy, fixed_segmentation=spot())
    return RegistrationProblem(healthy, grown, moving_segmentation=spot())


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_new_tissue_is_told_from_deformation(side: str) -> None:
    p = problem(side)
    result = run(p)
    change, final = result.maps["intensity_change"], result.maps["metamorphosed"]
    assert torch.allclose(final.data, result.moved().data + change.data, atol=1e-3)
    inside, outside = disc(6.0) > 0.9, disc(15.0) < 0.1
    most = float(change.data[0][inside].max() if side == "fixed" else -change.data[0][inside].min())
    assert most > 20
    assert float(change.data[0][outside].abs().max()) < 0.1 * most
    error = float((final.data - p.fixed.data).abs().mean())
    assert error < 0.6 * float((p.moving.data - p.fixed.data).abs().mean())
    start, end = (float(m.data.sum()) for m in (result.series["mask"][0], result.series["mask"][-1]))
    assert end > 2 * start if side == "fixed" else start > 2 * end
    assert torch.allclose(result.series["mask"][-1].data, result.maps["mask_end"].data)


def test_pictures_go_from_the_moving_scan_to_the_result() -> None:
    p = problem()
    result = run(p, pictures=4)
    film = result.series["metamorphosis"]
    assert len(film) == 4 == len(result.series["mask"])
    assert torch.allclose(film[0].data, p.moving.data, atol=1e-3)
    assert torch.allclose(film[-1].data, result.maps["metamorphosed"].data, atol=1e-3)
    assert all(f.grid.same_as(GRID) for f in film)
    assert not run(p, pictures=0, iterations=1).series


def test_kinds() -> None:
    lddmm = run(problem(), kind="lddmm")
    assert not lddmm.maps and set(lddmm.series) == {"metamorphosis"}
    assert lddmm.tables["energy of the intensity change"] == 0 < lddmm.tables["energy of the deformation"]
    anywhere = run(problem(), kind="metamorphosis")
    assert set(anywhere.maps) == {"intensity_change", "metamorphosed"}
    constant = run(problem(), mask="constant")
    assert "mask_end" in constant.maps and "mask" not in constant.series
    none = run(problem(), mu=0.0)
    assert not none.maps


def test_without_a_lesion_it_deforms_only_and_says_so() -> None:
    p = problem()
    plain = RegistrationProblem(p.fixed, p.moving, fixed_segmentation=spot({3: "Ventricle"}))
    context = Context(torch.device("cpu"))
    result = run(plain, context)
    assert not result.maps and len(context.messages) == 1 and "lesion" in context.messages[0]
    assert run(plain, lesion_label=3).maps


def test_inverse_undoes_the_transform_and_reports_how_well() -> None:
    result = run(problem())
    assert result.inverse is not None
    x = torch.from_numpy(np.random.default_rng(0).uniform(-20, 20, (200, 2)) + GRID.centre)
    back = (result.inverse.apply(result.transform.apply(x)) - x).norm(dim=1)
    moved = (result.transform.apply(x) - x).norm(dim=1)
    assert float(moved.max()) > 1.0 and float(back.max()) < 0.3
    assert 0 < result.tables["inverse residual (mm)"] < 0.5


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="must be below"):
        run(problem(), intensity_minimum=5.0, intensity_maximum=1.0)
    with pytest.raises(InputError, match="moving mask"):
        run(problem(), lesion="moving-mask")


def test_masks_start_as_a_ball_in_every_part_and_end_as_the_lesion() -> None:
    grid = Grid((40, 30), (1.5, 2.0))
    lesion = torch.zeros(grid.shape)
    lesion[5:13, 4:12] = 1
    lesion[18:26, 25:36] = 1
    small = balls(lesion, grid)
    assert float(small[5:13, 4:12].max()) > 0.3 and float(small[18:26, 25:36].max()) > 0.3
    assert float(small.sum()) < 0.3 * float(lesion.sum()) and float((small * (1 - lesion)).max()) < 0.1
    course = evolving_mask((lesion, None), grid, 6, Progress())
    first, last = course.on(grid)[0], course.on(grid)[-1]
    assert len(course.masks) == 7
    assert float(((last > 0.5) != (lesion > 0.5)).sum()) < 0.12 * float(lesion.sum())
    sizes = [float(m.sum()) for m in course.masks]
    assert sizes[0] < 0.35 * sizes[-1] and all(b > 0.97 * a for a, b in pairwise(sizes))
    assert float(first.max()) <= 1 and float(last.min()) >= 0
