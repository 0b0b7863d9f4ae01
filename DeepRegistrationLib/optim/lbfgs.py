"""Limited-memory BFGS for one tensor of numbers, on whatever device it is.

Nocedal and Wright, Numerical Optimization, 2nd ed., doi:10.1007/978-0-387-40065-5, algorithms 7.4 and 3.1 with a
quadratic model in the line search. (linear_lbfgs.py does the same for a handful of parameters in millimetres;
torch.optim's first use imports torch's compiler, which takes longer than many a registration.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

#: value and gradient, the latter shaped like the numbers
Objective = Callable[[torch.Tensor], tuple[float, torch.Tensor]]

#: halvings and the like before a line search gives up
_TRIES = 8
#: iterations over which the progress is judged
_SPAN = 3


@dataclass
class Minimum:
    """Where the search ended, and the values on the way, one an iteration and that of the start."""

    numbers: torch.Tensor
    value: float
    history: list[float] = field(default_factory=list)
    evaluations: int = 0


def minimise(
    objective: Objective,
    start: torch.Tensor,
    *,
    iterations: int,
    precondition: Callable[[torch.Tensor], torch.Tensor],
    tolerance: float = 1e-3,
    least: float = 0.0,
    memory: int = 8,
    each_iteration: Callable[[int], None] | None = None,
) -> Minimum:
    """The smallest value reached downhill from `start`, which never rises from one iteration to the next.

    precondition    from a gradient to what an approximate inverse of the Hessian makes of it: the first step, and what
                    the curvature met on the way is built upon; linear, symmetric and positive
    tolerance       the search ends where the value fell by less than this share of itself an iteration, on average
                    over the last three
    least           ... or is no larger than this: what is left is rounding
    each_iteration  called with the number of iterations done; may raise to stop
    """
    x = start.clone()
    value, gradient = objective(x)
    out = Minimum(x, value, [value], 1)
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for k in range(iterations):
        if value <= least:
            break
        if each_iteration is not None:
            each_iteration(k)
        direction = -_two_loop(gradient, pairs, precondition)
        slope = _dot(direction, gradient)
        if pairs and not slope < 0:
            pairs, direction = [], -precondition(gradient)
            slope = _dot(direction, gradient)
        if not slope < 0:
            break  # a gradient of zero
        step = _line_search(objective, out, x, value, direction, slope)
        if step is None:
            if not pairs:
                break
            pairs = []  # the curvature learned so far misleads: once more straight downhill
            continue
        new_x, new_value, new_gradient = step
        s, y = new_x - x, new_gradient - gradient
        if _dot(s, y) > 1e-10 * float(s.norm() * y.norm()):
            pairs = [*pairs[-(memory - 1) :], (s, y)]
        x, value, gradient = new_x, new_value, new_gradient
        out.history.append(value)
        if len(out.history) > _SPAN and out.history[-1 - _SPAN] - value < _SPAN * tolerance * abs(value):
            break
    out.numbers, out.value = x, value
    return out


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _two_loop(
    gradient: torch.Tensor,
    pairs: list[tuple[torch.Tensor, torch.Tensor]],
    precondition: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Inverse Hessian, as remembered, times gradient."""
    q = gradient.clone()
    kept = []
    for s, y in reversed(pairs):
        rho = 1.0 / _dot(s, y)
        a = rho * _dot(s, q)
        q.sub_(y, alpha=a)
        kept.append((a, rho, s, y))
    q = precondition(q)
    for a, rho, s, y in reversed(kept):
        q.add_(s, alpha=a - rho * _dot(y, q))
    return q


def _line_search(
    objective: Objective,
    out: Minimum,
    x: torch.Tensor,
    value: float,
    direction: torch.Tensor,
    slope: float,
) -> tuple[torch.Tensor, float, torch.Tensor] | None:
    """The first step along `direction` that lowers the value enough (Armijo): whole, then ever shorter."""
    t = 1.0
    for _ in range(_TRIES):
        new_x = x + t * direction
        new_value, new_gradient = objective(new_x)
        out.evaluations += 1
        if new_value <= value + 1e-4 * t * slope and bool(torch.isfinite(new_gradient).all()):
            return new_x, new_value, new_gradient
        curvature = new_value - value - slope * t
        if curvature > 0 and curvature < float("inf"):
            t = min(max(-slope * t * t / (2 * curvature), 0.1 * t), 0.5 * t)
        else:
            t *= 0.1
    return None
