"""Blobs of random shape that fill the image: no anatomy in particular, so that nothing in particular is learnt."""

from __future__ import annotations

import torch

from .anatomy import Anatomy, Tissue
from .draws import Draws
from .smooth_noise import smooth_noise

SEGMENTS = tuple(f"Shape {k}" for k in range(1, 8))


def draw(shape: tuple[int, ...], draws: Draws) -> Anatomy:
    """Label of the largest of several smooth random fields, each with a bump at a place of its own."""
    axes = [(torch.arange(n, device=draws.device) + 0.5) * (2 / n) - 1 for n in shape]
    spacing = max(3.0, min(shape) / draws.uniform(4, 9))
    largest = smooth_noise(draws, 1, shape, spacing)[0]
    tissues = torch.zeros(shape, dtype=torch.uint8, device=draws.device)
    for k, centre in enumerate(_apart(len(SEGMENTS), len(shape), draws), start=1):
        field = smooth_noise(draws, 1, shape, spacing)[0]
        bump = torch.tensor(4.0, device=draws.device)
        for axis, (x, c) in enumerate(zip(axes, centre, strict=True)):
            hill = torch.exp(-0.5 * ((x - c) / 0.16).square())
            bump = bump * hill.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        field += bump
        tissues.masked_fill_(field > largest, k)
        largest = torch.maximum(largest, field)
    kinds = [Tissue(0.1), *(Tissue(0.2 + 0.1 * k, segment=k) for k in range(1, len(SEGMENTS) + 1))]
    return Anatomy(tissues, kinds)


def _apart(count: int, d: int, draws: Draws, candidates: int = 12) -> list[list[float]]:
    """Places in the middle of the image, each the farthest of a few candidates from the ones before."""
    places: list[list[float]] = []
    for _ in range(count):
        offered = [draws.uniforms(d, -0.65, 0.65) for _ in range(candidates)]

        def clear(p: list[float]) -> float:
            return min((sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in places), default=0.0)

        places.append(max(offered, key=clear))
    return places
