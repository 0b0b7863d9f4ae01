"""Every way to start, on a phantom of known placement; and what can go wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.methods.initialisation import INITIALISATIONS, prealign
from DeepRegistrationLib.optim.linear_landmarks import fit_points
from DeepRegistrationLib.transforms import Affine


def turn(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def grid(size: tuple[int, ...], spacing: float) -> Grid:
    return Grid(size, (spacing,) * 3, [-(n - 1) * spacing / 2 for n in size])


@pytest.fixture(scope="module")
def far() -> phantoms.PhantomCase:
    """Two heads of one person 60 mm apart and turned by 12 degrees."""
    return phantoms.brain(
        grid((44, 52, 46), 5.0),
        grid((52, 56, 50), 5.0),
        motion_mm=0.0,
        placement=Affine.about((0, 0, 0), turn(12), (30, -35, 40)),
    )


def context() -> Context:
    return Context(torch.device("cpu"))


@pytest.mark.parametrize("how", ["rigid", "affine"])
def test_automatic_starts_find_a_head_far_away(far: phantoms.PhantomCase, how: str) -> None:
    found = prealign(far.problem, how, context())
    assert found is not None
    assert far.errors(Affine.identity(3)).mean() > 40
    assert far.errors(found).mean() < 2.0


@pytest.mark.parametrize("how", ["centres", "moments", "affine"])
def test_a_card_starts_from_the_same_place(how: str, card: torch.device) -> None:
    """Few voxels: what is done on a card does not depend on how many there are."""
    case = phantoms.brain(grid((26, 30, 26), 8.0), grid((28, 30, 27), 8.0), motion_mm=4.0)
    here, there = (prealign(case.problem, how, Context(device)) for device in (torch.device("cpu"), card))
    assert here is not None and there is not None
    x = case.body_points(200)
    assert float((here.apply(x) - there.to("cpu").apply(x)).norm(dim=1).max()) < 0.1


def test_the_global_start_finds_a_head_upside_down(far: phantoms.PhantomCase) -> None:
    over = Affine.about((0, 0, 0), np.diag([1.0, -1.0, -1.0]) @ turn(40), (10, 20, -15))
    head = grid((44, 52, 46), 5.0)
    known = phantoms.brain(head, head, motion_mm=0.0, contrast=("T1", "T2"), placement=over)
    bare = replace(known.problem, fixed_mask=None, moving_mask=None)
    found = prealign(bare, "global", context())
    assert found is not None
    assert known.errors(Affine.identity(3)).mean() > 80
    assert known.errors(found).mean() < 2.0


@pytest.mark.parametrize("how", ["centres", "moments"])
def test_coarse_starts_come_near(far: phantoms.PhantomCase, how: str) -> None:
    found = prealign(far.problem, how, context())
    assert found is not None
    assert far.errors(found).mean() < 25


@pytest.fixture(scope="module")
def belly() -> phantoms.PhantomCase:
    """Masks of all of the anatomy: what is bright in them are bones."""
    return phantoms.abdomen(grid((85, 75, 60), 4.0), grid((85, 75, 60), 4.1), seed=0, motion_mm=20.0)


@pytest.mark.parametrize("masks", ["both", "fixed", "moving", "none"])
@pytest.mark.parametrize("how", ["centres", "moments"])
def test_coarse_starts_come_near_whatever_masks_there_are(
    belly: phantoms.PhantomCase, how: str, masks: str
) -> None:
    kept = ("fixed", "moving") if masks == "both" else (masks,)
    problem = belly.problem
    problem = replace(
        problem,
        fixed_mask=problem.fixed_mask if "fixed" in kept else None,
        moving_mask=problem.moving_mask if "moving" in kept else None,
    )
    found = prealign(problem, how, context())
    assert found is not None
    assert belly.errors(found).mean() < 25


def test_none_and_given(far: phantoms.PhantomCase) -> None:
    assert prealign(far.problem, "none", context()) is None
    given = Affine.from_translation((1, 2, 3))
    assert prealign(replace(far.problem, initial_transform=given), "given", context()) is given
    with pytest.raises(InputError, match="initial transform"):
        prealign(replace(far.problem, initial_transform=None), "given", context())
    with pytest.raises(InputError, match="sideways"):
        prealign(far.problem, "sideways", context())


def test_landmarks(far: phantoms.PhantomCase) -> None:
    found = prealign(far.problem, "landmarks", context())
    assert found is not None
    assert far.errors(found).mean() < 1e-3
    with pytest.raises(InputError, match="moving"):
        prealign(replace(far.problem, moving_landmarks=None), "landmarks", context())
    with pytest.raises(InputError, match="2 fixed"):
        two = PointSet(torch.zeros(2, 3))
        prealign(replace(far.problem, fixed_landmarks=two), "landmarks", context())


def test_a_start_that_already_fits_is_kept(far: phantoms.PhantomCase) -> None:
    same = replace(far.problem, moving=far.problem.fixed, fixed_mask=None, moving_mask=None)
    for how in ("rigid", "affine"):
        found = prealign(same, how, context())
        assert found is not None
        assert np.array_equal(found.homogeneous, np.eye(4))


def test_affine_does_not_stretch_without_a_clear_gain(far: phantoms.PhantomCase) -> None:
    found = prealign(far.problem, "affine", context())
    assert found is not None
    stretch = np.linalg.svd(found.homogeneous[:3, :3])[1]
    assert np.allclose(stretch, 1.0, atol=1e-6)


def test_scans_that_never_match_get_their_centres_on_each_other(far: phantoms.PhantomCase) -> None:
    flat = far.problem.moving.with_data(torch.zeros_like(far.problem.moving.data))
    ctx = context()
    found = prealign(replace(far.problem, moving=flat, moving_mask=None), "rigid", ctx, "ngf")
    assert found is not None
    assert torch.isfinite(torch.as_tensor(found.homogeneous)).all()
    assert any("no position where the scans match" in message for message in ctx.messages)


def test_a_ct_beside_another_kind_is_compared_by_mutual_information(far: phantoms.PhantomCase) -> None:
    from DeepRegistrationLib.methods.initialisation import automatic_similarity

    air = torch.full_like(far.problem.moving.data.float(), -1000.0)
    ct = far.problem.moving.with_data(air)
    mr = far.problem.fixed.with_data(far.problem.fixed.data.float().abs())
    assert automatic_similarity(replace(far.problem, fixed=mr, moving=ct)) == "mi"
    assert automatic_similarity(replace(far.problem, fixed=ct, moving=ct)) == "ngf"


def test_points_decide_what_is_fitted() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 3)) * 30
    matrix = np.array([[1.1, 0.1, 0.0], [0.0, 0.9, 0.05], [0.02, 0.0, 1.0]])
    assert np.allclose(fit_points(points, points @ matrix.T + 5).matrix.numpy(), matrix, atol=1e-9)
    few = points[:4]
    rigid = fit_points(few, few @ turn(40).T + [1, 2, 3])
    assert np.allclose(rigid.matrix.numpy(), turn(40), atol=1e-9)
    assert np.allclose(fit_points(few[:1], few[:1] + np.array([4, 5, 6])).homogeneous[:3, 3], (4, 5, 6))
    mirrored = fit_points(few, few * [1, 1, -1])
    assert np.linalg.det(mirrored.matrix.numpy()) == pytest.approx(1.0)


def test_the_list_of_starts_needs_no_torch() -> None:
    code = (
        "import sys; from DeepRegistrationLib.methods.initialisation import INITIALISATIONS; "
        "import DeepRegistrationLib.methods.rigid.ngf_affine; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"none", "centres", "moments", "rigid", "affine", "global", "landmarks", "given"} == set(
        INITIALISATIONS.titles
    )
