"""Bellies: layers of skin, fat and muscle around organs; kidneys and the aorta are layered themselves. In 2-D an
axial slice."""

from __future__ import annotations

import torch

from .anatomy import Anatomy, Tissue
from .canvas import Canvas
from .draws import Draws

SEGMENTS = ("Liver", "Spleen", "Right kidney", "Left kidney", "Stomach", "Aorta", "Spine")
_LIVER, _SPLEEN, _RIGHT, _LEFT, _STOMACH, _AORTA, _SPINE = range(1, 8)
_RIGHT_CORE, _LEFT_CORE, _CONTENT, _CANAL, _SKIN, _FAT, _MUSCLE, _INNER_FAT, _BOWEL = range(8, 17)

_KINDS = (
    Tissue(0.0, 0.2),
    Tissue(0.6, segment=1),
    Tissue(0.64, segment=2),
    Tissue(0.76, segment=3),
    Tissue(0.76, segment=4),
    Tissue(0.5, segment=5),
    Tissue(0.84, 0.3, segment=6),
    Tissue(0.94, segment=7),
    Tissue(0.62, segment=3),
    Tissue(0.62, segment=4),
    Tissue(0.36, segment=5),
    Tissue(0.45, segment=7),
    Tissue(0.5, 0.3),
    Tissue(0.3, 0.5),
    Tissue(0.52),
    Tissue(0.32, 0.5),
    Tissue(0.46),
)

#: label, centre, radii, turn
_PLACES = (
    (_LIVER, (-0.4, -0.05, 0.25), (0.38, 0.42, 0.42), 0.35),
    (_SPLEEN, (0.55, 0.25, 0.3), (0.14, 0.22, 0.28), -0.3),
    (_STOMACH, (0.3, -0.3, 0.2), (0.25, 0.2, 0.3), 0.5),
    (_RIGHT, (-0.34, 0.36, -0.35), (0.14, 0.14, 0.28), 0.2),
    (_LEFT, (0.34, 0.38, -0.25), (0.14, 0.14, 0.28), -0.2),
)
#: how far back the spine lies, relative to the depth of the body
_BACK = 0.66

_CORES = {_RIGHT: (_RIGHT_CORE, 0.55), _LEFT: (_LEFT_CORE, 0.55), _STOMACH: (_CONTENT, 0.72)}


def draw(shape: tuple[int, ...], draws: Draws) -> Anatomy:
    canvas = Canvas(shape, draws, roughness=0.1)
    d = len(shape)
    wide, deep = draws.around(0.9, 0.05), draws.around(0.8, 0.06)
    round_ = (canvas.axis(0) / wide).square() + (canvas.axis(1) / deep).square()
    layers = round_ + 0.4 * canvas.rough[0]
    fat = draws.uniform(0.8, 0.93)
    wall = fat - draws.uniform(0.1, 0.2)
    for label, limit in ((_SKIN, 1.0), (_FAT, 0.96), (_MUSCLE, fat), (_INNER_FAT, wall)):
        canvas.fill(canvas.whole(), layers.expand(shape) < limit, label)
    bowel = canvas.rough[1] * torch.roll(canvas.rough[0], min(shape) // 3, dims=0)
    canvas.fill(canvas.whole(), bowel > 0.2 * canvas.rough[1].var(), _BOWEL, within=(_INNER_FAT,))
    inner = (_INNER_FAT, _BOWEL, _LIVER, _SPLEEN, _STOMACH, _CONTENT)
    for k, (label, centre, radii, turn) in enumerate(_PLACES):
        middle = [c + draws.uniform(-0.05, 0.05) for c in centre[:d]]
        extent = [draws.around(r, 0.15) for r in radii[:d]]
        tilt = turn + draws.uniform(-0.25, 0.25) if d == 3 else 0.0
        canvas.ellipsoid(label, middle, extent, tilt, rough=k, within=inner)
        if label in _CORES:
            core, share = _CORES[label]
            canvas.ellipsoid(core, middle, [share * e for e in extent], tilt, rough=k + 3, within=(label,))
    _along_the_back(canvas, draws, deep)
    # in voxels, from the surface on which the square of the relative radius is `wall`
    half = min(shape) / 2
    distance = (layers.clamp(min=1e-4).sqrt() - wall**0.5) * (min(wide, deep) * half)
    # the spine is no part of what slides
    spine = (0.22 - torch.hypot(canvas.axis(0), canvas.axis(1) - _BACK * deep)) * half
    return Anatomy(canvas.labels, _KINDS, torch.maximum(distance, spine).expand(shape))


def _along_the_back(canvas: Canvas, draws: Draws, deep: float) -> None:
    """Spine with its canal, and aorta: along the body in 3-D, cut across in 2-D."""
    d, size = canvas.dimension, min(canvas.shape)
    back = _BACK * deep

    def rod(label: int, x: float, y: float, radius: float) -> None:
        ends = [[x, y, z][:d] for z in (-1.2, 1.2)]
        canvas.tube(label, ends[0], ends[1], radius * size / 2)

    rod(_SPINE, 0.0, back, draws.around(0.16))
    rod(_CANAL, 0.0, back + 0.1, 0.05)
    rod(_AORTA, draws.uniform(0.04, 0.1), back - 0.26, draws.around(0.07))
