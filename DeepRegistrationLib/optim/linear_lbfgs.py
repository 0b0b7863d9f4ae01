"""Limited-memory BFGS for a handful of well-scaled parameters.

Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4 and 3.1 with a quadratic model in the
line search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass
class Minimum:
    """Where the search ended: parameters, value there, values an iteration, and number of evaluations."""

    parameters: np.ndarray
    value: float
    history: list[float] = field(default_factory=list)
    evaluations: int = 0


def minimise(
    objective: Objective,
    start: np.ndarray,
    *,
    iterations: int = 50,
    first_step: float = 1.0,
    longest_step: float = 10.0,
    smallest_step: float = 0.01,
    memory: int = 12,
    each_iteration: Callable[[int], None] | None = None,
) -> Minimum:
    """Smallest value of `objective` (value and gradient) reachable downhill from `start`.

    first_step, longest_step  Euclidean length of the first step and of the longest allowed one, in the units
                              of the
                              parameters (mm)
    smallest_step             the search ends once a step is shorter than this, or the line search finds
                              nothing
    each_iteration            called with the number of iterations done; may raise to stop

    The value never rises from one iteration to the next. A value that is not finite counts as a rejected
    step.
    """
    x = np.array(start, dtype=np.float64)
    value, gradient = objective(x)
    out = Minimum(x, value, [value], 1)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(iterations):
        if each_iteration is not None:
            each_iteration(k)
        direction = -_two_loop(gradient, pairs)
        slope = float(direction @ gradient)
        if not np.isfinite(slope) or slope >= 0:
            pairs, direction = [], -gradient
            slope = float(direction @ gradient)
        length = float(np.linalg.norm(direction))
        if length < 1e-12 or not np.isfinite(length):
            break
        limit = first_step if not pairs else longest_step
        t = min(1.0, limit / length) if pairs else limit / length
        step = _line_search(objective, out, x, value, direction, slope, t, smallest_step / length)
        if step is None:
            if not pairs:
                break
            pairs = []  # the curvature learned so far misleads: try once more straight downhill
            continue
        new_x, new_value, new_gradient = step
        s, y = new_x - x, new_gradient - gradient
        if float(s @ y) > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(y)):
            pairs = [*pairs[-(memory - 1) :], (s, y)]
        x, value, gradient = new_x, new_value, new_gradient
        out.history.append(value)
        if float(np.linalg.norm(s)) < smallest_step:
            break
    out.parameters, out.value = x, value
    return out


def _two_loop(gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Inverse Hessian, as remembered, times gradient."""
    q = gradient.copy()
    kept = []
    for s, y in reversed(pairs):
        rho = 1.0 / float(s @ y)
        a = rho * float(s @ q)
        q = q - a * y
        kept.append((a, rho, s, y))
    if pairs:
        s, y = pairs[-1]
        q = q * (float(s @ y) / float(y @ y))
    for a, rho, s, y in reversed(kept):
        q = q + (a - rho * float(y @ q)) * s
    return q


def _line_search(
    objective: Objective,
    out: Minimum,
    x: np.ndarray,
    value: float,
    direction: np.ndarray,
    slope: float,
    t: float,
    shortest: float,
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """First step length at or below t that lowers the value enough (Armijo), by quadratic interpolation."""
    while t >= shortest:
        new_x = x + t * direction
        new_value, new_gradient = objective(new_x)
        out.evaluations += 1
        if np.isfinite(new_value) and np.isfinite(new_gradient).all():
            if new_value <= value + 1e-4 * t * slope:
                return new_x, new_value, new_gradient
            curvature = new_value - value - slope * t
            t = float(np.clip(-slope * t * t / (2 * curvature), 0.1 * t, 0.5 * t))
        else:
            t *= 0.1
    return None
