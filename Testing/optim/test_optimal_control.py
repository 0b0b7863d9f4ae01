"""Registration as optimal control on one grid: the gradient, the steps, the bounds, the pieces."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.sampling import sample_displaced
from DeepRegistrationLib.ops.smoothing import gaussian_smooth
from DeepRegistrationLib.optim.control_inverse import inverse_displacement
from DeepRegistrationLib.optim.div_curl_control import Control, DivCurlControl, ForceControl
from DeepRegistrationLib.optim.optimal_control import NewtonSystem, Outcome, Pair, Settings, _Problem, _State, align
from DeepRegistrationLib.transforms.inverse import inverse_residual
from DeepRegistrationLib.transforms.jacobian import determinant

FRAMES = {2: Grid((44, 40), (1.0, 1.3)), 3: Grid((22, 20, 24), (1.0, 1.3, 1.1))}
SETTINGS = Settings(smallest=0.5, detail=1.0, steps=15)
every = pytest.mark.parametrize(("kind", "d"), [(k, d) for k in ("force", "div-curl") for d in (2, 3)])


def make(kind: str, frame: Grid, smallest: float = 0.5) -> Control:
    device = torch.device("cpu")
    if kind == "force":
        return ForceControl(frame.shape, frame.spacing, device)
    return DivCurlControl(frame.shape, frame.spacing, device, smallest)


def noise(frame: Grid, blur: float = 1.5, seed: int = 0) -> torch.Tensor:
    values = torch.randn(1, *frame.shape, generator=torch.Generator().manual_seed(seed))
    values = gaussian_smooth(values, blur)
    return 0.5 + 0.2 * values / values.std()


def bump(frame: Grid, height: float) -> torch.Tensor:
    """A displacement of up to `height` mm along x and less along the other axes, zero at the boundary."""
    window = torch.ones(())
    for n in frame.shape:
        window = window[..., None] * torch.sin(torch.linspace(0, math.pi, n)) ** 2
    return torch.stack([height / (k + 1) * window for k in range(frame.dimension)])


def planted(d: int, height: float = 2.5) -> tuple[Pair, torch.Tensor]:
    frame = FRAMES[d]
    moving = noise(frame)
    truth = bump(frame, height)
    ones = torch.ones_like(moving)
    return Pair(sample_displaced(moving, truth, frame), moving, ones, ones, frame), truth


def nothing(frame: Grid) -> Outcome:
    zero = torch.zeros(frame.dimension, *frame.shape)
    return Outcome(zero, zero.clone())


def solved(kind: str, pair: Pair, settings: Settings = SETTINGS) -> Outcome:
    outcome = nothing(pair.frame)
    align(pair, make(kind, pair.frame, settings.smallest), outcome, settings, inverse_displacement, Progress())
    return outcome


def problem_at(kind: str, d: int, total: torch.Tensor | None = None) -> _Problem:
    pair, _ = planted(d)
    total = nothing(pair.frame).total if total is None else total
    return _Problem(pair, make(kind, pair.frame), total, SETTINGS, None)


def state_at(problem: _Problem, q: torch.Tensor) -> _State:
    force = problem.control.force(q)
    return problem.state(q, force, problem.control.displacement(force))


@every
def test_gradient_of_the_loss_is_that_of_finite_differences(kind: str, d: int) -> None:
    """Through the adjoint Poisson problem, image and cost of the control together, with a total before."""
    problem = problem_at(kind, d, 0.5 * bump(FRAMES[d], 1.0))
    control = problem.control
    g = torch.Generator().manual_seed(3)
    q = control.identity() + 0.01 * torch.randn(control.identity().shape, generator=g)
    state = state_at(problem, q)
    system = NewtonSystem(problem, state)
    direction = -system.precondition(system.gradient)
    direction = direction / control.displacement(control.push(q, direction)).norm(dim=0).max()
    told = float((system.gradient * direction).sum()) / float(state.weight.sum())
    difference = (state_at(problem, q + 0.1 * direction).loss - state_at(problem, q - 0.1 * direction).loss) / 0.2
    # central differences of the image against linear interpolation between its voxels: a few percent
    assert told < 0
    assert difference == pytest.approx(told, rel=0.1)


@every
def test_conjugate_gradients_solve_the_system(kind: str, d: int) -> None:
    problem = problem_at(kind, d)
    q = problem.control.identity()
    system = NewtonSystem(problem, state_at(problem, q))
    step = system.solve(60, lambda: None)
    left = system.product(step) + system.gradient
    assert float((left * system.precondition(left)).sum()) < 0.011 * float(
        (system.gradient * system.precondition(system.gradient)).sum()
    )
    other = torch.randn(q.shape, generator=torch.Generator().manual_seed(1))
    assert float((other * system.product(step)).sum()) == pytest.approx(
        float((step * system.product(other)).sum()), rel=1e-3, abs=1e-6
    )


@every
def test_planted_bump_is_found_with_its_inverse(kind: str, d: int) -> None:
    pair, truth = planted(d)
    outcome = solved(kind, pair)
    assert outcome.losses[-1] < 0.05 * outcome.losses[0]
    # a piece put before the others is sampled anew, which may cost a little
    assert all(b < 1.1 * a for a, b in pairwise(outcome.losses))
    error = (outcome.total - truth).norm(dim=0)
    assert float(error.mean()) < 0.15 * float(truth.norm(dim=0).mean())
    assert inverse_residual(outcome.total, outcome.inverse, pair.frame) < 0.2
    assert float(determinant(outcome.total, pair.frame).min()) > 0


@pytest.mark.parametrize("kind", ["force", "div-curl"])
def test_pieces_are_bounded_and_many_make_a_large_deformation(kind: str) -> None:
    """Each piece keeps its determinant above Jmin = 0.8; the total squeezes more than that, without folding."""
    pair, _ = planted(2, height=6.0)
    pieces: list[torch.Tensor] = []

    def kept(piece: torch.Tensor, frame: Grid) -> torch.Tensor:
        pieces.append(piece)
        return inverse_displacement(piece, frame)

    outcome = nothing(pair.frame)
    settings = Settings(smallest=0.8, detail=1.0, steps=40, elasticity=0.0)
    align(pair, make(kind, pair.frame, 0.8), outcome, settings, kept, Progress())
    least = [float(determinant(p, pair.frame).min()) for p in pieces]
    assert outcome.pieces == len(pieces) > 1
    assert min(least) >= 0.8 - 1e-5
    assert 0 < float(determinant(outcome.total, pair.frame).min()) < 0.8
    assert outcome.losses[-1] < 0.1 * outcome.losses[0]


@pytest.mark.parametrize("kind", ["force", "div-curl"])
def test_smoothness_is_what_it_says(kind: str) -> None:
    pair, _ = planted(2)
    rough, smooth = (
        solved(kind, pair, Settings(smallest=0.5, detail=detail, steps=15)).total for detail in (0.5, 5.0)
    )
    assert float(smooth.diff(n=2, dim=-1).square().mean()) < 0.5 * float(rough.diff(n=2, dim=-1).square().mean())


def test_equal_images_stay() -> None:
    pair, _ = planted(2)
    same = Pair(pair.moving, pair.moving, pair.trust, pair.known, pair.frame)
    assert not bool(solved("div-curl", same).total.any())


def test_what_is_not_known_or_not_trusted_has_no_say() -> None:
    pair, _ = planted(2)
    left = torch.zeros_like(pair.trust)
    left[..., :22] = 1
    spoilt = pair.fixed.clone()
    spoilt[..., 22:] = torch.rand(spoilt[..., 22:].shape, generator=torch.Generator().manual_seed(0))
    spoilt_found = solved("force", Pair(spoilt, pair.moving, left, pair.known, pair.frame))
    found = solved("force", Pair(pair.fixed, pair.moving, left, pair.known, pair.frame))
    assert torch.equal(spoilt_found.total, found.total)
    # the moving scan ends at x = 22: nothing beyond it is looked at
    ended = pair.moving.clone()
    ended[..., 24:] = 9.0
    known = torch.zeros_like(pair.known)
    known[..., :21] = 1
    outcome = solved("force", Pair(pair.fixed, ended, pair.trust, known, pair.frame))
    assert float(outcome.total.abs().max()) < 4.0


def test_cancel_is_heard_and_progress_told() -> None:
    pair, _ = planted(2)
    told: list[float] = []

    class Stop(Progress):
        def update(self, fraction: float, stage: str | None = None) -> None:
            told.append(fraction)
            if len(told) == 5:
                raise Cancelled

    with pytest.raises(Cancelled):
        align(
            pair, make("force", pair.frame), nothing(pair.frame), SETTINGS, inverse_displacement, Stop()
        )
    assert told == sorted(told)
