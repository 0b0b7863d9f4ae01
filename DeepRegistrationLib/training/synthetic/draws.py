"""Random numbers for one sample, all from one generator on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Draws:
    """Numbers are drawn on the CPU and moved, so that a seed means the same on every device."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator = generator
        self.device = device

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def between(self, limits: tuple[float, float]) -> float:
        return self.uniform(*limits)

    def uniforms(self, count: int, low: float = 0.0, high: float = 1.0) -> list[float]:
        values: list[float] = (low + (high - low) * torch.rand(count, generator=self.generator)).tolist()
        return values

    def integer(self, count: int) -> int:
        """0..count-1."""
        return int(torch.randint(count, (), generator=self.generator))

    def integers(self, count: int, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randint(count, shape, generator=self.generator).to(self.device)

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.integer(len(choices))]

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)

    def around(self, value: float, share: float = 0.12) -> float:
        """value, up to `share` of it more or less."""
        return value * self.uniform(1 - share, 1 + share)
