"""Registration as optimal control: the Laplacian (or divergence and curl) of the deformation steers it.

    Loss(q) = 1/2 mean_x w |M(phi(x)) - I(x)|^2 + alpha/2 mean_x |F|^2,     phi = id + u,   Laplacian u = F(q)

M and I are the moving and the fixed image, w is 1 where both are known, u = 0 on the boundary, and the `Control` q
makes F. With b the solution of the adjoint problem  Laplacian b = r = w sum_c (M_c - I_c) grad M_c  the gradient with
respect to F is b + alpha F. A Newton step solves, by conjugate gradients in the control,

    pull (Laplacian^-1 K Laplacian^-1 + alpha) push  step = -pull (b + alpha F),
    K = w sum_c grad M_c grad M_c^T + w |M - I|^2 / h^2

A step is shortened until the loss falls and the smallest Jacobian determinant of phi stays above Jmin. A piece that has
come to this bound, or to rest, is composed with what was found before and the next starts at the identity (regridding
by composition):

    total <- total o phi

so that a total is made of pieces with determinants above Jmin; totals are looked at as well, and a piece that would
make one fold on its grid is shortened. The cost counts F of the total so far, `elasticity` times, beside that of the
piece: without it every piece starts free of cost, as a fluid forgets its shape.

Zhou, Liao: Recent developments of an optimal control approach to nonrigid image registration, WBIR 2022, in
doi:10.1007/978-3-031-11203-4. Differs from the paper: Gauss-Newton steps, where K leaves out the second derivatives of
the image, which keeps the Hessian of its equation 3 positive, and has a diagonal that damps large residuals, instead of
plain gradient steps; the cost of F, with alpha in proportion to the mean of grad M^2 (`detail`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..core.grid import Grid
from ..core.progress import Progress, Tick
from ..core.sampling import sample_displaced
from ..ops.gradients import spatial_gradient
from ..transforms.jacobian import determinant
from .div_curl_control import Control

#: conjugate gradients end at this share of the first residual
_SOLVED = 0.1
#: a step changes no position by more than this many voxels
_REACH = 2.0
#: shortest step that is tried, as a share of the whole
_SHORTEST = 0.05
#: totals keep their determinants above this
_LEAST_TOTAL = 0.02


@dataclass(frozen=True)
class Pair:
    """Two images on one grid: fixed, moving (C, [Z,] Y, X); trust, known (1, [Z,] Y, X) where they mean something.

    frame  the grid with axes along x, y[, z]: displacements are in mm along the index axes
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    trust: torch.Tensor
    known: torch.Tensor
    frame: Grid


@dataclass(frozen=True)
class Settings:
    """smallest   Jmin, the determinant pieces keep
    detail     finest detail of the deformation, voxels: sets alpha
    elasticity share of the F of the total that the cost counts besides that of the piece, 0..1
    steps      Newton steps at most
    solves     steps of conjugate gradients in each
    tolerance  a piece rests where a step lowers the loss by less than this share
    """

    smallest: float
    detail: float
    steps: int
    elasticity: float = 1.0
    solves: int = 12
    tolerance: float = 0.01


@dataclass
class Outcome:
    """total, inverse (d, [Z,] Y, X) mm along the index axes; pieces and losses (without the control's cost) so far."""

    total: torch.Tensor
    inverse: torch.Tensor
    pieces: int = 0
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """A control and what follows from it; loss is all of it, data_loss that of the images."""

    q: torch.Tensor
    u: torch.Tensor
    residual: torch.Tensor
    weight: torch.Tensor
    force: torch.Tensor
    data_loss: float
    loss: float


def align(
    pair: Pair,
    control: Control,
    outcome: Outcome,
    settings: Settings,
    invert: Callable[[torch.Tensor, Grid], torch.Tensor],
    progress: Progress,
) -> None:
    """Lower the loss at one grid, from `outcome` on, which is changed.

    invert  (displacement, frame) -> displacement of the inverse, for pieces
    """
    done, alpha = 0, None
    while done < settings.steps:
        problem = _Problem(pair, control, outcome.total, settings, alpha)
        alpha = problem.alpha
        state, taken, at_rest = _piece(problem, progress, done, outcome.losses)
        done += taken
        progress.tick()
        if state is None or not _compose(outcome, state.u, pair.frame, invert) or (at_rest and taken == 1):
            break
    progress.update(1.0)


