"""Winding tubes of different widths in a mottled ground."""

from __future__ import annotations

import math

import torch

from .anatomy import Anatomy, Tissue
from .canvas import Canvas
from .draws import Draws

SEGMENTS = tuple(f"Tube {k}" for k in range(1, 6))
_PIECES = 9


def draw(shape: tuple[int, ...], draws: Draws) -> Anatomy:
    canvas = Canvas(shape, draws, roughness=0.3)
    d, size = len(shape), min(shape)
    ground = len(SEGMENTS) + 1
    canvas.fill(canvas.whole(), canvas.rough[0] > 0.1, ground)
    canvas.fill(canvas.whole(), canvas.rough[1] > 0.25, ground + 1)
    for k in range(1, len(SEGMENTS) + 1):
        radius = size * draws.uniform(0.02, 0.055)
        place = draws.uniforms(d, -0.55, 0.55)
        heading = _unit(draws.normal(d).tolist())
        pieces = []
        for _ in range(_PIECES):
            step = draws.uniform(0.14, 0.24)
            # turned back where the way leads out of the image
            heading = _unit([
                h + 0.7 * t - 0.9 * max(0.0, abs(p) - 0.5) * math.copysign(1.0, p)
                for h, t, p in zip(heading, draws.normal(d).tolist(), place, strict=True)
            ])  # fmt: skip
            end = [max(-0.85, min(0.85, p + step * h)) for p, h in zip(place, heading, strict=True)]
            pieces.append((place, end, radius))
            # half of the tubes branch: a thinner twig to the side
            if k % 2 and draws.uniform(0, 1) < 0.5:
                side = _unit([h + 1.2 * t for h, t in zip(heading, draws.normal(d).tolist(), strict=True)])
                twig = [p + 0.25 * s for p, s in zip(end, side, strict=True)]
                pieces.append((end, twig, 0.6 * radius))
            place = end
            radius *= draws.uniform(0.88, 1.04)
        canvas.tubes(k, pieces)
    kinds = [
        Tissue(0.2),
        *(Tissue(0.6 + 0.06 * k, 0.3, k) for k in range(1, len(SEGMENTS) + 1)),
        Tissue(0.35),
        Tissue(0.45),
    ]
    return Anatomy(canvas.labels, kinds)


def _unit(v: list[float]) -> list[float]:
    length = float(torch.tensor(v).norm().clamp(min=1e-6))
    return [x / length for x in v]
