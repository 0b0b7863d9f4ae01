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

Differs from the papers: the maps phi_t^-1 are transported along the characteristics instead of the images and momenta,
and departure points are second order in time (midpoint in space, velocities extrapolated by half a step, the first one
from half a step; Staniforth and Cote, Monthly Weather Review 119, 1991,
doi:10.1175/1520-0493(1991)119<2206:SLISFA>2.0.CO;2). What has fine detail is thus interpolated
once, not once a step, and only in products that K smooths; this is what keeps H. With w = p_0^2, J = det(D phi^-1), and
~ for "composed with phi_t^-1",

    A_t = R_t p_0~      where  dR/dt + <grad R, v> = gain M_t J_t,  R_0 = 0    (smooth, whatever p_0)
    p_t grad I_t = J [ (D phi^-1)^T (p_0 grad S)~ + w~ grad R + R/2 grad w~ ]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from ..core.grid import Grid
from ..ops.lattice import Lattice

#: field (d, [Z,] Y, X) -> K field
Kernel = Callable[[torch.Tensor], torch.Tensor]
Tick = Callable[[], None]


class Diverged(ArithmeticError):
    """The momentum is so large that the flow leaves what numbers can hold."""


def no_tick() -> None:
    """Nothing to report."""


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
        """M_t p at t = step / steps; `step` is whole, or a half where the mask is the mean of two."""
        if not self.masks:
            return p
        if len(self.masks) == 1:
            return self.masks[0] * p
        mask = self.masks[int(step)]
        return p * (mask if step == int(step) else torch.lerp(mask, self.masks[int(step) + 1], step - int(step)))


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

    deformed    S o phi_t^-1
    velocities  of the way from each time to the next, mm along index axes a unit of time: one fewer
    velocity_energy, intensity_energy   |v_t|_V^2 and gain <p_t, M_t p_t>
    work        integral_0^t of gain <p_s, dM/ds p_s> ds: what a mask that changes does to the energy
    """

    backward: list[torch.Tensor] = field(default_factory=list)
    deformed: list[torch.Tensor] = field(default_factory=list)
    added: list[torch.Tensor | None] = field(default_factory=list)
    velocities: list[torch.Tensor] = field(default_factory=list)
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
    lattice = Lattice.of(geodesic.grid, source)
    products = _products(source, momentum, lattice, geodesic)
    state = _State(None, None, None)
    energy = torch.zeros((), device=source.device)
    for n in range(geodesic.steps):
        if geodesic.save_memory and n > 0 and torch.is_grad_enabled():
            new = checkpoint(
                _step, products, *state, n, lattice, geodesic, use_reentrant=False, preserve_rng_state=False
            )
        else:
            new = _step(products, *state, n, lattice, geodesic)
        state, at_step = _State(*new[:3]), new[3]
        energy = at_step if n == 0 else energy
        if state.backward is not None and state.backward.requires_grad:
            state.backward.register_hook(lambda _: geodesic.tick())
    assert state.backward is not None
    rate = _moment(products, state, geodesic.steps, lattice, geodesic).rate
    deformed, added = _image(source, momentum, state.backward, rate, lattice)
    return Shot(state.backward, deformed, added, energy)


@torch.no_grad()
def follow(source: torch.Tensor, momentum: torch.Tensor, geodesic: Geodesic) -> Course:
    """The course of `shoot`, with everything on the way."""
    lattice = Lattice.of(geodesic.grid, source)
    products = _products(source, momentum, lattice, geodesic)
    state = _State(None, None, None)
    course = Course()
    before: torch.Tensor | None = None
    for n in range(geodesic.steps + 1):
        geodesic.tick()
        now = _moment(products, state, n, lattice, geodesic)
        velocity = geodesic.kernel(now.force)
        backward = torch.zeros_like(velocity) if state.backward is None else state.backward
        deformed, added = _image(source, momentum, backward, now.rate, lattice)
        course.backward.append(backward)
        course.deformed.append(deformed)
        course.added.append(added)
        course.velocity_energy.append(float((now.force * velocity).sum()) / source.numel())
        course.intensity_energy.append(float(_intensity_energy(now, n, geodesic)))
        done = 0.0
        if before is not None and now.squared is not None and len(geodesic.masks) > 1:
            change = geodesic.masks[n] - geodesic.masks[n - 1]
            done = geodesic.gain * float((0.5 * (before + now.squared) * change).mean())
        course.work.append(done + (course.work[-1] if course.work else 0.0))
        before = now.squared
        if n < geodesic.steps:
            half = _half_way(products, now, velocity, state, n, lattice, geodesic)
            course.velocities.append(half)
            state = _advanced(now, half, velocity, state, n, 1.0, lattice, geodesic)
    return course


@torch.no_grad()
def forward_map(course: Course, grid: Grid, tick: Tick = no_tick) -> torch.Tensor:
    """phi_1(y) - y at the voxel centres y of `grid`, that of the source: (d, [Z,] Y, X) mm along index axes.

    Points are carried along the velocities of the course, by midpoints as in the shooting.
    """
    dt = 1 / len(course.velocities)
    lattice = Lattice.of(grid, course.velocities[0])
    forward = torch.zeros_like(course.velocities[0])
    for v in course.velocities:
        tick()
        middle = forward + 0.5 * dt * lattice.sampled(v, forward)
        forward = forward + dt * lattice.sampled(v, middle)
    return forward


class _State(NamedTuple):
    """phi^-1 - id; R without the last half step's gain; velocity of the step before. None: zero."""

    backward: torch.Tensor | None
    carried: torch.Tensor | None
    velocity: torch.Tensor | None


