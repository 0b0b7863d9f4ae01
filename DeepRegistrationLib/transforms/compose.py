"""Putting transforms one after another, and sampling the outcome."""

from __future__ import annotations

from ..core.grid import Grid
from ..core.transform import Transform
from .affine import Affine
from .composition import Composition
from .displacement import DisplacementField


def compose(*parts: Transform) -> Transform:
    """The first part acts first; neighbouring linear parts are multiplied out, a single part stays bare."""
    flat: list[Transform] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Composition) else (part,):
            if flat and isinstance(piece, Affine) and isinstance(flat[-1], Affine):
                flat[-1] = piece.after(flat[-1])
            else:
                flat.append(piece)
    return flat[0] if len(flat) == 1 else Composition(flat)


def as_displacement_field(transform: Transform, grid: Grid) -> DisplacementField:
    """The transform sampled on `grid`; exact at its voxel centres."""
    return DisplacementField(transform.displacement(grid), grid)
