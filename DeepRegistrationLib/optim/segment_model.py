"""What the point drift needs of pairs of segments: surface points, coherence by contact, label transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.progress import Progress
from ..ops.surface_points import Surface, contact_share, spread_points
from .surface_pairs import SegmentPair

#: share of the surface that touches: up to the first segments are independent, from the second on they move as one
_CONTACT = (0.1, 0.5)


@dataclass(frozen=True)
class Samples:
    """Points (N, d) LPS mm, float64, of all segments of one side, and the number of each one's segment (N,)."""

    points: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device | str) -> Samples:
        return Samples(self.points.to(device), self.labels.to(device))


def shared_out(surfaces: Sequence[Surface], mean: int) -> list[int]:
    """How many points each surface gets, `mean` on average: as its area, but none fewer than a quarter of `mean`.

    So the points lie as near to each other on a large segment as on a small one.
    """
    areas = np.array([s.areas.sum() for s in surfaces])
    least = mean / 4
    counts = least + (mean - least) * len(areas) * areas / areas.sum()
    return [round(n) for n in counts.tolist()]


def samples(
    surfaces: Sequence[Surface], counts: Sequence[int], seed: int, progress: Progress | None = None
) -> Samples:
    """So many evenly spread points of each surface (all, where it has fewer)."""
    progress = progress or Progress()
    points, labels = [], []
    for k, surface in enumerate(surfaces):
        progress.update(k / len(surfaces), "Choosing surface points")
        chosen = surface.points[spread_points(surface, counts[k], seed)]
        points.append(chosen)
        labels.append(np.full(len(chosen), k))
    return Samples(torch.as_tensor(np.concatenate(points)), torch.as_tensor(np.concatenate(labels)))


def contact_coherence(pairs: Sequence[SegmentPair], reach: float) -> NDArray[np.float64]:
    """(L, L) by the share c of the smaller surface of two fixed segments that lies within `reach` mm of the other
    segment: 0 up to a tenth, 1 from a half on, a line between; 1 on the diagonal."""
    surfaces = [p.fixed for p in pairs]
    boxes = [(s.points.min(axis=0) - reach, s.points.max(axis=0) + reach) for s in surfaces]
    matrix = np.eye(len(pairs))
    for a in range(len(pairs)):
        for b in range(a):
            if all((boxes[a][0] <= boxes[b][1]) & (boxes[b][0] <= boxes[a][1])):
                share = contact_share(surfaces[a], surfaces[b], reach)
                matrix[a, b] = matrix[b, a] = np.interp(share, _CONTACT, (0.0, 1.0))
    return matrix


def label_transition(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """u[l, k]: probability that a point labelled k in one scan makes a point labelled l in the other.

        u[l, k] = sum_g c(g | k) c(l | g)

    confusion  (L, L) off the diagonal: the probability c(l | g) that a point of segment g is labelled l; the same both
               ways. The diagonal is what is left of each row.
    """
    c = confusion * (1 - np.eye(len(confusion)))
    c += np.diag(np.maximum(1 - c.sum(axis=1), 0.0))
    c /= c.sum(axis=1, keepdims=True)
    true = c / c.sum(axis=0)  # c(g | k) with every g as frequent
    u: NDArray[np.float64] = c.T @ true
    return u
