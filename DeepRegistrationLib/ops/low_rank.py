"""Low-rank form of a covariance matrix from a few of its columns.

    G ~= F F^T,   F (M, K) = G[:, P] L^-T,   L L^T = G[P, P]

P are the K points that are picked one after another, each where the part of the diagonal that is not yet explained is
largest (pivoted Cholesky decomposition; a Nystroem approximation with points of its own choice). The matrix is never
formed: K columns and the diagonal suffice. What is left out is positive semidefinite, so the trace of the rest bounds
its every eigenvalue.

Harbrecht, Peters, Schneider: On the low-rank approximation by the pivoted Cholesky decomposition, Applied Numerical
Mathematics 62(4), 2012, doi:10.1016/j.apnum.2011.10.001.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

#: columns that memory is set aside for at first
_FIRST = 64


def pivoted_cholesky(
    diagonal: torch.Tensor,
    columns: Callable[[torch.Tensor], torch.Tensor],
    tolerance: float,
    rank: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """F (M, K) and the numbers (K,) of the picked points, with trace(G - F F^T) <= tolerance * trace(G).

    diagonal  (M,) of G, positive semidefinite
    columns   numbers (k,) -> G[:, numbers] (M, k)
    rank      K at most; then the tolerance may be missed
    """
    size = len(diagonal)
    most = size if rank is None else min(rank, size)
    left = diagonal.clone()
    enough, least = tolerance * float(diagonal.sum()), 1e-13 * float(diagonal.max())
    # rows are the columns of F: appending to them keeps memory in one piece
    rows = diagonal.new_empty((min(_FIRST, most), size))
    picked: list[int] = []
    while len(picked) < most:
        k = len(picked)
        pivot = int(left.argmax())
        height = float(left[pivot])
        if height <= least or float(left.clamp_min(0).sum()) <= enough:
            break
        if k == len(rows):
            rows = torch.cat([rows, rows.new_empty((min(k, most - k), size))])
        column = columns(torch.tensor([pivot], device=diagonal.device))[:, 0]
        row = (column - rows[:k, pivot] @ rows[:k]) / height**0.5
        row[picked] = 0.0  # explained already; only rounding would stand there
        rows[k] = row
        left -= row.square()
        left[pivot] = 0.0
        picked.append(pivot)
    pivots = torch.tensor(picked, dtype=torch.long, device=diagonal.device)
    return rows[: len(picked)].T.contiguous(), pivots
