"""The objective against its formula, its gradient against finite differences, and what optimising it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.ops.splines import knot_count
from DeepRegistrationLib.optim.instance import (
    FeatureTerm,
    LandmarkTerm,
    Level,
    displacement_of,
    optimise,
    strain_energy,
)
from DeepRegistrationLib.optim.parametric import SplineField

KNOTS = 4.0
SHAPES = {2: (24, 28), 3: (16, 18, 20)}


def zero(shape: tuple[int, ...], knots: float = KNOTS) -> SplineField:
    return SplineField(shape, knots, torch.zeros(len(shape), *[knot_count(n, knots) for n in shape]))


def random(spline: SplineField, size: float, seed: int = 0) -> SplineField:
    noise = torch.randn(spline.coefficients.shape, generator=torch.Generator().manual_seed(seed))
    return SplineField(spline.shape, spline.knots, size * noise)


def pattern(points: torch.Tensor) -> torch.Tensor:
    """Three smooth features (3, ...) at points (..., d)."""
    d = points.shape[-1]
    waves = torch.tensor([[0.5, 0.2, 0.3], [-0.3, 0.55, 0.1], [0.15, -0.3, 0.5]])[:, :d]
    return torch.stack([torch.sin(points @ w + k) for k, w in enumerate(waves)])


def voxels(shape: tuple[int, ...]) -> torch.Tensor:
    """([Z,] Y, X, d), components x, y[, z]."""
    return torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij")[::-1], dim=-1)


def planted(shape: tuple[int, ...], every: int = 1) -> tuple[FeatureTerm, torch.Tensor]:
    """fixed(x) = moving(x + u(x)) for a smooth u (..., d) of up to two voxels."""
    x = voxels(shape)
    d = len(shape)
    middle = torch.tensor(shape[::-1]) / 2
    bump = torch.exp(-((x - middle) ** 2).sum(dim=-1, keepdim=True) / 50)
    u = bump * torch.tensor([2.0, -1.5, 1.0])[:d]
    ones = torch.ones(shape)
    return FeatureTerm(pattern(x + u), pattern(x), ones, ones, 1, 1.0, every), u


def level(term: FeatureTerm | None, iterations: int = 1, **changes: object) -> Level:
    made = Level([] if term is None else [term], KNOTS, iterations, 0.3, 0.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def objective(spline: SplineField, terms: Level) -> float:
    return optimise(spline, replace(terms, iterations=1), 0, lambda f: None)[1][0]


@pytest.mark.parametrize("d", [2, 3])
def test_objective_at_rest_is_the_weighted_mean_of_squared_differences(d: int) -> None:
    shape = SHAPES[d]
    g = torch.Generator().manual_seed(1)
    fixed, moving = torch.randn(2, 3, *shape, generator=g)
    trust, known = torch.rand(2, *shape, generator=g)
    term = FeatureTerm(fixed, moving, trust, known, 1, 2.5, 1)
    weight = trust.clone()
    for axis, n in enumerate(shape):  # beyond the border nothing is known
        weight.narrow(axis, 0, 1).zero_()
        weight.narrow(axis, n - 1, 1).zero_()
    weight = weight * known
    expected = 2.5 * ((fixed - moving).square().sum(dim=0) * weight).sum() / weight.sum()
    assert objective(zero(shape), level(term)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("shift", [(2, -1), (1, 0, -2)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_objective_looks_at_moving_where_the_displacement_leads(shift: tuple[int, ...], stride: int) -> None:
    """A shift by whole cells of features `stride` voxels apart brings the two into register."""
    d = len(shift)
    cells = SHAPES[d]
    g = torch.Generator().manual_seed(2)
    moving = torch.randn(2, *cells, generator=g)
    fixed = torch.roll(moving, [-s for s in shift[::-1]], dims=tuple(range(1, d + 1)))
    trust = torch.zeros(cells)
    trust[(slice(4, -4),) * d] = 1  # away from what was rolled around
    shape = tuple(n * stride for n in cells)
    term = FeatureTerm(fixed, moving, trust, torch.ones(cells), stride, 1.0, 1)
    spline = zero(shape)
    assert objective(spline, level(term)) > 1
    spline.coefficients += torch.tensor(shift).reshape(-1, *[1] * d) * stride
    assert objective(spline, level(term)) < 1e-4


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_cells_stand_for_the_middle_of_their_voxels(stride: int) -> None:
    """A stretch by a tenth of x moves cell i, whose middle is at voxel c, by 0.1 c."""
    i = torch.arange(20.0).expand(1, 12, 20)
    fixed = i + 0.1 * (i * stride + (stride - 1) / 2) / stride
    trust = torch.zeros(12, 20)
    trust[2:-2, 2:14] = 1
    shape = (12 * stride, 20 * stride)
    spline = zero(shape)
    knots = (torch.arange(spline.coefficients.shape[-1]) - 1) * KNOTS
    spline.coefficients[0] = 0.1 * knots
    term = FeatureTerm(fixed, i.contiguous(), trust, torch.ones(12, 20), stride, 1.0, 1)
    assert objective(spline, level(term)) < 1e-6


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_objective_is_the_sum_of_its_parts(diffeomorphic: bool) -> None:
    shape = SHAPES[2]
    term, _ = planted(shape)
    spline = random(zero(shape), 0.5)
    p = torch.tensor([[5.0, 6.0], [20.0, 11.5]])
    q = torch.tensor([[6.0, 6.0], [18.0, 10.0]])
    u = displacement_of(spline, diffeomorphic).points(p)
    marks = 0.7 * float((p + u - q).square().sum(dim=1).mean())
    strain = 0.2 * float(strain_energy(spline.coefficients, KNOTS))
    match = objective(spline, level(term, diffeomorphic=diffeomorphic))
    whole = level(term, diffeomorphic=diffeomorphic, smoothness=0.2, landmarks=LandmarkTerm(p, q, 0.7))
    assert objective(spline, whole) == pytest.approx(match + marks + strain, rel=1e-5)
    assert min(match, marks, strain) > 0.01


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_first_step_goes_down_along_every_coefficient_that_counts(diffeomorphic: bool) -> None:
    """Adam's first step is the sign of the gradient: compared with central differences of the objective."""
    shape = (12, 13)
    term, _ = planted(shape)
    trust = torch.zeros(shape)
    trust[3:-3, 3:-3] = 1  # the border's own weight is not differentiated
    terms = level(
        replace(term, trust=trust), diffeomorphic=diffeomorphic, smoothness=0.3, step=0.1,
        landmarks=LandmarkTerm(torch.tensor([[6.0, 6.0]]), torch.tensor([[7.0, 5.0]]), 0.1),
    )  # fmt: skip
    start = random(zero(shape), 0.4)
    step = optimise(start, terms, 0, lambda f: None)[0].coefficients - start.coefficients
    slopes = torch.empty_like(step)
    h = 0.02
    for k in range(step.numel()):
        around = []
        for sign in (1, -1):
            moved = start.coefficients.clone()
            moved.view(-1)[k] += sign * h
            around.append(objective(SplineField(shape, KNOTS, moved), terms))
        slopes.view(-1)[k] = (around[0] - around[1]) / (2 * h)
    clear = slopes.abs() > 0.05 * slopes.abs().max()
    assert int(clear.sum()) > 20
    assert torch.equal(torch.sign(step[clear]), -torch.sign(slopes[clear]))
    assert torch.allclose(step[clear].abs(), torch.full_like(step[clear], 0.1), rtol=1e-3)


