"""Large deformations found in one pass: every displacement of keypoints compared, in an embedding that is smoothed.

    c_i(delta)  = mean over channels and a (2 w + 1)^3 box of |F(p_i + o) - M(p_i + o + delta)|^2,   21^3 delta
    e_i         = (c_i - mean) B^T                   principal components, 256 or 512 of 9261
    e*          = (I + a L)^-1 e                     L: graph Laplacian of the keypoints
    u(p_i)      = soft argmin of mean + e*_i B,      u: thin plate near the u(p_i)

F and M are features of both scans at half resolution from one light U-Net (mind_unet.py), p_i Foerstner keypoints of
the fixed scan (ops/foerstner.py) moved to the nearest cell of the features.

Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image registration using
displacement embeddings, MIDL 2020, arXiv:2005.13338. Differs from the paper: components of patches and their mirror
images (ops/displacement_space.py), so that 512 of them take 1.4 MB; a is learned; the argmin is soft within its
neighbourhood; thin plates between the keypoints, of which the paper says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..core.progress import Tick, no_tick
from ..ops.correlation import displacement_window
from ..ops.displacement_space import DisplacementSpace, block_size
from ..ops.foerstner import foerstner_keypoints
from ..ops.graph_laplacian import diffused, neighbour_graph
from ..ops.thin_plate import extrapolated
from .catalogue import Correspondences, Prediction, TickingNetwork
from .mind_unet import MindUNet
from .patch_costs import PatchCosts

#: voxels of the scan a cell of the features covers along an axis
STRIDE = 2

#: input voxels, window of Foerstner's operator
_SIGMA = 1.0

#: cells to every side of the least cost that the soft argmin looks at
_NEAR = 2

#: fewer points than this say nothing of a deformation
_LEAST = 4

#: input voxels between the nodes at which the thin plate is evaluated
_STEP = 6.0

#: the logarithms of a and of the sharpness are so many times their parameters, that steps fit to weights move them
_GAIN = 30.0


class DisplacementEmbeddings(TickingNetwork):
    """See the module's docstring; `forward` as networks/catalogue.py says, sizes a multiple of 8, volumes only.

    channels     of the feature network
    half_width   cells that are looked at to every side (10: 21^3 displacements)
    patch        w, cells
    components   of the embedding that are used; `stored` of them are in the weights
    keypoints    N at most
    neighbours   of a keypoint in the graph
    diffusion    a, sharpness: of the soft argmin per unit of cost; both as they are before they are learned
    smoothing    lambda of the thin plate, voxels
    """

    mean: torch.Tensor
    basis: torch.Tensor
    blocks: torch.Tensor
    variances: torch.Tensor

    def __init__(
        self,
        channels: Sequence[int] = (8, 16, 32, 48),
        half_width: int = 10,
        patch: int = 1,
        components: int = 512,
        stored: int = 512,
        keypoints: int = 1500,
        neighbours: int = 15,
        diffusion: float = 0.3,
        sharpness: float = 100.0,
        smoothing: float = 20.0,
    ) -> None:
        super().__init__()
        if not 1 <= components <= stored:
            raise TypeError(f"{components} components of {stored}")
        self.features = MindUNet(channels)
        self.costs = PatchCosts(half_width, patch)
        self.spread = _ThinPlate(smoothing)
        self.half_width, self.components = half_width, components
        self.keypoints, self.neighbours = keypoints, neighbours
        self.log_diffusion = nn.Parameter(torch.tensor(math.log(diffusion) / _GAIN))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness) / _GAIN))
        # half precision: the weights' file is the smaller, and nothing that is found changes
        self.register_buffer("mean", torch.zeros(block_size(half_width, 3), dtype=torch.float16))
        self.register_buffer("basis", torch.zeros(stored, block_size(half_width, 3), dtype=torch.float16))
        self.register_buffer("blocks", torch.zeros(stored, dtype=torch.int32))
        self.register_buffer("variances", torch.zeros(stored))

    @property
    def diffusion(self) -> torch.Tensor:
        return torch.exp(_GAIN * self.log_diffusion)

    @property
    def sharpness(self) -> torch.Tensor:
        return torch.exp(_GAIN * self.log_sharpness)

    @property
    def space(self) -> DisplacementSpace:
        """The embedding that is used."""
        whole = DisplacementSpace(
            self.half_width, 3, self.mean, self.basis, self.blocks, self.variances, float(self.variances.sum())
        )
        return whole.reduced(self.components)

    def learn_space(self, space: DisplacementSpace) -> None:
        """Takes the components over into the weights."""
        for name in ("mean", "basis", "blocks", "variances"):
            getattr(self, name).copy_(getattr(space, name))

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        """See networks/catalogue.py; the correspondences are centres of cells of the features."""
        found = [
            self._one(fixed[b : b + 1], moving[b : b + 1], None if region is None else region[b, 0])
            for b in range(len(fixed))
        ]
        return Prediction(
            torch.stack([field for field, _ in found]), correspondences=[matched for _, matched in found]
        )

    def _one(
        self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None
    ) -> tuple[torch.Tensor, Correspondences]:
        with torch.autocast(fixed.device.type, enabled=False):
            cells = self.cells(fixed[0, 0].float(), region)
        points = centres(cells)
        if len(cells) < _LEAST:
            return fixed.new_zeros(3, *fixed.shape[2:]), Correspondences(points[:0], points[:0])
        costs = self.compared(fixed, moving, cells)
        with torch.autocast(fixed.device.type, enabled=False):
            displacement = STRIDE * soft_argmin(self.diffused(costs, cells), self.half_width, self.sharpness)
            self.tick()
            dense = self.spread(points, displacement, fixed.shape[2:], self.tick)
        return dense, Correspondences(points, points + displacement)

    def cells(self, fixed: torch.Tensor, region: torch.Tensor | None) -> torch.Tensor:
        """(N, 3) x, y, z of different cells of the features, nearest to keypoints of the scan (Z, Y, X)."""
        points = foerstner_keypoints(fixed, (1.0,) * 3, self.keypoints, mask=region, sigma=_SIGMA, tick=self.tick)
        size = torch.tensor(fixed.shape[::-1], device=points.device) // STRIDE
        return torch.unique(torch.minimum((points / STRIDE).long(), size - 1), dim=0)

    def compared(self, fixed: torch.Tensor, moving: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """c_i(delta) (N, (2 r + 1)^3) of a pair (1, 1, Z, Y, X) at `cells`."""
        features, others = self.features(fixed)[0], self.features(moving)[0]
        with torch.autocast(fixed.device.type, enabled=False):
            costs: torch.Tensor = self.costs(features.float(), others.float(), cells)
            return costs

    def diffused(self, costs: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """mean + e* B (N, (2 r + 1)^3) of costs at `cells` (N, 3)."""
        space = self.space
        graph = neighbour_graph(cells.to(torch.float32), self.neighbours)
        codes = diffused(graph, space.encode(costs, self.tick), self.diffusion, tick=self.tick)
        return space.decode(codes, self.tick)


class _ThinPlate(nn.Module):
    """Sparse displacements made dense, as a layer: progress is told after each."""

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(
        self, points: torch.Tensor, displacement: torch.Tensor, shape: Sequence[int], tick: Tick = no_tick
    ) -> torch.Tensor:
        """(3, *shape) voxels; beyond the points, along each axis, no more than the farthest of them moves."""
        dense = extrapolated(points, displacement, shape, self.smoothing, _STEP, tick)
        low, high = (v[:, None, None, None] for v in displacement.aminmax(dim=0))
        return torch.minimum(torch.maximum(dense, low), high)


def soft_argmin(
    costs: torch.Tensor, half_width: int, sharpness: float | torch.Tensor, near: int = _NEAR
) -> torch.Tensor:
    """Displacement (N, 3) x, y, z of least cost (N, (2 r + 1)^3): the mean with weights exp(-sharpness cost) over the
    displacements within `near` cells of the least one; differentiable."""
    window = displacement_window(half_width, 3, costs.device)
    best = window[costs.detach().argmin(dim=1)]
    steps = torch.arange(-half_width, half_width + 1, device=costs.device)
    x, y, z = ((steps - best[:, k, None]).abs() <= near for k in range(3))
    within = (z[:, :, None, None] & y[:, None, :, None] & x[:, None, None, :]).flatten(1)
    return torch.softmax((-sharpness * costs).masked_fill(~within, -torch.inf), dim=1) @ window


def centres(cells: torch.Tensor) -> torch.Tensor:
    """Voxel coordinates of the centres of cells of the features."""
    return STRIDE * cells.to(torch.float32) + (STRIDE - 1) / 2


def build(settings: Mapping[str, Any]) -> nn.Module:
    return DisplacementEmbeddings(**settings)
