"""Parameters of a linear transform, scaled so that a step of 1 moves the anatomy by about 1 mm.

    P(x) = c + exp(W) exp(S) (x - c) + t

with W antisymmetric (rotation), S symmetric (log-stretch) and the centre c fixed. The determinant is always
positive: no mirror image can come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

KINDS = ("translation", "rigid", "similarity", "affine")


@dataclass(frozen=True)
class LinearModel:
    """What may move, about which centre.

    kind      translation, rigid, similarity (one scale) or affine
    centre    (d,) world mm
    radius    mm; angles and stretches are multiplied by it to become parameters in mm
    axes      (d, k) orthonormal columns: the directions in which stretch is allowed; fewer than d where the
              data
              do not determine it (a thin slab)
    """

    kind: str
    centre: np.ndarray
    radius: float
    axes: np.ndarray

    @property
    def dimension(self) -> int:
        return len(self.centre)

    @property
    def basis(self) -> tuple[np.ndarray, np.ndarray]:
        """((r, d, d) antisymmetric, (s, d, d) symmetric) generators of rotation and stretch."""
        d = self.dimension
        turns = _antisymmetric(d) if self.kind != "translation" else []
        if self.kind == "similarity":
            stretches = [np.eye(d)]
        elif self.kind == "affine":
            stretches = _symmetric(self.axes)
        else:
            stretches = []
        return np.array(turns).reshape(-1, d, d), np.array(stretches).reshape(-1, d, d)

    @property
    def size(self) -> int:
        """Number of parameters: translation first, then rotation, then stretch."""
        turns, stretches = self.basis
        return self.dimension + len(turns) + len(stretches)

    def zeros(self) -> np.ndarray:
        """Parameters of the identity."""
        return np.zeros(self.size)

    def homogeneous(self, parameters: torch.Tensor) -> torch.Tensor:
        """(size,) float64 -> (d+1, d+1) float64 acting on world columns; differentiable."""
        d = self.dimension
        turns, stretches = (torch.as_tensor(b, dtype=parameters.dtype) for b in self.basis)
        a = torch.eye(d, dtype=parameters.dtype)
        if len(turns):
            a = torch.matrix_exp(
                torch.einsum("k,kij->ij", parameters[d : d + len(turns)] / self.radius, turns)
            )
        if len(stretches):
            log_stretch = torch.einsum("k,kij->ij", parameters[d + len(turns) :] / self.radius, stretches)
            a = a @ torch.matrix_exp(log_stretch)
        c = torch.as_tensor(self.centre, dtype=parameters.dtype)
        shift = c + parameters[:d] - a @ c
        last = torch.zeros(1, d + 1, dtype=parameters.dtype)
        last[0, d] = 1
        return torch.cat([torch.cat([a, shift[:, None]], dim=1), last])

    def stretch_penalty(self, parameters: torch.Tensor) -> torch.Tensor:
        """||S||^2 (Frobenius): 0 for rigid motion, 0.03 for 10 % larger in every direction."""
        turns, stretches = self.basis
        if not len(stretches):
            return parameters.new_zeros(())
        strain = torch.einsum(
            "k,kij->ij",
            parameters[self.dimension + len(turns) :] / self.radius,
            torch.as_tensor(stretches, dtype=parameters.dtype),
        )
        return strain.square().sum()

    def adopt(self, other: LinearModel, parameters: np.ndarray) -> np.ndarray:
        """Parameters of another model with the same centre and radius, as parameters of this larger one."""
        out = self.zeros()
        d, (turns, _) = self.dimension, other.basis
        out[: d + len(turns)] = parameters[: d + len(turns)]
        return out


def _antisymmetric(d: int) -> list[np.ndarray]:
    out = []
    for i in range(d):
        for j in range(i + 1, d):
            m = np.zeros((d, d))
            m[i, j], m[j, i] = -1.0, 1.0
            out.append(m)
    return out


def _symmetric(axes: np.ndarray) -> list[np.ndarray]:
    """Symmetric generators in the span of the given directions, of equal Frobenius norm."""
    columns: Sequence[np.ndarray] = list(axes.T)
    out = []
    for i, a in enumerate(columns):
        for b in columns[i:]:
            m = (np.outer(a, b) + np.outer(b, a)) / 2
            out.append(m / np.linalg.norm(m))
    return out
