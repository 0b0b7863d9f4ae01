"""Uniform cubic B-splines on a lattice of knots, evaluated at the crossings of given positions along each axis.

    u(x) = sum_j  beta3(x / spacing - j) c_j        (tensor product over the axes)

Every evaluation is one small dense matrix product an axis, so that any phase and any spacing cost the same and
gradients come for free. Rueckert et al., IEEE TMI 1999, doi:10.1109/42.796284.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def knot_count(length: int, spacing: float) -> int:
    """Knots needed so that positions 0..length-1 are covered by the full support of the spline.

    Knot k lies at (k - 1) * spacing voxels: the first one spacing before voxel 0.
    """
    return int((length - 1) / spacing) + 4


def basis(positions: torch.Tensor, length: int, spacing: float) -> torch.Tensor:
    """(P, K) weights of the K knots of an axis of `length` voxels at `positions` (voxels, within 0..length-1)."""
    t = positions.to(torch.float32) / spacing + 1
    first = torch.floor(t)
    f = t - first
    weights = torch.stack(
        [
            (1 - f) ** 3 / 6,
            (3 * f**3 - 6 * f**2 + 4) / 6,
            (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
            f**3 / 6,
        ],
        dim=1,
    )
    out = torch.zeros(len(t), knot_count(length, spacing), device=t.device)
    columns = first.long()[:, None] - 1 + torch.arange(4, device=t.device)
    # a position half a voxel outside may ask for a knot beyond the lattice: the edge knot stands in
    return out.scatter_add_(1, columns.clamp(0, out.shape[1] - 1), weights)


def evaluate(coefficients: torch.Tensor, bases: Sequence[torch.Tensor]) -> torch.Tensor:
    """coefficients (C, [Kz,] Ky, Kx), bases of the tensor axes ([Pz x Kz,] Py x Ky, Px x Kx) -> (C, [Pz,] Py, Px)."""
    # the last axis first keeps the intermediate results small where positions outnumber knots
    values = coefficients
    for axis, matrix in enumerate(bases):
        values = torch.movedim(torch.movedim(values, axis + 1, -1) @ matrix.T, -1, axis + 1)
    return values


def fit(values: torch.Tensor, bases: Sequence[torch.Tensor], stiffness: float = 1e-3) -> torch.Tensor:
    """Coefficients whose spline is close to `values` at the crossings of the positions the bases were made for.

    Least squares with a small weight on differences of neighbouring coefficients, which settles the knots outside
    the image.
    """
    solvers = []
    for matrix in bases:
        # small, and not every device knows float64
        b = matrix.to("cpu", torch.float64)
        rough = torch.eye(b.shape[1], dtype=b.dtype).diff(dim=0)
        solvers.append(torch.linalg.solve(b.T @ b + stiffness * rough.T @ rough, b.T).to(matrix))
    return evaluate(values, solvers)


def linear_basis(positions: torch.Tensor, count: int, spacing: float) -> torch.Tensor:
    """(P, count) weights of linear interpolation between nodes at 0, spacing, 2 spacing ...; edge values held."""
    t = (positions.to(torch.float32) / spacing).clamp(0, count - 1)
    first = torch.floor(t).clamp(max=max(count - 2, 0))
    f = t - first
    out = torch.zeros(len(t), count, device=t.device)
    out.scatter_add_(1, first.long()[:, None], (1 - f)[:, None])
    return out.scatter_add_(1, (first.long() + 1).clamp(max=count - 1)[:, None], f[:, None])
