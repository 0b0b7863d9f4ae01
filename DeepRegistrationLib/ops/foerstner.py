"""Foerstner's interest operator: points that can be found again, for the image changes around them in every direction.

    D(x) = 1 / trace(A(x)^-1),   A = G_sigma * (grad F grad F^T),   grad F per mm

D is the harmonic mean of the eigenvalues of A divided by their number: large at corners, forks and blobs, near 0 along
edges, tubes and in flat ground. Keypoints are its largest local maxima. Lengths are mm, so that the same points come
out whatever the voxels' sizes are.

Ruehaak et al.: Estimation of large motion in lung CT by integrating regularized keypoint correspondences into dense
deformable registration, IEEE TMI 36(8), 2017, doi:10.1109/TMI.2017.2691259. Differs from the paper: a wanted number of
points instead of a threshold, spread by the largest radius of suppression that leaves as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from ..core.progress import Tick, no_tick
from .box import box_maximum
from .gradients import axis_derivative
from .smoothing import gaussian_smooth

#: mm, width of the window A is averaged over
SIGMA = 2.5

#: a maximum below this share of the largest one is rounding in flat ground, not structure
_FAINT = 1e-9

#: of a point's nearest neighbours so many are asked first whether one of them comes before it; then, of those points
#: that have none, so many more
_NEIGHBOURS = (16, 128)
#: points whose distances are held at once
_BLOCK = 64


def foerstner_response(
    image: torch.Tensor, spacing: Sequence[float], sigma: float = SIGMA, tick: Tick = no_tick
) -> torch.Tensor:
    """D of `image` ([Z,] Y, X), same shape, float32, not negative.

    spacing  mm along x, y[, z]
    sigma    mm
    """
    d = image.dim()
    if len(spacing) != d:
        raise ValueError(f"{len(spacing)} spacings do not fit an image of {d} axes")
    image = image.to(torch.float32)
    widths = [sigma / float(s) for s in spacing]
    slopes = [axis_derivative(image, d - 1 - k) / float(spacing[k]) for k in range(d)]
    tensor = {
        (i, j): gaussian_smooth((slopes[i] * slopes[j])[None], widths, tick)[0] for i in range(d) for j in range(i, d)
    }
    del slopes
    determinant, cofactors = _invariants(tensor, d)
    # where A is singular, so is its inverse: D is 0
    quotient = determinant / cofactors.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.where(cofactors > 0, quotient, torch.zeros_like(quotient)).clamp_min_(0)


def local_maxima(
    response: torch.Tensor, radius: Sequence[int], mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Index coordinates (N, d) float32 x, y[, z] of what is largest within its box, and the values (N,), largest first.

    response  ([Z,] Y, X), not negative; nothing is found where it is 0
    radius    of the box, voxels along x, y[, z]
    mask      ([Z,] Y, X); only where it is over 0.5. What lies outside suppresses nothing
    Of equal values within one box the first in memory counts.
    """
    inside = response if mask is None else torch.where(mask > 0.5, response, torch.zeros_like(response))
    highest = box_maximum(inside[None], [int(r) for r in reversed(radius)])[0]
    least = _FAINT * float(inside.max()) if inside.numel() else 0.0
    found = ((inside == highest) & (inside > least)).nonzero()
    values = inside[tuple(found.unbind(1))]
    order = torch.argsort(values, descending=True, stable=True)
    points = found[order].flip(1)
    keep = _without_ties(points, radius)
    return points[keep].to(torch.float32), values[order][keep]


def foerstner_keypoints(
    image: torch.Tensor,
    spacing: Sequence[float],
    wanted: int,
    *,
    mask: torch.Tensor | None = None,
    sigma: float = SIGMA,
    radius: float | None = None,
    tick: Tick = no_tick,
) -> torch.Tensor:
    """Index coordinates (N, d) float32 x, y[, z] of at most `wanted` keypoints, the most distinct first.

    image    ([Z,] Y, X)
    spacing  mm along x, y[, z]
    mask     ([Z,] Y, X); points lie where it is over 0.5
    radius   mm, of the suppression: no point is nearer to a more distinct one. None takes the largest that leaves as
             many points as are wanted, so that they spread over the mask

    Fewer where the image has no more to offer; none (0, d) in a constant image.
    """
    response = foerstner_response(image, spacing, sigma, tick)
    tick()
    points, _ = local_maxima(response, (1,) * image.dim(), mask)
    tick()
    free = distance_to_stronger(points * torch.tensor(spacing, dtype=points.dtype, device=points.device), tick)
    if radius is not None:
        return points[free >= radius][:wanted]
    chosen = torch.argsort(free, descending=True, stable=True)[:wanted]
    return points[chosen.sort().values]


def distance_to_stronger(points: torch.Tensor, tick: Tick = no_tick) -> torch.Tensor:
    """(N,) from each point (N, d) to the nearest of those that come before it; infinite for the first.

    The k points for which it is largest are as far apart as the strongest of a neighbourhood can be (adaptive
    non-maximal suppression; Brown, Szeliski, Winder, CVPR 2005, doi:10.1109/CVPR.2005.235).
    """
    places = points.cpu().double().numpy()
    out = np.full(len(places), np.inf)
    left = np.arange(1, len(places))
    tree = cKDTree(places)
    for count in _NEIGHBOURS:
        tick()
        if len(left) == 0 or count >= len(places):
            break
        apart, which = tree.query(places[left], k=count)
        stronger = which < left[:, None]
        first = stronger.argmax(axis=1)
        found = stronger[np.arange(len(left)), first]
        out[left[found]] = apart[found, first[found]]
        left = left[~found]
    # few are left, unless there are few points: those that are strong
    for start in range(0, len(left), _BLOCK):
        tick()
        rows = left[start : start + _BLOCK]
        apart = cdist(places[rows], places[: rows[-1]])
        apart[np.arange(rows[-1]) >= rows[:, None]] = np.inf
        out[rows] = apart.min(axis=1)
    return torch.from_numpy(out).to(points)


def _invariants(tensor: dict[tuple[int, int], torch.Tensor], d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """det A and the sum of the principal minors one size smaller: 1 / trace(A^-1) is their quotient."""
    if d == 2:
        xx, xy, yy = tensor[0, 0], tensor[0, 1], tensor[1, 1]
        return xx * yy - xy.square(), xx + yy
    xx, xy, xz = tensor[0, 0], tensor[0, 1], tensor[0, 2]
    yy, yz, zz = tensor[1, 1], tensor[1, 2], tensor[2, 2]
    of_x, of_y, of_z = yy * zz - yz.square(), xx * zz - xz.square(), xx * yy - xy.square()
    determinant = xx * of_x - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return determinant, of_x + of_y + of_z


def _without_ties(points: torch.Tensor, radius: Sequence[int]) -> torch.Tensor:
    """(N,) numbers of the points that remain when of two within one box, whose values are equal, the later one goes."""
    scaled = points.cpu().numpy() / np.array([max(1, int(r)) for r in radius], dtype=np.float64)
    keep = np.ones(len(points), dtype=bool)
    if len(points):
        for i, j in sorted(map(sorted, cKDTree(scaled).query_pairs(1.0 + 1e-9, p=np.inf))):
            if keep[i]:
                keep[j] = False
    return torch.from_numpy(np.flatnonzero(keep)).to(points.device)
