"""How unlike a patch around a point of one scan is to all patches of a window around the same point of the other.

    c_i(delta) = mean over channels and |o| <= w of |F(p_i + o) - M(p_i + o + delta)|^2,   |delta| <= r, along each axis

|F|^2 - 2 F.M + |M|^2 with F.M as one matrix product a point: every offset o times everything around the point, of which
each o then takes its part.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn

#: points whose windows are held at once; they stay in the processor's cache
_TOGETHER = 16


class PatchCosts(nn.Module):
    """Without weights. Its layer runs once for every few points: a chance to tell progress within the whole.

    half_width  r, patch  w; cells
    """

    def __init__(self, half_width: int, patch: int) -> None:
        super().__init__()
        self.half_width, self.patch = half_width, patch
        self.some = _SomeCosts(half_width, patch)

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """(N, (2 r + 1)^3), displacements in the order of `ops.correlation.displacement_window`.

        fixed, moving  (C, Z, Y, X); the edge is held outside
        cells          (N, 3) x, y, z whole cells
        """
        reach = self.half_width + self.patch
        near = F.pad(fixed[None], (self.patch,) * 6, mode="replicate")[0]
        wide = F.pad(moving[None], (reach,) * 6, mode="replicate")[0]
        power = F.avg_pool3d(wide.square().mean(dim=0)[None, None], 2 * self.patch + 1, 1)[0]
        parts = [self.some(near, wide, power, part) for part in cells.split(_TOGETHER)]
        return torch.cat(parts).flatten(1)


class _SomeCosts(nn.Module):
    def __init__(self, half_width: int, patch: int) -> None:
        super().__init__()
        self.width, self.patch = 2 * half_width + 1, 2 * patch + 1

    def forward(
        self, near: torch.Tensor, wide: torch.Tensor, power: torch.Tensor, cells: torch.Tensor
    ) -> torch.Tensor:
        """(N, width, width, width) at a few cells; `power` is |M|^2 averaged over patches, the others are padded."""
        width = self.width
        template = windows(near, cells, self.patch).flatten(2)
        seen = windows(wide, cells, width + self.patch - 1)
        products = torch.bmm(template.transpose(1, 2), seen.flatten(2)).unflatten(2, seen.shape[2:])
        total = torch.zeros_like(products[:, 0, :width, :width, :width])
        for k, (z, y, x) in enumerate(itertools.product(range(self.patch), repeat=3)):
            total += products[:, k, z : z + width, y : y + width, x : x + width]
        total *= -2 / template[0].numel()
        total += windows(power, cells, width)[:, 0]
        total += template.square().mean(dim=(1, 2))[:, None, None, None]
        return total


def windows(data: torch.Tensor, first: torch.Tensor, width: int) -> torch.Tensor:
    """(N, C, width, width, width) of `data` (C, Z, Y, X) from voxels `first` (N, 3) x, y, z on."""
    step = torch.arange(width, device=data.device)
    z, y, x = (first[:, 2 - k, None] + step for k in range(3))
    cut = data[:, z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]
    return cut.transpose(0, 1).contiguous()
