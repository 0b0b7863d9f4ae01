"""Random numbers of a training: each follows from the seed and what it is for, not from what was drawn before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(*parts: int | str) -> int:
    """A number of 63 bits from the parts: other parts, another number."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def sample_generator(seed: int, step: int, number: int) -> torch.Generator:
    """The generator (on the CPU) of pair `number` of a step's batch, whichever process makes it."""
    return torch.Generator().manual_seed(seed_of(seed, "sample", step, number))


@contextmanager
def seeded(device: torch.device, *parts: int | str) -> Iterator[None]:
    """torch's global generators seeded from the parts within the block, and as before after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(*parts))
        yield
