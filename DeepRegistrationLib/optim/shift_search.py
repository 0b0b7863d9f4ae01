"""The best shift of a moving scan over a fixed one for any rotation, all shifts being looked at.

The moving scan is turned about the middle of its anatomy onto a lattice in line with the fixed grid; then
`ops.fft_ngf` gives the similarity of the edges of both for every whole-voxel shift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.sampling import sample_index
from ..ops.box import box_maximum
from ..ops.fft_ngf import ShiftWindow, cross_similarity, edge_features, mean_similarity, spectrum
from ..ops.gradients import spatial_gradient
from ..ops.ngf import edge_level, normalised_gradient
from ..ops.smoothing import gaussian_smooth
from ..transforms import Affine
from .linear_images import Scan, centre_of_mass, cropped
from .rotations import Matrices

#: voxels beyond the anatomy that are still looked at: its outer edge is there
_MARGIN = 1.5
#: gradients below this share of their mean count as noise; small, or soft tissue is lost beside bone and skin
NOISE = 0.01
#: power of the overlap in the score: the mean alone prefers a sliver that matches well
SHARE_REWARD = 0.5
#: numbers of the correlation held at once
_CHUNK = 600_000


@dataclass(frozen=True)
class Pose:
    """A rigid placement: T, its score (higher is better), and the share of the smaller scan in common."""

    transform: Affine
    score: float
    overlap: float

    @property
    def rotation(self) -> np.ndarray:
        """(d, d)."""
        return self.transform.matrix.numpy()


class ShiftSearch:
    """Two scans looked at with one working spacing.

    spacing        mm between the points of the lattice both are put on
    smoothing      sigma of the Gaussian before the gradients, in units of the spacing
    least_overlap  share of the smaller scan that has to lie on the other one, in volume and along every axis
    squared        False: the plain inner product, which takes a bright edge and a dark one for opposites
    """

    def __init__(
        self,
        fixed: Scan,
        moving: Scan,
        fixed_region: torch.Tensor,
        moving_region: torch.Tensor,
        spacing: float,
        *,
        smoothing: float = 0.4,
        least_overlap: float = 0.5,
        squared: bool = True,
    ) -> None:
        """`*_region` (1, [Z,] Y, X) say where the anatomy is: edges elsewhere (table, air) do not count, though the
        air does as known ground."""
        self.squared, self.least_overlap = squared, least_overlap
        channels, device = len(fixed.values), fixed.values.device
        ready = self._ready(fixed, fixed_region, spacing * smoothing)
        eta = edge_level(spatial_gradient(ready.values[:channels], fixed.grid.spacing), fixed.weight, NOISE)
        cut, _ = cropped(ready, fixed_region, _MARGIN * spacing)
        self.grid = cut.grid.with_spacing(spacing)
        stack = Image(torch.cat([cut.values, cut.weight]), cut.grid).resampled(self.grid, outside=0.0).data
        weight = stack[-1:]
        self._moving_grid = moving.grid
        self.pivot = centre_of_mass(moving_region, moving.grid)
        lattice = self._lattice(moving_region)
        self.window = ShiftWindow.of(self.grid.shape, lattice, least_overlap)
        self._allowed = self.window.allowed(device)
        self._offset = np.array([(n - 1) / 2 for n in lattice[::-1]])
        self._points = Grid(lattice[::-1]).index_points(device)
        edges = self._edges(stack[:channels, None], (stack[-2:-1] > 0.5).to(weight.dtype), eta[:, None])
        self._fixed_total = max(1.0, float(weight.sum()))
        self._fixed = spectrum(edges, weight, self.window)
        ready = self._ready(moving, moving_region, spacing * smoothing)
        self._eta = edge_level(spatial_gradient(ready.values[:channels], moving.grid.spacing), moving.weight, NOISE)
        self._stack = torch.cat([ready.values, ready.weight])

    def _ready(self, scan: Scan, region: torch.Tensor, sigma: float) -> Scan:
        """The scan smoothed by `sigma` mm, with one more channel: where the anatomy or its outer edge is."""
        smooth = gaussian_smooth(scan.values, [sigma / s for s in scan.grid.spacing])
        return Scan(torch.cat([smooth, box_maximum(region, 1)]), scan.weight, scan.grid)

    def best(self, rotations: Matrices, each_chunk: Callable[[float], None] | None = None) -> list[Pose]:
        """For each rotation (N, d, d) the pose of its best shift; a rotation that has none is left out.

        each_chunk  called with the share done; may raise to stop
        """
        at_once = max(1, _CHUNK // int(np.prod(self.window.shape)))
        out: list[Pose] = []
        for start in range(0, len(rotations), at_once):
            out += self._best(rotations[start : start + at_once])
            if each_chunk is not None:
                each_chunk(min(1.0, (start + at_once) / len(rotations)))
        return out

    def _best(self, rotations: Matrices) -> list[Pose]:
        similar, share = self.all_shifts(rotations)
        # not 0, which would make minus infinity not a number
        score = similar * share.clamp_min(1e-6) ** SHARE_REWARD
        values, flat = score.flatten(1).max(dim=1)
        shares = share.flatten(1).gather(1, flat[:, None])[:, 0]
        found = zip(rotations, values.tolist(), flat.tolist(), shares.tolist(), strict=True)
        return [
            Pose(self._placed(rotation, self.window.shift(at)), value, min(1.0, part))
            for rotation, value, at, part in found
            if np.isfinite(value)
        ]

    def all_shifts(self, rotations: Matrices) -> tuple[torch.Tensor, torch.Tensor]:
        """For rotations (B, d, d) the mean similarity S of every shift (minus infinity where too little overlaps) and
        the overlap as a share of the smaller scan, each (B, *window.shape)."""
        values, near, weight = self._turned(rotations)
        edges = self._edges(values, near, self._eta[:, None])
        total, overlap = cross_similarity(self._fixed, spectrum(edges, weight, self.window), self.window)
        smaller = weight.flatten(1).sum(dim=1).clamp(1.0, self._fixed_total)
        smaller = smaller.reshape([-1] + [1] * (weight.dim() - 1))
        similar = mean_similarity(total, overlap, self._allowed, self.least_overlap * smaller) / len(values)
        return similar, overlap / smaller

    def _turned(self, rotations: Matrices) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The moving scan on the lattice: values (C, B, ...), 0/1 where the anatomy is (B, ...), weight (B, ...)."""
        d = len(self.pivot)
        to_index = self._moving_grid.world_to_index
        step = np.asarray(self.grid.direction) * np.asarray(self.grid.spacing)
        matrices = to_index[:d, :d] @ rotations @ step
        middle = to_index[:d, :d] @ self.pivot + to_index[:d, d]
        shifts = middle - matrices @ self._offset
        device = self._points.device
        a = torch.as_tensor(matrices, dtype=torch.float32, device=device)
        b = torch.as_tensor(shifts, dtype=torch.float32, device=device)
        index = torch.einsum("bij,...j->b...i", a, self._points) + b.reshape([-1] + [1] * d + [d])
        sampled = sample_index(self._stack, index, outside=None)
        weight = sampled[-1] * _inside(index, self._moving_grid.size)
        return sampled[:-2], (sampled[-2] > 0.5).to(weight.dtype), weight

    def _edges(self, values: torch.Tensor, near: torch.Tensor, eta: torch.Tensor) -> torch.Tensor:
        """(C, B, ...) and (B, ...) 0/1 -> (K C, B, ...) features of the edges within the anatomy; eta (C, 1, ...)."""
        c, b = values.shape[:2]
        flat = values.reshape(c * b, *values.shape[2:])
        level = eta.expand(c, b, *eta.shape[2:]).reshape(c * b, *eta.shape[2:])
        features = edge_features(normalised_gradient(flat, self.grid.spacing, level), self.squared)
        return features.reshape(-1, b, *values.shape[2:]) * near

    def _placed(self, rotation: np.ndarray, shift: np.ndarray) -> Affine:
        """Fixed voxel i lies on lattice point i + shift, which is the pivot turned and moved."""
        step = np.asarray(self.grid.direction) * np.asarray(self.grid.spacing)
        offset = step @ (shift - self._offset) - np.asarray(self.grid.origin)
        return Affine(rotation, self.pivot + rotation @ offset)

    def _lattice(self, region: torch.Tensor) -> list[int]:
        """([Z,] Y, X) odd numbers of fixed voxels that hold the moving anatomy however it is turned."""
        points = self._moving_grid.world_points(region.device)[region[0] > 0]
        pivot = torch.as_tensor(self.pivot, dtype=points.dtype, device=points.device)
        radius = float((points - pivot).norm(dim=1).max()) if len(points) else 0.0
        return [2 * int(np.ceil(radius / s + _MARGIN - 0.5)) + 1 for s in self.grid.spacing[::-1]]


def _inside(index: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    last = torch.tensor(size, dtype=index.dtype, device=index.device) - 0.5
    return ((index >= -0.5) & (index < last)).all(dim=-1).to(index.dtype)
