"""Geodesic shooting of images: from a momentum at the start to the whole course of a deformation and of intensities.

A source S is deformed by the flow phi_t of a velocity v_t and may gain or lose intensity where a mask M_t in [0, 1]
lets it; with the momentum p_t the geodesics (t from 0 to 1) are

    v_t   = -K (p_t grad I_t)                            K: reproducing kernel of the velocities, mm along index axes
    dp/dt = -div (p_t v_t)                               so  p_t = det(D phi_t^-1)  p_0 o phi_t^-1
    dI/dt = -<grad I_t, v_t> + gain M_t p_t              so  I_t = S o phi_t^-1 + A_t

    gain 0             LDDMM: deformation alone
    gain > 0, M = 1    metamorphosis
    gain > 0, M_t      weighted metamorphosis

The paper writes the residual z_t = (mu / rho) p_t, so that gain = mu^2 / rho. Its regularity is the start of
H_t = |v_t|_V^2 + gain <p_t, M_t p_t>, which is constant along a geodesic where M does not change with time; where it
does, H_t - integral_0^t gain <p_s, dM/ds p_s> ds is constant.

Francois, Maillard, Oster, Pallud, Bloch, Gori, Glaunes: Weighted metamorphosis for registration of images with
different topologies, WBIR 2022, doi:10.1007/978-3-031-11203-4_2. Semi-Lagrangian scheme: Francois, Gori, Glaunes:
Metamorphic image registration using a semi-Lagrangian scheme, GSI 2021, doi:10.1007/978-3-030-80209-7_84.

Differs from the papers: images and momenta are not transported from step to step. Every voxel y of the source is
followed forward, to phi_t(y), with what it carries, and what K makes of that is a velocity on the grid; at the end
every voxel of the grid is followed back along these velocities, to phi_1^-1(x). Nothing with fine detail is thus
interpolated more than once, nor lost where voxels are pressed together; transported on the grid it let H drift by 2 to
20 %. Both ways are third order in time (Adams and Bashforth), and the spreading of what the voxels carry is the
transpose of the interpolation of the velocities, which is what keeps H. In the coordinates of the source, with
w = p_0^2,

    I_t o phi_t = S + R p_0     where  dR/dt = gain (M_t o phi_t) / det(D phi_t),  R_0 = 0     (smooth, whatever p_0)
    p_t grad I_t, integrated over the voxel = (D phi_t)^-T [ p_0 grad S + (w grad R + grad(w R)) / 2 ]

Written as that half sum the bracket takes from the velocities what it gives to the intensities on a grid too (w grad R
+ R grad w / 2, the same in the limit, does so less well). M_t is taken at phi_t(y) as sharply as the velocities, since
what linear interpolation takes from its edges shows in H, and has to be smooth on the grid, as the paper assumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from ..core.grid import Grid
from ..core.progress import Tick, no_tick
from ..ops.gradients import spatial_gradient
from ..ops.lattice import Lattice

#: field (d, [Z,] Y, X) -> K field
Kernel = Callable[[torch.Tensor], torch.Tensor]

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Diverged(ArithmeticError):
    """The momentum is so large that the steps fold the flow, or leave what numbers can hold."""


@dataclass(frozen=True)
class Geodesic:
    """What a shooting obeys. Everything on one grid.

    gain         mu^2 / rho: how much intensity the momentum adds a unit of time; 0 for LDDMM
    masks        M_t at t = 0, 1/steps ... 1, that is steps + 1 of them, or a single one for all times ([Z,] Y, X);
                 none stands for 1 everywhere
    tick         called at every step, there and back: may raise to stop
    save_memory  keep only the state of every step, and take the step again on the gradient's way back
    """

    grid: Grid
    kernel: Kernel
    steps: int = 10
    gain: float = 0.0
    masks: Sequence[torch.Tensor] = ()
    tick: Tick = no_tick
    save_memory: bool = False

    def __post_init__(self) -> None:
        if len(self.masks) not in (0, 1, self.steps + 1):
            raise ValueError(f"{len(self.masks)} masks do not fit {self.steps} steps: give none, 1 or steps + 1")

    def weighted(self, p: torch.Tensor, step: float) -> torch.Tensor:
        """M_t p at t = step / steps; between two masks, what lies between them."""
        mask = self.mask(step)
        return p if mask is None else mask * p

    def mask(self, step: float) -> torch.Tensor | None:
        """M_t at t = step / steps, None for 1 everywhere."""
        if not self.masks:
            return None
        if len(self.masks) == 1:
            return self.masks[0]
        mask = self.masks[int(step)]
        return mask if step == int(step) else torch.lerp(mask, self.masks[int(step) + 1], step - int(step))


@dataclass(frozen=True)
class Shot:
    """Where a shooting ended.

    backward  phi_1^-1(x) - x, mm along index axes (d, [Z,] Y, X)
    deformed  S o phi_1^-1 ([Z,] Y, X)
    added     A_1 ([Z,] Y, X), None for LDDMM
    energy    |v_0|_V^2 + gain <p_0, M_0 p_0>, mean over the voxels (the integral over the volume of the grid)
    """

    backward: torch.Tensor
    deformed: torch.Tensor
    added: torch.Tensor | None
    energy: torch.Tensor

    @property
    def image(self) -> torch.Tensor:
        """I_1 = S o phi_1^-1 + A_1."""
        return self.deformed if self.added is None else self.deformed + self.added


@dataclass
class Course:
    """The whole of a shooting at t = 0, 1/steps ... 1; units as in `Shot`.

    forward     phi_t(y) - y
    backward    phi_t^-1(x) - x
    deformed    S o phi_t^-1
    velocity_energy, intensity_energy   |v_t|_V^2 and gain <p_t, M_t p_t>
    work        integral_0^t of gain <p_s, dM/ds p_s> ds: what a mask that changes does to the energy
    """

    forward: list[torch.Tensor] = field(default_factory=list)
    backward: list[torch.Tensor] = field(default_factory=list)
    deformed: list[torch.Tensor] = field(default_factory=list)
    added: list[torch.Tensor | None] = field(default_factory=list)
    velocity_energy: list[float] = field(default_factory=list)
    intensity_energy: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    @property
    def drift(self) -> float:
        """Largest relative change along the way of what should be constant: energy less work."""
        kept = [v + z - w for v, z, w in zip(self.velocity_energy, self.intensity_energy, self.work, strict=True)]
        return max(abs(k - kept[0]) for k in kept) / kept[0] if kept[0] > 0 else 0.0


def shoot(source: torch.Tensor, momentum: torch.Tensor, geodesic: Geodesic) -> Shot:
    """The geodesic from `source` ([Z,] Y, X) with `momentum` p_0 (same shape); differentiable in the momentum.

    Raises Diverged.
    """
    flow = _Flow.of(source, momentum, geodesic)
    state, velocities = _State(), list[torch.Tensor]()
    energy = torch.zeros((), device=source.device)
    for n in range(geodesic.steps):
        state, velocity, at_step = flow.lean(flow.step, state, n)
        velocities.append(velocity)
        energy = at_step if n == 0 else energy
        flow.heard(state.forward)
    end = flow.moment(state, geodesic.steps)
    backward = flow.back([*velocities, geodesic.kernel(end.force)])
    deformed, added = flow.image(source, momentum, end.rate, backward)
    return Shot(backward, deformed, added, energy)


@torch.no_grad()
def follow(source: torch.Tensor, momentum: torch.Tensor, geodesic: Geodesic) -> Course:
    """The course of `shoot`, with everything on the way."""
    flow = _Flow.of(source, momentum, geodesic)
    state, velocities = _State(), list[torch.Tensor]()
    course = Course()
    before: _Moment | None = None
    for n in range(geodesic.steps + 1):
        now = flow.moment(state, n)
        velocity = geodesic.kernel(now.force)
        velocities.append(velocity)
        backward = flow.back(velocities)
        deformed, added = flow.image(source, momentum, now.rate, backward)
        course.forward.append(torch.zeros_like(velocity) if state.forward is None else state.forward)
        course.backward.append(backward)
        course.deformed.append(deformed)
        course.added.append(added)
        course.velocity_energy.append(float((now.force * velocity).sum()) / source.numel())
        course.intensity_energy.append(float(flow.intensity_energy(now)))
        work = 0.0
        if before is not None and len(geodesic.masks) > 1:
            change = geodesic.masks[n] - geodesic.masks[n - 1]
            previous = course.forward[-2] if n > 1 else None
            work = 0.5 * (flow.work(before, change, previous) + flow.work(now, change, state.forward))
        course.work.append(work + (course.work[-1] if course.work else 0.0))
        before = now
        if n < geodesic.steps:
            state = flow.step(state, n)[0]
    return course


class _State(NamedTuple):
    """phi - id; R without the last half step's gain; velocities of the voxels one and two steps before. None: zero."""

    forward: torch.Tensor | None = None
    carried: torch.Tensor | None = None
    velocity: torch.Tensor | None = None
    earlier: torch.Tensor | None = None


