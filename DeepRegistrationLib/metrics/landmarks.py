"""Target registration error (TRE): how far moved fixed landmarks end from their moving partners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.points import PointSet
from ..core.transform import Transform


@dataclass(frozen=True)
class LandmarkErrors:
    """mm, one number a landmark: before = |x - y|, after = |T(x) - y|; and where they lie, (N, d) LPS mm:
    x = `fixed`, y = `moving`, T(x) = `moved`."""

    names: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]
    moved: NDArray[np.float64]


def landmark_errors(transform: Transform, fixed: PointSet, moving: PointSet) -> LandmarkErrors:
    """TRE of fixed landmarks x (N, d) against moving landmarks y (N, d), row by row, LPS mm.

    Raises InputError where the numbers of landmarks differ.
    """
    if len(fixed) != len(moving):
        raise InputError(
            f"{len(fixed)} fixed but {len(moving)} moving landmarks were given; each needs its partner."
        )
    x, y = fixed.points.cpu(), moving.points.cpu()
    moved = transform.apply(x).cpu()
    names = tuple(fixed.names) or tuple(moving.names) or tuple(str(k + 1) for k in range(len(fixed)))
    return LandmarkErrors(
        names,
        before=(x - y).norm(dim=1).numpy(),
        after=(moved - y).norm(dim=1).numpy(),
        fixed=x.numpy(),
        moving=y.numpy(),
        moved=moved.numpy(),
    )
