"""Soft Dice of segments."""

from __future__ import annotations

import torch

#: voxels of a segment that make one that is hardly there count for little
_FEW = 1.0


def dice_distance(
    fixed: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - mean over segments and pairs of 2 sum(w f m) / (sum(w f^2) + sum(w m^2)); in [0, 1].

    fixed, moved  (B, S, [Z,] Y, X) shares 0..1 of each segment
    weight        (B, 1, [Z,] Y, X) or None for 1 everywhere

    Segments that are not in the fixed scan's part do not count; 0 where none is. Milletari et al., 3DV 2016,
    doi:10.1109/3DV.2016.79 (squares in the denominator).
    """
    w = 1.0 if weight is None else weight
    both, of_fixed, of_moved = ((w * x).flatten(2).sum(dim=2) for x in (fixed * moved, fixed**2, moved**2))
    there = (of_fixed > _FEW).to(fixed.dtype)
    dice = 2 * both / (of_fixed + of_moved).clamp_min(_FEW)
    return ((1 - dice) * there).sum() / there.sum().clamp_min(1)
