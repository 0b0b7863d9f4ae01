"""A light U-Net that makes features like MIND from one scan, at half its resolution.

    scan -> 1/2 -> 1/4 -> 1/8 -> 1/4 -> 1/2 -> features in 0..1

Three encoder blocks and two decoder blocks, as the feature extractor of Hansen, Heinrich: Tackling the problem of large
deformations in deep learning based medical image registration using displacement embeddings, MIDL 2020,
arXiv:2005.13338. The paper leaves channels and normalisation open: instance norm and leaky ReLU here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

#: of MIND-SSC in a volume
FEATURES = 12

#: the network's input is a multiple of so many voxels along each axis
MULTIPLE = 8


class _Layer(nn.Sequential):
    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(before, after, 3, stride, padding=1, padding_mode="replicate"),
            nn.InstanceNorm3d(after, affine=True),
            nn.LeakyReLU(0.1, inplace=True),
        )


class MindUNet(nn.Module):
    """scans (B, 1, Z, Y, X) in 0..1 -> features (B, 12, Z / 2, Y / 2, X / 2); sizes are multiples of MULTIPLE.

    channels  before the first halving, and at 1/2, 1/4 and 1/8
    """

    def __init__(self, channels: Sequence[int] = (8, 16, 32, 48)) -> None:
        super().__init__()
        first, half, quarter, eighth = channels
        self.encoder = nn.ModuleList(
            [
                nn.Sequential(_Layer(1, first), _Layer(first, half, 2)),
                nn.Sequential(_Layer(half, quarter, 2), _Layer(quarter, quarter)),
                nn.Sequential(_Layer(quarter, eighth, 2), _Layer(eighth, eighth)),
            ]
        )
        self.narrow = nn.ModuleList([nn.Conv3d(eighth, quarter, 1), nn.Conv3d(quarter, half, 1)])
        self.decoder = nn.ModuleList([_Layer(2 * quarter, quarter), _Layer(2 * half, half)])
        self.head = nn.Conv3d(half, FEATURES, 1)

    def forward(self, scans: torch.Tensor) -> torch.Tensor:
        seen = []
        values = scans
        for block in self.encoder:
            values = block(values)
            seen.append(values)
        for narrow, block, skip in zip(self.narrow, self.decoder, (seen[1], seen[0]), strict=True):
            values = block(torch.cat([_doubled(narrow(values)), skip], dim=1))
        return torch.sigmoid(self.head(values))


def _doubled(values: torch.Tensor) -> torch.Tensor:
    """Each voxel eight times: 2 x 2 x 2 blocks of it."""
    return F.interpolate(values, scale_factor=2, mode="nearest")
