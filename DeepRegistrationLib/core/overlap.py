"""Whether two fields of view share any space."""

from __future__ import annotations

import numpy as np
import torch

from .grid import Grid
from .transform import Transform

#: points an axis of the lattice laid over a field of view
_LATTICE = 24
#: voxels
_EDGE = 1e-3


def fields_overlap(fixed: Grid, moving: Grid, transform: Transform | None = None) -> bool:
    """True where some x of the fixed field of view has T(x) in the moving one (T the identity where not
    given).

    Looked for on a lattice of 24^d points over the fixed field of view and, for the identity, also over the
    moving one, so that a small image inside a large one is found from either side.
    """
    points = _lattice(fixed)
    if transform is not None:
        points = transform.apply(torch.as_tensor(points)).cpu().numpy()
        # a small moving field of view can hide between lattice points: its own spacing in fixed space is
        # unknown, so widen it by one step of the lattice
        step = max(e / (_LATTICE - 1) for e in fixed.extent)
        return _contains(moving, points, step)
    return _contains(moving, points) or _contains(fixed, _lattice(moving))


def _lattice(grid: Grid) -> np.ndarray:
    # a little inside the edges: on them a displacement field is no longer defined
    axes = [np.linspace(_EDGE - 0.5, n - 0.5 - _EDGE, min(_LATTICE, 2 * n)) for n in grid.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, grid.dimension)
    return grid.world_from_index(index)


def _contains(grid: Grid, points: np.ndarray, margin: float = 0.0) -> bool:
    index = grid.index_from_world(points)
    slack = np.array([margin / s for s in grid.spacing])
    inside = (index > -0.5 - slack) & (index < np.array(grid.size) - 0.5 + slack)
    return bool(inside.all(axis=-1).any())
