"""How unlike the patches around keypoints are, for every displacement of a window.

    D[n, delta] = mean_p |F(x_n + p) - M(x_n + c_n + delta + p)|^2,     p in {-r..r}^d, delta in {-h..h}^d

F and M are feature images, c_n where the window of keypoint n has its middle. The square is multiplied out: the
products of every patch vector with every vector of the block around the window are one matrix product, and the sum
over a patch is a sum of shifted views of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch

from ..ops.correlation import displacement_window

#: numbers that one block of keypoints works on at once
_AT_ONCE = 30_000_000


def patch_costs(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    keypoints: torch.Tensor,
    centres: torch.Tensor,
    half_width: int,
    patch: int = 1,
    known: torch.Tensor | None = None,
    tick: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """D (N, K), K = (2 half_width + 1)^d displacements in the order of `window_steps`.

    fixed, moving  ([Z,] Y, X, C), the vector of a voxel in one piece of memory; the edge is held outside
    keypoints      (N, d) int64 voxels x, y[, z];  centres (N, d) int64 voxels
    known          ([Z,] Y, X) 0..1: a displacement to where `moving` has nothing costs what is typical of the keypoint
    tick           called now and then; may raise Cancelled
    """
    d = fixed.dim() - 1
    wide = 2 * (half_width + patch) + 1
    vectors, block = (2 * patch + 1) ** d, wide**d
    out = fixed.new_empty((len(keypoints), (2 * half_width + 1) ** d))
    at_once = max(1, _AT_ONCE // (block * (vectors + fixed.shape[-1])))
    patch_steps = window_steps(patch, d, fixed.device)
    block_steps = window_steps(half_width + patch, d, fixed.device)
    for part in torch.arange(len(keypoints), device=keypoints.device).split(at_once):
        tick()
        x, c = keypoints[part, None], centres[part, None]
        of_fixed = _gathered(fixed, x + patch_steps)
        of_moving = _gathered(moving, x + c + block_steps)
        out[part] = _summed(of_fixed, of_moving, half_width, patch)
    out /= vectors
    if known is not None:
        where = (keypoints + centres)[:, None] + window_steps(half_width, d, fixed.device)
        seen = _gathered(known[..., None], where, outside=0.0)[..., 0]
        typical = (out * seen).sum(dim=1, keepdim=True) / seen.sum(dim=1, keepdim=True).clamp(min=1e-3)
        out = out * seen + typical * (1 - seen)
    return out


def window_steps(half_width: int, d: int, device: torch.device) -> torch.Tensor:
    """(K, d) int64, whole steps x, y[, z]; the first axis of a volume ([z,] y, x) of displacements runs slowest."""
    return displacement_window(half_width, d, device).to(torch.int64)


def _summed(fixed: torch.Tensor, moving: torch.Tensor, half_width: int, patch: int) -> torch.Tensor:
    """sum_p |F_p - M_(delta+p)|^2 from F (n, P, C) and M (n, block, C) -> (n, K)."""
    n, vectors, _ = fixed.shape
    d = round(math.log(moving.shape[1]) / math.log(2 * (half_width + patch) + 1))
    shape = (2 * (half_width + patch) + 1,) * d
    # |M|^2 - 2 F.M of every patch vector with every vector of the block: |M|^2 is one channel more
    left = torch.cat([-2 * fixed, torch.ones_like(fixed[..., :1])], dim=2)
    right = torch.cat([moving, moving.square().sum(dim=2, keepdim=True)], dim=2)
    products = torch.bmm(left, right.transpose(1, 2)).reshape(n, vectors, *shape)
    width = 2 * half_width + 1
    alone = fixed.square().sum(dim=(1, 2))
    total = alone.reshape(n, *(1,) * d).expand(n, *(width,) * d).clone()
    for p, start in enumerate(itertools.product(range(2 * patch + 1), repeat=d)):
        view = products[:, p]
        for axis, first in enumerate(start, start=1):
            view = view.narrow(axis, first, width)
        total += view
    return total.reshape(n, -1).clamp_(min=0)


def _gathered(values: torch.Tensor, index: torch.Tensor, outside: float | None = None) -> torch.Tensor:
    """values ([Z,] Y, X, C) at voxels (n, m, d) -> (n, m, C); beyond the edge the edge value, or `outside`."""
    d = index.shape[-1]
    flat = torch.zeros(index.shape[:-1], dtype=torch.long, device=index.device)
    beyond = torch.zeros(index.shape[:-1], dtype=torch.bool, device=index.device)
    for axis in reversed(range(d)):
        n = values.shape[d - 1 - axis]
        flat = flat * n + index[..., axis].clamp(0, n - 1).long()
        beyond |= (index[..., axis] < 0) | (index[..., axis] >= n)
    found = values.reshape(-1, values.shape[-1])[flat]
    return found if outside is None else found.masked_fill(beyond[..., None], outside)
