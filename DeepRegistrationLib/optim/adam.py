"""Adam for one tensor of numbers.

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   c <- c - step  m / (1 - b1^t)  /  (sqrt(v / (1 - b2^t)) + e)

Kingma, Ba: Adam: a method for stochastic optimization, ICLR 2015, arXiv:1412.6980. torch.optim's does the same, but
its first use imports torch's compiler, which takes more than a second: a tenth of a whole registration.
"""

from __future__ import annotations

import torch


class Adam:
    """State of the descent for `numbers`, which `step` changes in place."""

    def __init__(self, numbers: torch.Tensor, betas: tuple[float, float] = (0.9, 0.99), epsilon: float = 1e-8) -> None:
        self.numbers, self.betas, self.epsilon = numbers, betas, epsilon
        self._first, self._second = torch.zeros_like(numbers), torch.zeros_like(numbers)
        self._taken = 0

    @torch.no_grad()
    def step(self, gradient: torch.Tensor, length: float) -> None:
        """One step of at most about `length` for each number, against `gradient` (its shape)."""
        b1, b2 = self.betas
        self._taken += 1
        self._first.lerp_(gradient, 1 - b1)
        self._second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        scale = (self._second / (1 - b2**self._taken)).sqrt_().add_(self.epsilon)
        self.numbers.addcdiv_(self._first, scale, value=-length / (1 - b1**self._taken))
