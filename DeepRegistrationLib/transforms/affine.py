"""T(x) = A x + b."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core.errors import InputError
from ..core.grid import Grid, apply_matrix_torch
from ..core.progress import Tick, no_tick
from ..core.transform import Inverse, Transform


class Affine(Transform):
    """T(x) = matrix @ x + translation, LPS mm; float64, kept on the CPU and moved to wherever points are.

    matrix       (d, d)
    translation  (d,) mm
    """

    def __init__(self, matrix: Any, translation: Any) -> None:
        self.matrix = torch.as_tensor(np.asarray(matrix, dtype=np.float64))
        self.translation = torch.as_tensor(np.asarray(translation, dtype=np.float64))
        d = len(self.translation)
        if self.matrix.shape != (d, d) or d not in (2, 3):
            raise InputError(
                f"An affine transform needs a dxd matrix and d translations, d = 2 or 3, but "
                f"{tuple(self.matrix.shape)} and {d} came."
            )
        if not bool(torch.isfinite(self.matrix).all() and torch.isfinite(self.translation).all()):
            raise InputError(
                "The affine transform holds a number that is not finite; correct the transform file."
            )

    @classmethod
    def identity(cls, dimension: int) -> Affine:
        return cls(np.eye(dimension), np.zeros(dimension))

    @classmethod
    def from_translation(cls, translation: Any) -> Affine:
        return cls(np.eye(len(translation)), translation)

    @classmethod
    def about(cls, centre: Any, matrix: Any, translation: Any) -> Affine:
        """T(x) = A (x - c) + c + t, the form ITK stores."""
        a, c, t = (np.asarray(v, dtype=np.float64) for v in (matrix, centre, translation))
        return cls(a, c + t - a @ c)

    @classmethod
    def from_homogeneous(cls, matrix: Any) -> Affine:
        """From (d+1, d+1) acting on column vectors."""
        m = np.asarray(matrix, dtype=np.float64)
        return cls(m[:-1, :-1], m[:-1, -1])

    @property
    def homogeneous(self) -> np.ndarray:
        """(d+1, d+1) acting on column vectors, float64."""
        m = np.eye(self.dimension + 1)
        m[:-1, :-1] = self.matrix.numpy()
        m[:-1, -1] = self.translation.numpy()
        return m

    @property
    def dimension(self) -> int:
        return int(self.translation.shape[0])

    @property
    def is_linear(self) -> bool:
        return True

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        return apply_matrix_torch(self.homogeneous, points)

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        a = self.matrix.numpy()
        if abs(np.linalg.det(a)) < 1e-12:
            raise InputError("The affine transform flattens space (determinant 0) and has no inverse.")
        inv = np.linalg.inv(a)
        return Inverse(Affine(inv, -inv @ self.translation.numpy()), 0.0)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return torch.full(grid.shape, float(torch.linalg.det(self.matrix)), dtype=torch.float32)

    def after(self, first: Affine) -> Affine:
        """x -> self(first(x))."""
        return Affine.from_homogeneous(self.homogeneous @ first.homogeneous)

    def to(self, device: torch.device | str) -> Affine:
        return self

    def __repr__(self) -> str:
        return f"Affine(matrix={self.matrix.tolist()}, translation={self.translation.tolist()})"
