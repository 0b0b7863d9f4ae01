"""Jacobian determinant of a sampled displacement field."""

from __future__ import annotations

import torch

from ..core.grid import Grid
from ..core.sampling import BLOCK


def determinant(displacement: torch.Tensor, grid: Grid) -> torch.Tensor:
    """det(I + du/dx) in physical space at the voxel centres of `grid`.

    displacement  (d, [Z,] Y, X) mm along world axes
    returns       ([Z,] Y, X), type of `displacement`

    Central differences inside, one-sided at the border; an axis of one voxel has derivative 0.
    """
    parts = []
    last = grid.size[-1]
    for part, _ in grid.blocks(BLOCK):
        # one more slice at each side for the differences, cut off again
        start, stop = max(0, part.start - 1), min(last, part.stop + 1)
        piece = _determinant(displacement[:, start:stop], grid)
        parts.append(piece[part.start - start : part.stop - start])
    return torch.cat(parts)


def _determinant(displacement: torch.Tensor, grid: Grid) -> torch.Tensor:
    d = grid.dimension
    inverse = grid.world_to_index[:d, :d]  # d index / d world
    by_index = [_derivative(displacement, axis=displacement.dim() - 1 - k) for k in range(d)]
    rows = []
    for c in range(d):
        row = []
        for w in range(d):
            g = torch.full_like(by_index[0][c], 1.0 if c == w else 0.0)
            for k in range(d):
                if inverse[k, w] != 0:
                    g = g + float(inverse[k, w]) * by_index[k][c]
            row.append(g)
        rows.append(row)
    if d == 2:
        return rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    (a, b, c3), (e, f, g3), (h, i, j) = rows
    return a * (f * j - g3 * i) - b * (e * j - g3 * h) + c3 * (e * i - f * h)


def _derivative(u: torch.Tensor, axis: int) -> torch.Tensor:
    n = u.shape[axis]
    out = torch.zeros_like(u)
    if n < 2:
        return out
    if n > 2:
        inner = (u.narrow(axis, 2, n - 2) - u.narrow(axis, 0, n - 2)) / 2
        out.narrow(axis, 1, n - 2).copy_(inner)
    out.narrow(axis, 0, 1).copy_(u.narrow(axis, 1, 1) - u.narrow(axis, 0, 1))
    out.narrow(axis, n - 1, 1).copy_(u.narrow(axis, n - 1, 1) - u.narrow(axis, n - 2, 1))
    return out
