"""mlVIRNET: one small U-Net for each level of an image pyramid; every level corrects the composition of the coarser.

    u = 0;  for level = coarsest ... finest:  r = net_level(F_level, M_level o (id + u)),  id + u <- (id + u) o (id + r)

F_level and M_level are block averages (strides 8, 4 and 2 of the working grid); u is resized from level to level.

Hering, van Ginneken, Heldmann: mlVIRNET: Multilevel variational image registration network, MICCAI 2019,
doi:10.1007/978-3-030-32226-7_29. Differs from the paper: the correction r, found between the fixed and the warped
image, acts before the deformation that warped it (the paper writes the other order, in which r is evaluated beside
where it was found); statistics of batch norm are those of each pair (networks/pair_norm.py); the last layer begins with
small weights; two convolutions at each resolution of a U-Net, which the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..ops.warp import compose, resized, warp
from .catalogue import Prediction
from .pair_norm import PairNorm

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}

#: resolutions of one U-Net
_DEPTH = 3
#: the last layer's weights are drawn so many times smaller than the others'
_LAST = 0.1


class LevelNetwork(nn.Module):
    """U-Net of three resolutions: (B, 2, [Z,] Y, X) fixed and warped moving -> (B, d, [Z,] Y, X) voxels x, y[, z]."""

    def __init__(self, filters: int = 16, dimension: int = 3) -> None:
        super().__init__()
        self._pool = _POOL[dimension]
        widths = [filters * 2**k for k in range(_DEPTH)]
        self.down = nn.ModuleList(
            _convolutions(2 if k == 0 else widths[k - 1], w, dimension) for k, w in enumerate(widths)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.widen = nn.ModuleList(_TRANSPOSED[dimension](deep, w, 2, stride=2) for deep, w in pairs)
        self.up = nn.ModuleList(_convolutions(2 * w, w, dimension) for _, w in pairs)
        self.last = _CONVOLUTION[dimension](filters, dimension, 1)
        for module in self.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.last.weight *= _LAST

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        values = images
        for k, layers in enumerate(self.down):
            values = layers(self._pool(values, 2) if k else values)
            kept.append(values)
        kept.pop()
        for widen, layers in zip(self.widen, self.up, strict=True):
            values = layers(torch.cat([kept.pop(), widen(values)], dim=1))
        field: torch.Tensor = self.last(values)
        return field.to(torch.float32)


class MlVirnet(nn.Module):
    """(fixed, moving) on a grid whose sizes are multiples of `multiple` -> Prediction.

    levels   U-Nets, the coarsest first; the finest looks at blocks of `stride` voxels
    depth    how many of them are asked, from the coarsest on; in training, those before the last one stay as they are

    details["levels"]: for each level asked the displacement (B, d, ...) up to it, in voxels of the level; details
    ["fixed"], ["moving"]: the images as the last level saw them, before warping.
    """

    def __init__(self, levels: int = 3, filters: int = 16, stride: int = 2, dimension: int = 3) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LevelNetwork(filters, dimension) for _ in range(levels))
        self.stride, self.dimension, self.depth = stride, dimension, levels

    @property
    def multiple(self) -> int:
        return self.stride * 2 ** (len(self.levels) - 1) * 2 ** (_DEPTH - 1)

    def strides(self) -> list[int]:
        """Voxels along an edge of the blocks that each level looks at, the coarsest first."""
        n = len(self.levels)
        return [self.stride * 2 ** (n - 1 - k) for k in range(n)]

    def learn(self, level: int) -> None:
        """Only `level` (0: the coarsest) learns from now on, and none finer is asked."""
        self.depth = level + 1
        for k, network in enumerate(self.levels):
            network.requires_grad_(k == level)
        self.train(self.training)

    def start_from_coarser(self, level: int) -> None:
        """The weights of a level become those of the coarser one."""
        self.levels[level].load_state_dict(self.levels[level - 1].state_dict())

    def train(self, mode: bool = True) -> MlVirnet:
        """Levels that do not learn keep their running averages."""
        super().train(mode)
        for network in self.levels:
            if not any(p.requires_grad for p in network.parameters()):
                network.eval()
        return self

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        found: list[torch.Tensor] = []
        small = (fixed, moving)
        for network, stride in list(zip(self.levels, self.strides(), strict=True))[: self.depth]:
            pool = _POOL[self.dimension]
            small = pool(fixed, stride), pool(moving, stride)
            if not found:
                found.append(network(torch.cat(small, dim=1)))
                continue
            before = resized(found[-1], small[0].shape[2:])
            correction = network(torch.cat([small[0], warp(small[1], before)], dim=1))
            found.append(compose(before, correction))
        details = {"levels": found, "fixed": small[0], "moving": small[1]}
        return Prediction(resized(found[-1], fixed.shape[2:]), details=details)


def _convolutions(inside: int, outside: int, dimension: int) -> nn.Sequential:
    """Two convolutions of width 3, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [
            _CONVOLUTION[dimension](channels, outside, 3, padding=1, bias=False), PairNorm(outside), nn.ReLU()
        ]
    return nn.Sequential(*layers)


def build(settings: Mapping[str, Any]) -> MlVirnet:
    """The network of a card's "network": levels, filters, stride, dimension."""
    return MlVirnet(**settings)
