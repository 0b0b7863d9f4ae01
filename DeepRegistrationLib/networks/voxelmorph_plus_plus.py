"""VoxelMorph++: a single U-Net whose answer, at keypoints, is a heat map over displacements.

    z    = backbone(fixed, moving)            C = 64 channels at half resolution
    y_k  = head(z(x_k))                       11^d heat map at keypoint x_k
    P_k  = softmax(y_k),   u_k = sum_delta P_k(delta) delta,    delta on a lattice from -reach to reach
    u    = thin plate through the u_k, lambda 0.1

x_k are Foerstner keypoints of the fixed scan. The plain head regresses u_k by 1x1x1 convolutions instead.

Heinrich, Hansen: VoxelMorph++: going beyond the cranial vault with keypoint supervision and multi-channel instance
optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_10. The paper gives the numbers of blocks and of trainable
parameters, 901,888 and 462,417, not the channels; the ones here are a reading that has both numbers exactly (the heat
map's six convolutions are 3x3x3, on 7^3 and then 11^3 cells). Differs from the paper: the capture range, there 0.3 of
half the image, is a number of voxels, so that it does not change with the size of the scans.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..core.sampling import crossings, sample_batch
from ..ops.foerstner import foerstner_keypoints
from ..ops.thin_plate import extrapolated
from .catalogue import Correspondences, Prediction, TickingNetwork
from .deepened import deepened

#: cells of the heat map along each axis, and of its decoder's first stage
CELLS, _FIRST = 11, 7

#: sizes of the network's input are multiples of it
MULTIPLE = 16

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}

#: channels after the four encoder blocks and the one below, and after each of the two blocks at 1/8, 1/4 and 1/2
_ENCODER = (32, 48, 48, 48, 64)
_DECODER = ((48, 48), (48, 32), (64, 64))
#: channels of the heat map's decoder: after the transposed convolution and the six convolutions
_HEAT_MAP = (16, 32, 32, 32, 32, 16, 1)
#: how many of the six come before the up-sampling
_BEFORE = 4

#: the first kernel of all, and the one that makes a heat map of a vector
_OF_THE_FIRST, _WIDENING = "backbone.down.0.0.weight", "head.widen.0.weight"

#: keypoints whose heat maps are decoded at once where no gradient is kept
_AT_ONCE = 128
#: fewer keypoints than this say nothing about a deformation
_FEW = 4
#: voxels between the nodes on which the thin plate is evaluated
_STEP = 4.0


def _block(before: int, after: int, d: int) -> nn.Sequential:
    return nn.Sequential(
        _CONVOLUTION[d](before, after, 3, padding=1), _NORM[d](after), nn.ReLU(inplace=True),
        _CONVOLUTION[d](after, after, 1), _NORM[d](after), nn.ReLU(inplace=True),
    )  # fmt: skip


class Backbone(nn.Module):
    """(B, 2, [Z,] Y, X) fixed and moving -> (B, C, [Z,] Y, X) of half the size, by eleven blocks."""

    def __init__(
        self,
        encoder: Sequence[int] = _ENCODER,
        decoder: Sequence[Sequence[int]] = _DECODER,
        dimension: int = 3,
    ) -> None:
        super().__init__()
        self._pool, d = _POOL[dimension], dimension
        self.down = nn.ModuleList(_block(a, b, d) for a, b in zip((2, *encoder[:-1]), encoder, strict=True))
        self.up = nn.ModuleList()
        before = encoder[-1]
        for skip, (first, second) in zip(encoder[-2:0:-1], decoder, strict=True):
            self.up.append(nn.Sequential(_block(before + skip, first, d), _block(first, second, d)))
            before = second
        self.channels = before

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        values = images
        for k, block in enumerate(self.down):
            if k:
                kept.append(values)
                values = self._pool(values, 2)
            values = block(values)
        for block in self.up:
            skip = kept.pop()
            values = block(torch.cat([F.interpolate(values, size=skip.shape[2:], mode="nearest"), skip], dim=1))
        return values


class HeatMapHead(nn.Module):
    """Vectors (K, C) -> heat maps (K, CELLS^d), the first axis ([z,] y, x) running slowest."""

    def __init__(self, channels: int, widths: Sequence[int] = _HEAT_MAP, dimension: int = 3) -> None:
        super().__init__()
        d, self.dimension = dimension, dimension
        self.widen = nn.Sequential(_TRANSPOSED[d](channels, widths[0], _FIRST), _NORM[d](widths[0]), nn.ReLU())
        layers: list[nn.Module] = []
        for k, (a, b) in enumerate(itertools.pairwise(widths)):
            if k == _BEFORE:
                layers.append(nn.Upsample((CELLS,) * d, mode=_LINEAR[d], align_corners=False))
            layers.append(_CONVOLUTION[d](a, b, 3, padding=1))
            if k < len(widths) - 2:
                layers += [_NORM[d](b), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        single = vectors.reshape(*vectors.shape, *(1,) * self.dimension)
        heat: torch.Tensor = self.layers(self.widen(single))
        return heat.flatten(1)


class RegressionHead(nn.Module):
    """Vectors (B, K, C) -> displacements (B, K, d) in units of the reach: three 1x1x1 convolutions over keypoints."""

    def __init__(self, channels: int, dimension: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, channels, 1), nn.InstanceNorm1d(channels), nn.ReLU(inplace=True),
            nn.Conv1d(channels, channels, 1), nn.InstanceNorm1d(channels), nn.ReLU(inplace=True),
            nn.Conv1d(channels, dimension, 1),
        )  # fmt: skip

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(vectors.transpose(1, 2))
        return found.transpose(1, 2)


class VoxelMorphPlusPlus(TickingNetwork):
    """(fixed, moving) on a grid whose sizes are multiples of MULTIPLE -> Prediction.

    reach      voxels x, y[, z], the largest displacement
    head       "heat map" or "regression"
    keypoints  wanted of each fixed scan
    sigma      voxels, window of the keypoints' operator
    smoothing  lambda of the thin plate, voxels
    """

    #: what losses call instead of the whole: it learns in half precision where the whole would (training/precision.py)
    learns_through = ("features", "displacements")

    lattice: torch.Tensor
    reach: torch.Tensor

    def __init__(
        self,
        reach: Sequence[float],
        head: str = "heat map",
        keypoints: int = 1024,
        sigma: float = 1.0,
        smoothing: float = 0.1,
        dimension: int = 3,
        encoder: Sequence[int] = _ENCODER,
        decoder: Sequence[Sequence[int]] = _DECODER,
        heat_map: Sequence[int] = _HEAT_MAP,
    ) -> None:
        super().__init__()
        if head not in ("heat map", "regression"):
            raise TypeError(f"head {head!r} is neither 'heat map' nor 'regression'")
        self.dimension, self.keypoints, self.sigma, self.smoothing = dimension, keypoints, sigma, smoothing
        self.backbone = Backbone(encoder, decoder, dimension)
        channels = self.backbone.channels
        self.regresses = head == "regression"
        self.head: nn.Module = (
            RegressionHead(channels, dimension) if self.regresses else HeatMapHead(channels, heat_map, dimension)
        )
        self.register_buffer("reach", torch.tensor([float(r) for r in reach]), persistent=False)
        steps = torch.linspace(-1, 1, CELLS)
        lattice = crossings([steps] * dimension)
        self.register_buffer("lattice", lattice.reshape(-1, dimension) * self.reach, persistent=False)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Weights with heat maps of a network for coronal slices fit one for volumes, too: it then sees every coronal
        slice as that one does, finds no motion across it, and can learn the rest."""
        first = state_dict.get(_OF_THE_FIRST)
        if self.dimension == 3 and first is not None and first.dim() == 4 and not self.regresses:
            state_dict = {name: _from_slices(name, value) for name, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict, assign)

    def features(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        """z (B, C, [Z,] Y, X) at half resolution."""
        found: torch.Tensor = self.backbone(torch.cat([fixed, moving], dim=1))
        return found

    def at(self, features: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """z at index coordinates (B, K, d) of the input's grid -> (B, K, C); linear between cells."""
        return sample_batch(features.to(torch.float32), (points + 0.5) / 2 - 0.5).transpose(1, 2)

    def heat(self, vectors: torch.Tensor) -> torch.Tensor:
        """P (B, K, CELLS^d) of vectors (B, K, C), the displacements being those of `lattice` (CELLS^d, d)."""
        flat = vectors.flatten(0, 1)
        if torch.is_grad_enabled():
            maps = self.head(flat)
        else:
            maps = torch.cat([self.head(part) for part in flat.split(_AT_ONCE)])
        return torch.softmax(maps.to(torch.float32), dim=1).reshape(*vectors.shape[:2], -1)

    def displacements(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """u (B, K, d) voxels, and the heat maps where the head makes some."""
        if self.regresses:
            return self.head(vectors).to(torch.float32) * self.reach, None
        heat = self.heat(vectors)
        with torch.autocast(heat.device.type, enabled=False):  # halves would round displacements
            return heat @ self.lattice, heat

    def chosen_points(self, fixed: torch.Tensor, region: torch.Tensor | None) -> torch.Tensor:
        """(K, d) keypoints of one fixed scan ([Z,] Y, X)."""
        spacing = (1.0,) * self.dimension
        return foerstner_keypoints(
            fixed.to(torch.float32), spacing, self.keypoints, mask=region, sigma=self.sigma, tick=self.tick
        )

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        """See networks/catalogue.py; the correspondences are the keypoints and where each moves to."""
        features = self.features(fixed, moving)
        fields, matched = [], []
        for b in range(len(fixed)):
            points = self.chosen_points(fixed[b, 0], None if region is None else region[b, 0])
            if len(points) < _FEW:
                fields.append(fixed.new_zeros((self.dimension, *fixed.shape[2:]), dtype=torch.float32))
                matched.append(Correspondences(points[:0], points[:0]))
            else:
                found = self.displacements(self.at(features[b : b + 1], points[None]))[0][0]
                fields.append(extrapolated(points, found, fixed.shape[2:], self.smoothing, _STEP, self.tick))
                matched.append(Correspondences(points, points + found))
        return Prediction(torch.stack(fields), correspondences=matched)


def _from_slices(name: str, value: torch.Tensor) -> torch.Tensor:
    """What a network for coronal slices has by that name, as one for volumes has it: the heat map does not change along
    the new axis, and kernels look at its middle."""
    if value.dim() != 4:
        return value
    if name == _WIDENING:
        return value.unsqueeze(3).repeat_interleave(value.shape[2], dim=3)
    return deepened(value, 1)


def build(settings: Mapping[str, Any]) -> VoxelMorphPlusPlus:
    """The network a card's "network" describes."""
    return VoxelMorphPlusPlus(**settings)
