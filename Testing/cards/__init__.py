"""A graphics card that is none, for tests on computers without one: tensors say that they lie on it and are computed by
the processor, and what a real card refuses is refused here.

    with pretended("cuda") as card:
        torch.ones(3, device=card) + torch.ones(3)      RuntimeError: two devices

Refused are operations on tensors of both devices (but for numbers, that is tensors without axes, beside pointwise
operations, and for indices), random numbers from a generator of the processor, reading a tensor as an array without
bringing it to the processor, and float64 on Apple's device, "mps". `torch.autocast` narrows what it narrows on a card.
What this can't show is speed, memory, how a card rounds otherwise, and which operations "mps" lacks.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .pretended import pretended

__all__ = ["card_of", "pretended"]


@contextmanager
def card_of(kind: str) -> Iterator[torch.device]:
    """This computer's card of that kind, "cuda" or "mps", or else a pretended one."""
    if {"cuda": torch.cuda, "mps": torch.backends.mps}[kind].is_available():
        yield torch.device(kind, 0)
        return
    with pretended(kind) as card:
        yield card