@pytest.mark.parametrize("d", [2, 3])
def test_strain_of_a_linear_displacement_is_the_squared_norm_of_its_matrix(d: int) -> None:
    a = torch.from_numpy(np.arange(1.0, d * d + 1).reshape(d, d) / 10).float()
    knots = voxels((5, 6, 7)[:d]) * 2.5
    coefficients = torch.movedim(knots @ a.T + 3.0, -1, 0)
    assert float(strain_energy(coefficients, 2.5)) == pytest.approx(float(a.square().sum()), rel=1e-4)


@pytest.mark.parametrize("diffeomorphic", [False, True])
@pytest.mark.parametrize(("d", "every"), [(2, 1), (2, 2), (3, 2)])
def test_a_planted_warp_is_found(d: int, every: int, diffeomorphic: bool) -> None:
    shape = SHAPES[d]
    term, truth = planted(shape, every)
    settings = level(term, iterations=60, smoothness=0.002, diffeomorphic=diffeomorphic)
    spline, history = optimise(zero(shape), settings, 0, lambda f: None)
    assert len(history) == 60
    assert np.mean(history[-8:]) < 0.05 * np.mean(history[:8])
    assert objective(spline, replace(level(term), terms=[replace(term, every=1)], diffeomorphic=diffeomorphic)) < 0.02
    u = displacement_of(spline, diffeomorphic).lattice([torch.arange(float(n)) for n in shape])
    error = (torch.movedim(u, 0, -1) - truth).norm(dim=-1)[(slice(3, -3),) * d]
    assert float(error.mean()) < 0.2 * float(truth.norm(dim=-1)[(slice(3, -3),) * d].mean())


def test_smoothness_holds_the_displacement_back() -> None:
    term, _ = planted(SHAPES[2])
    soft, stiff = (
        optimise(zero(SHAPES[2]), level(term, iterations=40, smoothness=s), 0, lambda f: None)[0].coefficients
        for s in (0.01, 30.0)
    )
    assert float(strain_energy(stiff, KNOTS)) < 0.1 * float(strain_energy(soft, KNOTS))


