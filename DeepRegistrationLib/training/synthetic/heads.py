"""Heads: scalp, skull, folded grey matter around white matter, ventricles, deep nuclei, cerebellum. In 2-D an axial
slice, which has the cerebellum at its back."""

from __future__ import annotations

from collections.abc import Callable

from .anatomy import Anatomy, Tissue
from .canvas import Canvas
from .draws import Draws
from .smooth_noise import smooth_noise

SEGMENTS = ("Grey matter", "White matter", "Ventricles", "Deep nuclei", "Cerebellum")
_GREY, _WHITE, _VENTRICLES, _NUCLEI, _CEREBELLUM, _CORE, _SCALP, _SKULL, _FLUID = range(1, 10)

_KINDS = (
    Tissue(0.0, 0.2),
    Tissue(0.55, segment=1),
    Tissue(0.78, segment=2),
    Tissue(0.2, 0.2, segment=3),
    Tissue(0.64, segment=4),
    Tissue(0.58, segment=5),
    Tissue(0.74, segment=5),
    Tissue(0.9),
    Tissue(0.1, 0.3),
    Tissue(0.22, 0.2),
)


def draw(shape: tuple[int, ...], draws: Draws) -> Anatomy:
    canvas = Canvas(shape, draws, roughness=0.06)
    d = len(shape)
    wide, long, high = draws.around(0.76, 0.06), draws.around(0.86, 0.06), draws.around(0.84, 0.06)

    def at(x: float, y: float, z: float) -> list[float]:
        """A place or radii in units of the skull's radii."""
        return [x * wide, y * long, z * high][:d]

    for label, scale in ((_SCALP, 1.1), (_SKULL, 1.04), (_FLUID, draws.uniform(0.93, 0.96))):
        canvas.ellipsoid(label, at(0, 0, 0), at(scale, scale, scale), rough=0)
    folds = smooth_noise(draws, 1, shape, max(2.0, min(shape) / draws.uniform(15, 22)))[0]
    box, brain = canvas.ellipsoid_value(at(0, -0.02, 0.04), at(0.88, 0.88, 0.86))
    brain = brain + canvas.rough[0][box]
    fold = folds[box]
    canvas.fill(box, brain + 0.1 * fold.clamp(min=0) < 1, _GREY)
    canvas.fill(box, brain + draws.uniform(0.16, 0.28) * fold + draws.uniform(0.24, 0.34) < 1, _WHITE)
    # the fissure between the hemispheres
    fissure = (canvas.axis(0, box).abs() < 0.018 + 0.004 * fold) & (brain > draws.uniform(0.4, 0.5))
    canvas.fill(box, fissure, _FLUID, within=(_GREY, _WHITE))
    _deep(canvas, draws, at)
    back = draws.around(0.55, 0.05)
    centre, radii = at(0, back, -0.5 if d == 3 else 0), at(0.5, 0.26, 0.26)
    canvas.ellipsoid(_CEREBELLUM, centre, radii, rough=3)
    canvas.ellipsoid(_CORE, centre, [0.62 * r for r in radii], rough=5)
    return Anatomy(canvas.labels, _KINDS)


def _deep(canvas: Canvas, draws: Draws, at: Callable[[float, float, float], list[float]]) -> None:
    """Nuclei and ventricles; ventricles are wide in some heads and narrow in others."""
    width = draws.uniform(0.6, 1.7)
    for side in (-1, 1):
        canvas.ellipsoid(_NUCLEI, at(side * draws.around(0.27), draws.uniform(-0.05, 0.05), 0), at(0.13, 0.24, 0.17))
        canvas.ellipsoid(_NUCLEI, at(side * draws.around(0.15), 0.16, 0), at(0.1, 0.15, 0.12), rough=2)
        horn = at(side * 0.12, draws.uniform(-0.2, -0.1), 0.12)
        canvas.ellipsoid(_VENTRICLES, horn, at(0.075 * width, draws.around(0.3), 0.11 * width), rough=4)
        tail = at(side * (0.18 + 0.05 * width), 0.25, 0.02)
        canvas.ellipsoid(_VENTRICLES, tail, at(0.08 * width, draws.around(0.2), 0.1 * width), rough=4)
    canvas.ellipsoid(_VENTRICLES, at(0, 0.08, -0.04), at(0.03 * (1 + width), 0.17, 0.12), rough=None)