class _Place(NamedTuple):
    """Where the voxels of the grid were - id; velocities there one and two steps later. None: zero."""

    backward: torch.Tensor | None = None
    velocity: torch.Tensor | None = None
    earlier: torch.Tensor | None = None


class _Moment(NamedTuple):
    """force: -p grad I on the grid (d, ...); of the voxels: growth dR/dt and rate R, None for LDDMM, and
    det(D phi), None for 1."""

    force: torch.Tensor
    growth: torch.Tensor | None
    rate: torch.Tensor | None
    determinant: torch.Tensor | None


@dataclass(frozen=True)
class _Flow:
    """One shooting. force: -p_0 grad S (d, [Z,] Y, X); squared: p_0^2, None for LDDMM."""

    lattice: Lattice
    geodesic: Geodesic
    force: torch.Tensor
    squared: torch.Tensor | None

    @classmethod
    def of(cls, source: torch.Tensor, momentum: torch.Tensor, geodesic: Geodesic) -> _Flow:
        force = -momentum * spatial_gradient(source[None], geodesic.grid.spacing)[:, 0]
        squared = momentum.square() if geodesic.gain > 0 else None
        return cls(Lattice.of(geodesic.grid, source), geodesic, force, squared)

    def lean(self, step: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What `step` makes of what is given; with `save_memory` nothing of its inside is kept for the gradient."""
        if self.geodesic.save_memory and torch.is_grad_enabled():
            made: _Made = checkpoint(partial(step, *given, **named), use_reentrant=False, preserve_rng_state=False)
            return made
        return step(*given, **named)

    def heard(self, state: torch.Tensor | None) -> None:
        """Ticks when the gradient comes by."""
        if state is not None and state.requires_grad:
            state.register_hook(lambda _: self.geodesic.tick())

    def moment(self, state: _State, n: float, since: float = 1.0) -> _Moment:
        """What drives the flow at t = n / steps, `since` steps after the time before; see the module's docstring."""
        gain = self.geodesic.gain
        forward = state.forward
        if forward is None:
            if self.squared is None:
                return _Moment(self.force, None, None, None)
            growth = gain * self.geodesic.weighted(torch.ones_like(self.squared), n)
            return _Moment(self.force, growth, torch.zeros_like(self.squared), None)
        determinant, cofactors = _cofactors(self.lattice.gradient(forward))
        if not bool((determinant.detach() > 0).all()):
            raise Diverged

        def pulled(covector: torch.Tensor) -> torch.Tensor:
            force = torch.stack([_sum_of_products(row, covector) for row in cofactors]) / determinant
            return self.lattice.deposited(force, forward)

        if self.squared is None or state.carried is None:
            return _Moment(pulled(self.force), None, None, determinant)
        growth = gain / determinant
        mask = self.geodesic.mask(n)
        if mask is not None:
            growth = growth * self.lattice.sharply(mask[None], forward)[0]
        # the gain of a step is the mean of that at its start and that at its end
        rate = state.carried + growth * (0.5 * since / self.geodesic.steps)
        along = self.lattice.gradient(torch.stack([rate, rate * self.squared]))
        covector = self.force - 0.5 * (self.squared * along[:, 0] + along[:, 1])
        return _Moment(pulled(covector), growth, rate, determinant)

    def step(self, state: _State, n: int) -> tuple[_State, torch.Tensor, torch.Tensor]:
        """The state after step n; before it, the velocity on the grid and (at n = 0, it is not needed later) the
        energy."""
        self.geodesic.tick()
        dt = 1 / self.geodesic.steps
        now = self.moment(state, n)
        v = self.geodesic.kernel(now.force)
        if not bool(torch.isfinite(v.detach().sum())):
            raise Diverged
        gained = None if now.rate is None or now.growth is None else now.rate + 0.5 * dt * now.growth
        if state.forward is not None:
            here = self.lattice.sharply(v, state.forward)
            forward = state.forward + dt * _onward(here, state.velocity, state.earlier)
            return _State(forward, gained, here, state.velocity), v, torch.zeros((), device=v.device)
        half_way = 0.5 * dt * v
        there = self.moment(_State(half_way, None if gained is None else 0.5 * gained), n + 0.5, since=0.5)
        forward = dt * self.lattice.sharply(self.geodesic.kernel(there.force), half_way)
        energy = (now.force * v).sum() / v[0].numel() + self.intensity_energy(now)
        return _State(forward, gained, v, None), v, energy

    def back(self, velocities: Sequence[torch.Tensor]) -> torch.Tensor:
        """phi^-1 - id at the time of the last of the velocities on the grid."""
        place = _Place()
        for after, before in zip(velocities[:0:-1], velocities[-2::-1], strict=True):
            place = self.lean(self._step_back, place, after, before)
            self.heard(place.backward)
        return torch.zeros_like(velocities[-1]) if place.backward is None else place.backward

    def _step_back(self, place: _Place, after: torch.Tensor, before: torch.Tensor) -> _Place:
        """From the time of the velocity `after` to that of `before`."""
        self.geodesic.tick()
        dt = 1 / self.geodesic.steps
        if place.backward is None:
            return _Place(-0.5 * dt * (after + self.lattice.sharply(before, -dt * after)), after, None)
        here = self.lattice.sharply(after, place.backward)
        return _Place(place.backward - dt * _onward(here, place.velocity, place.earlier), here, place.velocity)

    def image(
        self, source: torch.Tensor, momentum: torch.Tensor, rate: torch.Tensor | None, backward: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """S o phi^-1 and A = (R p_0) o phi^-1."""
        if rate is None:
            return self.lattice.sampled(source[None], backward)[0], None
        deformed, added = self.lattice.sampled(torch.stack([source, rate * momentum]), backward)
        return deformed, added

    def intensity_energy(self, now: _Moment) -> torch.Tensor:
        """gain <p, M p>."""
        if self.squared is None or now.growth is None:
            return torch.zeros((), device=now.force.device)
        return (now.growth * self.squared).mean()

    def work(self, now: _Moment, change: torch.Tensor, forward: torch.Tensor | None) -> float:
        """gain <p, change p>."""
        if self.squared is None:
            return 0.0
        change = change if forward is None else self.lattice.sharply(change[None], forward)[0]
        density = self.squared if now.determinant is None else self.squared / now.determinant
        return self.geodesic.gain * float((density * change).mean())


def _onward(now: torch.Tensor, before: torch.Tensor | None, earlier: torch.Tensor | None) -> torch.Tensor:
    """The mean velocity of the next step (Adams and Bashforth), of as high an order as there are velocities."""
    if before is None:
        return now
    if earlier is None:
        return 1.5 * now - 0.5 * before
    return (23 * now - 16 * before + 5 * earlier) / 12


def _cofactors(slopes: torch.Tensor) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
    """det(F) and C with F^-T = C / det(F), F = I + du/dx, from du_c/dx_k at [k, c]."""
    d = len(slopes)
    f = [[1 + slopes[k, c] if k == c else slopes[k, c] for k in range(d)] for c in range(d)]
    if d == 2:
        cofactors = [[f[1][1], -f[1][0]], [-f[0][1], f[0][0]]]
    else:
        after = [(1, 2), (2, 0), (0, 1)]
        cofactors = [[f[a][k] * f[b][m] - f[a][m] * f[b][k] for k, m in after] for a, b in after]
    return _sum_of_products(f[0], cofactors[0]), cofactors


def _sum_of_products(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor] | torch.Tensor) -> torch.Tensor:
    """a_1 b_1 + a_2 b_2 + ..."""
    total = a[0] * b[0]
    for k in range(1, len(a)):
        total = total + a[k] * b[k]
    return total
