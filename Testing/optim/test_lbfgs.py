"""L-BFGS on functions whose minimum is known."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.optim.lbfgs import minimise


def quadratic(x: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Curvatures 1 to 1000, minimum at 3 everywhere."""
    curvature = torch.logspace(0, 3, x.numel(), dtype=x.dtype).reshape(x.shape)
    return float(0.5 * (curvature * (x - 3).square()).sum()), curvature * (x - 3)


def valley(x: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Rosenbrock's, minimum 0 at (1, 1)."""
    a, b = x.tolist()
    return 100 * (b - a * a) ** 2 + (1 - a) ** 2, torch.tensor(
        [-400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)], dtype=x.dtype
    )


def test_finds_the_minimum_whatever_the_shape() -> None:
    found = minimise(
        quadratic, torch.zeros(4, 5, dtype=torch.float64), iterations=200, precondition=lambda g: 0.01 * g, tolerance=0
    )
    assert torch.allclose(found.numbers, torch.full((4, 5), 3.0, dtype=torch.float64), atol=0.02)
    assert found.value == found.history[-1] < 1e-2


def test_follows_a_curved_valley_and_never_rises() -> None:
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    found = minimise(valley, start, iterations=100, precondition=lambda g: 1e-3 * g, tolerance=0.0)
    assert torch.allclose(found.numbers, torch.ones(2, dtype=torch.float64), atol=1e-3)
    assert all(b <= a for a, b in zip(found.history[:-1], found.history[1:], strict=True))
    assert found.evaluations < 150 and start.tolist() == [-1.2, 1.0]


def test_starts_with_the_step_it_is_told() -> None:
    seen: list[torch.Tensor] = []

    def objective(x: torch.Tensor) -> tuple[float, torch.Tensor]:
        seen.append(x.clone())
        return quadratic(x)

    start = torch.zeros(3, dtype=torch.float64)
    minimise(objective, start, iterations=1, precondition=lambda g: 0.25 * g / g.norm())
    assert float((seen[1] - start).norm()) == pytest.approx(0.25)


def test_a_value_that_is_not_finite_is_a_step_too_far() -> None:
    def objective(x: torch.Tensor) -> tuple[float, torch.Tensor]:
        value, gradient = quadratic(x)
        return (float("nan"), gradient) if bool((x > 2).any()) else (value, gradient)

    found = minimise(objective, torch.zeros(3, dtype=torch.float64), iterations=20, precondition=lambda g: g)
    assert found.value < found.history[0] and bool((found.numbers <= 2).all())


def test_ends_early_where_little_is_gained_and_at_a_gradient_of_zero() -> None:
    loose = minimise(valley, torch.tensor([-1.2, 1.0]), iterations=200, precondition=lambda g: 1e-3 * g, tolerance=0.3)
    assert len(loose.history) < 20
    there = minimise(quadratic, torch.full((3,), 3.0), iterations=5, precondition=lambda g: g)
    assert there.evaluations == 1 and there.value == 0


def test_ends_where_only_rounding_is_left() -> None:
    start = torch.zeros(4, dtype=torch.float64)
    found = minimise(quadratic, start, iterations=200, precondition=lambda g: 0.001 * g, tolerance=0, least=1.0)
    assert found.history[-1] <= 1.0 < found.history[-2]
    again = minimise(quadratic, found.numbers, iterations=200, precondition=lambda g: g, tolerance=0, least=1.0)
    assert again.evaluations == 1 and torch.equal(again.numbers, found.numbers)


def test_can_be_stopped() -> None:
    def stop(count: int) -> None:
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise(
            valley, torch.tensor([-1.2, 1.0]), iterations=50, precondition=lambda g: 1e-3 * g, each_iteration=stop
        )
