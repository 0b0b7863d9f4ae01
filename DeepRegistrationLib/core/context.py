"""What a method gets besides the problem: progress, device, number type, randomness, messages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .progress import Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Context:
    """Handed to every `run`. `messages` collects sentences the user should read (a coarser grid ...)."""

    device: torch.device
    progress: Progress = field(default_factory=Progress)
    seed: int = 0
    messages: list[str] = field(default_factory=list)

    def generator(self) -> torch.Generator:
        """A fresh random generator on the CPU, seeded, so that runs repeat, whatever the device."""
        import torch

        return torch.Generator().manual_seed(self.seed)

    def part(self, start: float, end: float, stage: str) -> Context:
        """The same context reporting into the share start..end of the progress."""
        return replace(self, progress=self.progress.part(start, end, stage))