def test_start_is_left_as_it_was_and_no_step_is_no_change() -> None:
    start = random(zero(SHAPES[2]), 0.5)
    before = start.coefficients.clone()
    term, _ = planted(SHAPES[2])
    moved = optimise(start, level(term, iterations=3), 0, lambda f: None)[0]
    assert torch.equal(start.coefficients, before)
    assert not torch.equal(moved.coefficients, before)
    assert not moved.coefficients.requires_grad
    unmoved, history = optimise(start, level(term, iterations=0), 0, lambda f: None)
    assert torch.equal(unmoved.coefficients, before) and history == []


def test_same_seed_same_answer() -> None:
    term, _ = planted(SHAPES[2], every=2)
    found = [
        optimise(zero(SHAPES[2]), level(term, iterations=6), seed, lambda f: None)[0].coefficients for seed in (5, 5, 6)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_where_it_settles_it_comes_nearer_to_what_all_voxels_say() -> None:
    term, _ = planted(SHAPES[2], every=4)
    noise = torch.randn(term.fixed.shape, generator=torch.Generator().manual_seed(7))
    term = replace(term, fixed=term.fixed + 0.2 * noise)
    several = level(term, iterations=150, smoothness=0.3, step=1.0)
    whole = level(replace(term, every=1), iterations=1000, smoothness=0.3, step=0.2, settles=True)

    def found(settings: Level, seed: int) -> torch.Tensor:
        return optimise(zero(SHAPES[2]), settings, seed, lambda f: None)[0].coefficients

    def off(settles: bool) -> float:
        return float(np.mean([(found(replace(several, settles=settles), s) - best).abs().mean() for s in range(3)]))

    best = found(whole, 0)
    assert off(settles=True) < 0.6 * off(settles=False)


def test_sub_lattices_together_are_the_whole() -> None:
    """The mean over one round of sub-lattices is the objective of all voxels, where all weigh the same."""
    shape = (26, 30)  # 24 x 28 known cells: every sub-lattice of 2 x 2 has as many of them
    term, _ = planted(shape, every=2)
    rounds = optimise(zero(shape), level(term, iterations=4, step=0.0), 3, lambda f: None)[1]
    assert np.mean(rounds) == pytest.approx(objective(zero(shape), level(replace(term, every=1))), rel=1e-4)
    assert np.std(rounds) > 0


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_landmarks_pull_where_there_is_nothing_to_see(diffeomorphic: bool) -> None:
    shape = SHAPES[3]
    p = torch.tensor([[5.0, 6.0, 7.0], [14.0, 10.0, 4.0], [9.0, 13.0, 11.0]])
    q = p + torch.tensor([[1.5, 0.0, -1.0], [-1.0, 2.0, 0.5], [0.0, -1.0, 1.0]])
    flat = torch.ones(1, *shape)
    term = FeatureTerm(flat, flat, flat[0], flat[0], 1, 1.0, 2)
    settings = level(
        term, iterations=60, smoothness=0.01, landmarks=LandmarkTerm(p, q, 1.0), diffeomorphic=diffeomorphic
    )
    spline, _ = optimise(zero(shape), settings, 0, lambda f: None)
    there = p + displacement_of(spline, diffeomorphic).points(p)
    assert float((there - q).norm(dim=1).max()) < 0.2


def test_unknown_and_untrusted_ground_has_no_influence() -> None:
    shape = SHAPES[2]
    term, _ = planted(shape)
    known, trust = torch.ones(shape), torch.ones(shape)
    known[:, 16:] = 0
    trust[:6] = 0
    found = []
    for garbage in (0.0, 50.0):
        fixed, moving = term.fixed.clone(), term.moving.clone()
        fixed[:, :6] += garbage
        moving[..., 20:] += garbage  # the ground between known and garbage is never sampled with weight
        changed = replace(term, fixed=fixed, moving=moving, known=known, trust=trust)
        found.append(optimise(zero(shape), level(changed, iterations=15, smoothness=0.1), 0, lambda f: None))
    assert torch.equal(found[0][0].coefficients, found[1][0].coefficients)
    assert found[0][1][-1] < found[0][1][0]


@pytest.mark.parametrize("shape", [(3, 20, 20), (1, 20, 20), (4, 4, 4), (2, 30)])
def test_axes_shorter_than_the_step_between_looked_at_cells(shape: tuple[int, ...]) -> None:
    term, _ = planted(shape, every=4)
    spline, history = optimise(zero(shape), level(term, iterations=70), 0, lambda f: None)
    assert bool(torch.isfinite(spline.coefficients).all())
    assert all(np.isfinite(history)) and len(history) == 70


def test_cancel_is_let_through_and_progress_runs_from_zero() -> None:
    heard: list[float] = []

    def report(fraction: float) -> None:
        heard.append(fraction)
        if len(heard) == 3:
            raise Cancelled()

    term, _ = planted(SHAPES[2])
    with pytest.raises(Cancelled):
        optimise(zero(SHAPES[2]), level(term, iterations=10), 0, report)
    assert heard == pytest.approx([0.0, 0.1, 0.2])