class _Problem:
    """What one piece is to make better: moving o total with its gradient, to be sampled at small displacements."""

    def __init__(
        self, pair: Pair, control: Control, total: torch.Tensor, settings: Settings, alpha: float | None
    ) -> None:
        self.pair, self.control, self.settings = pair, control, settings
        self.channels = pair.fixed.shape[0]
        self.values = sample_displaced(torch.cat([pair.moving, pair.known]), total, pair.frame)
        slopes = spatial_gradient(self.values[: self.channels], pair.frame.spacing)
        # (C d, ...) with the d derivatives of a channel side by side
        self.slopes = slopes.transpose(0, 1).reshape(-1, *self.values.shape[1:])
        self.spent = settings.elasticity * control.force_of(total) if settings.elasticity > 0 else 0.0
        if alpha is None:
            weight = self.values[self.channels :] * pair.trust
            energy = float((self.slopes.square() * weight).sum() / weight.sum().clamp(min=1e-6)) / control.d
            alpha = energy * (settings.detail * mean_spacing(pair.frame)) ** 4
        self.alpha = alpha

    def state(self, q: torch.Tensor, force: torch.Tensor, u: torch.Tensor) -> _State:
        sampled = self._at(self.values, u)
        residual = sampled[: self.channels] - self.pair.fixed
        weight = sampled[self.channels :] * self.pair.trust
        force = force + self.spent
        counted = max(float(weight.sum()), 1e-6)
        data_loss = 0.5 * float((residual.square() * weight).sum()) / counted
        loss = data_loss + 0.5 * self.alpha * float(force.square().sum()) / counted
        return _State(q, u, residual, weight, force, data_loss, loss)

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """grad M at phi, (C, d, [Z,] Y, X)."""
        return self._at(self.slopes, u).reshape(self.channels, -1, *self.slopes.shape[1:])

    def _at(self, values: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return sample_displaced(values, u, self.pair.frame) if bool(u.any()) else values


def mean_spacing(frame: Grid) -> float:
    """mm, the geometric mean over the axes."""
    return frame.voxel_volume ** (1 / frame.dimension)


def _piece(
    problem: _Problem, progress: Progress, done: int, losses: list[float]
) -> tuple[_State | None, int, bool]:
    """(the end of one piece, or None where no step helps; Newton steps taken; whether it came to rest)."""
    settings, control = problem.settings, problem.control
    q = control.identity()
    progress.tick()
    start = problem.state(q, control.force(q), torch.zeros_like(problem.slopes[: control.d]))
    if not losses:
        losses.append(start.data_loss)
    state, taken = start, 0
    while done + taken < settings.steps:
        share = (done + taken) / settings.steps
        progress.update(share)
        step = NewtonSystem(problem, state).solve(settings.solves, lambda: progress.update(share))  # noqa: B023
        taken += 1
        found, bounded = _shortened(problem, state, step, progress.tick)
        if found is None:
            return (None if state is start else state), taken, True
        gain, state = state.loss - found.loss, found
        losses.append(state.data_loss)
        if gain < settings.tolerance * state.data_loss:
            return state, taken, True
        if bounded:
            break
    return state, taken, False


class NewtonSystem:
    """The linear system of a Newton step at a state: for its sum over voxels, where the loss has their mean."""

    def __init__(self, problem: _Problem, state: _State) -> None:
        self.control, self.state, self.alpha = problem.control, state, problem.alpha
        self.slope = problem.slope(state.u)
        h = mean_spacing(problem.pair.frame)
        self.damping = state.weight * state.residual.square().sum(dim=0, keepdim=True) / h**2
        energy = (self.slope.square().sum(dim=(0, 1)) * state.weight[0]).sum() / self.control.d + self.damping.sum()
        # the mean over all voxels: what the preconditioner takes for K
        self.stiffness = float(energy) / state.weight[0].numel()
        slope = (self.slope * state.residual[:, None]).sum(dim=0) * state.weight
        self.gradient = self.control.pull(state.q, self.control.adjoint(slope) + self.alpha * state.force)

    def product(self, change: torch.Tensor) -> torch.Tensor:
        force = self.control.push(self.state.q, change)
        u = self.control.displacement(force)
        along = (self.slope * u).sum(dim=1, keepdim=True)
        slope = (self.slope * along).sum(dim=0) * self.state.weight + self.damping * u
        return self.control.pull(self.state.q, self.control.adjoint(slope) + self.alpha * force)

    def precondition(self, gradient: torch.Tensor) -> torch.Tensor:
        return self.control.precondition(self.state.q, gradient, self.stiffness, self.alpha)

    def solve(self, steps: int, report: Callable[[], None]) -> torch.Tensor:
        """The change of q by preconditioned conjugate gradients from 0."""
        residual = -self.gradient
        z = self.precondition(residual)
        direction, change = z, torch.zeros_like(residual)
        energy = first = float((residual * z).sum())
        for _ in range(steps):
            report()
            if energy <= _SOLVED**2 * first or energy <= 0:
                break
            product = self.product(direction)
            report()
            length = energy / float((direction * product).sum())
            change = change + length * direction
            residual = residual - length * product
            z = self.precondition(residual)
            energy, before = float((residual * z).sum()), energy
            direction = z + (energy / before) * direction
        return change


def _shortened(problem: _Problem, state: _State, step: torch.Tensor, tick: Tick) -> tuple[_State | None, bool]:
    """(the state after the longest of some ever shorter steps that lowers the loss, whether Jmin shortened it)."""
    frame, control = problem.pair.frame, problem.control
    reach = float(control.displacement(control.push(state.q, step)).square().sum(dim=0).max()) ** 0.5
    length = min(1.0, _REACH * min(frame.spacing) / max(reach, 1e-12))
    shortest, bounded = _SHORTEST * length, False
    while length >= shortest:
        tick()
        q = state.q + length * step
        force = control.force(q)
        u = control.displacement(force)
        if float(determinant(u, frame).min()) < problem.settings.smallest:
            length, bounded = 0.6 * length, True
            continue
        found = problem.state(q, force, u)
        if found.loss < state.loss:
            return found, bounded
        length *= 0.5
    return None, bounded


def _compose(
    outcome: Outcome, piece: torch.Tensor, frame: Grid, invert: Callable[[torch.Tensor, Grid], torch.Tensor]
) -> bool:
    """Put `piece` before what was found; False where even a small part of it would fold the total."""
    for _ in range(4):
        total = piece + sample_displaced(outcome.total, piece, frame)
        if float(determinant(total, frame).min()) > _LEAST_TOTAL:
            back = invert(piece, frame)
            outcome.inverse = outcome.inverse + sample_displaced(back, outcome.inverse, frame)
            outcome.total = total
            outcome.pieces += 1
            return True
        piece = 0.5 * piece
    return False
