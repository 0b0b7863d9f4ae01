"""A small network that mixes hand-crafted and semantic features, voxel by voxel.

    in = (12 MIND-SSC, one-hot segments, background = 1 - their sum)
    in -> 32 -> 32 -> 15 channels by three 1x1x1 convolutions, instance norm and ReLU after the first two

Nothing looks at a neighbour, so that it runs on features of any resolution and any cut-out. The paper's 26 channels
are 12 of MIND-SSC and 14 of a segmentation (13 organs and background).

Siebert, Heinrich: Learn to fuse input features for large-deformation registration with differentiable
convex-discrete optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_13. Differs from the paper: the statistics of the
instance norm leave out what has no structure at all (clipped air, where all of MIND is 1) and what was not seen, so
that the width of the field of view does not matter.
"""

from __future__ import annotations

import torch
from torch import nn

#: MIND-SSC features of a volume
HAND_CRAFTED = 12

#: where every self-similarity is above this there is no structure
_FLAT = 0.999

_EPSILON = 1e-5


class FeatureFusion(nn.Module):
    """mind (12, ...) and shares of `segments` segments (segments, ...) in 0..1 -> fused features (`fused`, ...)."""

    def __init__(self, segments: int, hidden: int = 32, fused: int = 15) -> None:
        super().__init__()
        self.segments = segments
        # a convolution over lists of voxels: two dimensions or three are all the same to it
        self.first = nn.Conv1d(HAND_CRAFTED + segments + 1, hidden, 1)
        self.second = nn.Conv1d(hidden, hidden, 1)
        self.third = nn.Conv1d(hidden, fused, 1)

    def forward(
        self, mind: torch.Tensor, shares: torch.Tensor, known: torch.Tensor | None = None
    ) -> torch.Tensor:
        """known  weight 0..1 of each voxel in the instance norm ([Z,] Y, X); None: all alike."""
        background = 1 - shares.sum(dim=0, keepdim=True)
        values = torch.cat([mind, shares, background]).reshape(1, -1, mind[0].numel())
        weight = structured(mind) if known is None else structured(mind) * known
        weight = weight.reshape(-1)
        values = torch.relu(instance_norm(self.first(values), weight))
        values = torch.relu(instance_norm(self.second(values), weight))
        return self.third(values).reshape(-1, *mind.shape[1:])


def structured(mind: torch.Tensor) -> torch.Tensor:
    """([Z,] Y, X) 1 where MIND tells anything, 0 where all of it says "alike"."""
    return (mind.amin(dim=0) < _FLAT).to(mind.dtype)


def instance_norm(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(1, C, N) to weighted mean 0 and variance 1 a channel; all voxels alike where `weight` (N,) is 0 throughout."""
    if float(weight.sum()) < 1:
        weight = torch.ones_like(weight)
    share = weight / weight.sum()
    values = values - (values * share).sum(dim=-1, keepdim=True)
    variance = (values.square() * share).sum(dim=-1, keepdim=True)
    return values * torch.rsqrt(variance + _EPSILON)