class _Moment(NamedTuple):
    """force: -p grad I (d, ...); jacobian: J, None for 1; rate: R; squared: p^2. The last two None for LDDMM."""

    force: torch.Tensor
    jacobian: torch.Tensor | None
    rate: torch.Tensor | None
    squared: torch.Tensor | None


def _products(
    source: torch.Tensor, momentum: torch.Tensor, lattice: Lattice, geodesic: Geodesic
) -> torch.Tensor:
    """-p_0 grad S, and p_0^2 where intensities change: (d [+ 1], [Z,] Y, X)."""
    force = -momentum * lattice.gradient(source[None])[:, 0]
    return torch.cat([force, momentum.square()[None]]) if geodesic.gain > 0 else force


def _step(
    products: torch.Tensor,
    backward: torch.Tensor | None,
    carried: torch.Tensor | None,
    previous: torch.Tensor | None,
    n: int,
    lattice: Lattice,
    geodesic: Geodesic,
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
    """The state after step n, and the energy before it (at n = 0; it is not needed later)."""
    geodesic.tick()
    state = _State(backward, carried, previous)
    now = _moment(products, state, n, lattice, geodesic)
    velocity = geodesic.kernel(now.force)
    energy = torch.zeros((), device=products.device)
    if n == 0:
        energy = (now.force * velocity).sum() / now.force[0].numel() + _intensity_energy(now, 0, geodesic)
    half = _half_way(products, now, velocity, state, n, lattice, geodesic)
    return (*_advanced(now, half, velocity, state, n, 1.0, lattice, geodesic), energy)


def _moment(
    products: torch.Tensor, state: _State, n: float, lattice: Lattice, geodesic: Geodesic, since: float = 1.0
) -> _Moment:
    """What drives the flow at t = n / steps, `since` steps after the time before; see the module's docstring."""
    d = geodesic.grid.dimension
    if state.backward is None:
        if geodesic.gain == 0:
            return _Moment(products, None, None, None)
        return _Moment(products[:d], None, torch.zeros_like(products[d]), products[d])
    there = lattice.sharply(products, state.backward)
    slopes = lattice.gradient(state.backward)  # (along, component, ...)
    jacobian = _determinant(slopes)
    force = there[:d] + (slopes * there[:d]).sum(dim=1)
    if state.carried is None:
        return _Moment(jacobian * force, jacobian, None, None)
    # the gain of a step is the mean of that at its start, carried along, and that at its end
    rate = state.carried + (0.5 * since * geodesic.gain / geodesic.steps) * geodesic.weighted(jacobian, n)
    squared = there[d]
    along = lattice.gradient(torch.stack([rate, squared]))
    force = force - squared * along[:, 0] - 0.5 * rate * along[:, 1]
    return _Moment(jacobian * force, jacobian, rate, jacobian.square() * squared)


def _image(
    source: torch.Tensor, momentum: torch.Tensor, backward: torch.Tensor, rate: torch.Tensor | None, lattice: Lattice
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S o phi^-1 and A = R (p_0 o phi^-1)."""
    if rate is None:
        return lattice.sampled(source[None], backward)[0], None
    deformed, p = lattice.sampled(torch.stack([source, momentum]), backward)
    return deformed, rate * p


def _intensity_energy(now: _Moment, n: int, geodesic: Geodesic) -> torch.Tensor:
    if now.squared is None:
        return torch.zeros((), device=now.force.device)
    return geodesic.gain * geodesic.weighted(now.squared, n).mean()


def _half_way(
    products: torch.Tensor,
    now: _Moment,
    velocity: torch.Tensor,
    state: _State,
    n: int,
    lattice: Lattice,
    geodesic: Geodesic,
) -> torch.Tensor:
    """The velocity half a step later: extrapolated, or from half a step where there is nothing before."""
    if state.velocity is not None:
        return 1.5 * velocity - 0.5 * state.velocity
    there = _advanced(now, velocity, velocity, state, n, 0.5, lattice, geodesic)
    return geodesic.kernel(_moment(products, there, n + 0.5, lattice, geodesic, since=0.5).force)


def _advanced(
    now: _Moment,
    along: torch.Tensor,
    velocity: torch.Tensor,
    state: _State,
    n: int,
    share: float,
    lattice: Lattice,
    geodesic: Geodesic,
) -> _State:
    """What was at x - w at t is at x at t + dt, w = dt v(x - w / 2) = dt v - dt^2 / 2 <v, grad> v + ...; v: `along`,
    dt: the `share` of a step; `velocity`, that at t, is kept for the next step."""
    dt = share / geodesic.steps
    way = dt * along - (0.5 * dt**2) * (along[:, None] * lattice.gradient(along)).sum(dim=0)
    if not bool(torch.isfinite(way.detach().sum())):
        raise Diverged
    d = len(way)
    carry = [] if state.backward is None else [state.backward]
    if now.rate is not None:
        jacobian = torch.ones_like(now.rate) if now.jacobian is None else now.jacobian
        carry.append((now.rate + (0.5 * geodesic.gain * dt) * geodesic.weighted(jacobian, n))[None])
    if not carry:
        return _State(-way, None, velocity)
    there = lattice.sharply(torch.cat(carry), -way)
    backward = -way if state.backward is None else there[:d] - way
    return _State(backward, None if now.rate is None else there[-1], velocity)


def _determinant(slopes: torch.Tensor) -> torch.Tensor:
    """det(I + du/dx) from du_c/dx_k at [k, c]."""
    if len(slopes) == 2:
        return (1 + slopes[0, 0]) * (1 + slopes[1, 1]) - slopes[0, 1] * slopes[1, 0]
    a, e, i = 1 + slopes[0, 0], 1 + slopes[1, 1], 1 + slopes[2, 2]
    return (
        a * (e * i - slopes[1, 2] * slopes[2, 1])
        - slopes[0, 1] * (slopes[1, 0] * i - slopes[1, 2] * slopes[2, 0])
        + slopes[0, 2] * (slopes[1, 0] * slopes[2, 1] - e * slopes[2, 0])
    )
