"""Chests: wall with ribs, two lungs with vessel trees, heart, liver under the diaphragm, spine. In 2-D a coronal
slice, so that breathing goes along the last axis."""

from __future__ import annotations

import math

import torch

from .anatomy import Anatomy, Tissue
from .canvas import Canvas
from .draws import Draws

SEGMENTS = ("Left lung", "Right lung", "Heart", "Liver", "Spine")
_LEFT, _RIGHT, _HEART, _LIVER, _SPINE, _LEFT_VESSEL, _RIGHT_VESSEL, _WALL, _FAT, _RIB, _SOFT = range(1, 12)

_KINDS = (
    Tissue(0.0, 0.2),
    Tissue(0.14, 0.6, 1),
    Tissue(0.14, 0.6, 2),
    Tissue(0.62, 0.5, 3),
    Tissue(0.66, 0.7, 4),
    Tissue(0.9, 1.0, 5),
    Tissue(0.55, 0.2, 1),
    Tissue(0.55, 0.2, 2),
    Tissue(0.57, 0.7),
    Tissue(0.4, 0.5),
    Tissue(0.92, 0.5),
    Tissue(0.5, 0.6),
)
#: forks from the hilum to the pleura, by dimension; a slice is full sooner
_GENERATIONS = {2: 4, 3: 5}
_ROOTS = 5


def draw(shape: tuple[int, ...], draws: Draws) -> Anatomy:
    canvas = Canvas(shape, draws, roughness=0.06)
    d = len(shape)
    flat = d == 2
    x, z = canvas.axis(0), canvas.axis(d - 1)
    y = torch.zeros((), device=draws.device) if flat else canvas.axis(1)
    wide, deep, top = draws.around(0.74, 0.05), draws.around(0.64, 0.05), draws.uniform(0.0, 0.2)
    across = (x / wide).square() + (y / deep).square()
    # a tube below, a dome above
    cage = (across + ((z - top).clamp(min=0) / draws.uniform(0.6, 0.75)).square()).clamp(min=1e-4).sqrt()
    cage = cage + 0.3 * canvas.rough[0]
    body = (x / (wide + 0.2)).square() + (y / (deep + 0.2)).square() + 0.3 * canvas.rough[1]
    whole = canvas.whole()
    canvas.fill(whole, body < 1, _FAT)
    canvas.fill(whole, (body < 0.92) & (cage < 1.22), _WALL)
    slope, pitch = draws.uniform(0.2, 0.5), draws.uniform(0.18, 0.24)
    ribs = torch.sin((z + slope * y) * (2 * math.pi / pitch)) > 0.25
    canvas.fill(whole, (cage > 1.05) & (cage < 1.13) & ribs & (body < 0.9), _RIB)
    canvas.fill(whole, cage < 1, _SOFT)
    dome = draws.uniform(-0.5, -0.25) - 0.5 * ((x.abs() - 0.4).square() / 0.5 + (y + 0.05).square() / 0.6)
    dome = dome + 0.05 * torch.sigmoid(-8 * x) + 0.5 * canvas.rough[1]
    canvas.fill(whole, (cage < 0.97) & (z < dome - 0.02) & (x < draws.uniform(0.05, 0.25)), _LIVER)
    middle = 0.13 + 0.06 * torch.exp(-((z - 0.1) / 0.3).square()) + 0.5 * canvas.rough[1]
    lung = (cage < 0.96) & (z > dome + 0.02)
    canvas.fill(whole, lung & (x > middle), _LEFT)
    canvas.fill(whole, lung & (x < -middle), _RIGHT)
    for side, tissue, vessel in ((1, _LEFT, _LEFT_VESSEL), (-1, _RIGHT, _RIGHT_VESSEL)):
        _vessels(canvas, draws, side, tissue, vessel)
    heart = [draws.uniform(0.06, 0.16), -0.2, draws.uniform(-0.35, -0.2)]
    radii = [draws.around(0.27), draws.around(0.26), draws.around(0.26)]
    if flat:
        del heart[1], radii[1]
    canvas.ellipsoid(_HEART, heart, radii, -0.5)
    half, back = min(shape) / 2, 0.97 * deep
    ends = [[0.0, v] if flat else [0.0, back, v] for v in (-1.2, 1.2)]
    canvas.tube(_SPINE, ends[0], ends[1], (0.05 if flat else 0.14) * half)
    wall = (cage - 1) * (min(wide, deep) * half)
    if not flat:
        # the spine is no part of what slides
        wall = torch.maximum(wall, (0.18 - torch.hypot(x, y - back)) * half)
    return Anatomy(canvas.labels, _KINDS, wall.expand(shape))


def _vessels(canvas: Canvas, draws: Draws, side: int, lung: int, vessel: int) -> None:
    """Trees that grow from the hilum and fork; only what lies in the lung is painted."""
    d = canvas.dimension
    tips, pieces = [], []
    for k in range(_ROOTS):
        angle = math.pi * (k + draws.uniform(0.1, 0.9)) / _ROOTS - math.pi / 2
        heading = [side * math.cos(angle) * 0.9, draws.uniform(-0.6, 0.6), math.sin(angle)]
        start = [side * 0.14, 0.0, draws.uniform(-0.05, 0.1)]
        tips.append((_taken(start, d), _unit(_taken(heading, d)), draws.uniform(0.16, 0.26), 0.02 * min(canvas.shape)))
    for _ in range(_GENERATIONS[d]):
        grown = []
        for start, heading, length, radius in tips:
            end = [p + length * h for p, h in zip(start, heading, strict=True)]
            pieces.append((start, end, radius))
            if max(abs(p) for p in end) > 0.95:
                continue
            turn = draws.normal(d).tolist()
            for sign, share in ((1.0, draws.uniform(0.3, 0.6)), (-1.0, draws.uniform(0.5, 0.9))):
                branch = _unit([h + sign * share * t for h, t in zip(heading, turn, strict=True)])
                grown.append((end, branch, length * draws.uniform(0.7, 0.9), radius * draws.uniform(0.65, 0.85)))
        tips = grown
    canvas.tubes(vessel, pieces, within=(lung, vessel))


def _taken(v: list[float], d: int) -> list[float]:
    return v if d == 3 else [v[0], v[2]]


def _unit(v: list[float]) -> list[float]:
    length = max(math.sqrt(sum(x * x for x in v)), 1e-6)
    return [x / length for x in v]
