"""Exhaustive search over translations with Fourier transforms, for starts that are far off.

For every shift the cosine between the edge maps of the two scans,

    score(s) = sum_x <E_f(x), E_m(x + s)> / sqrt(sum_x |E_f(x)|^2 w_m(x + s)  sum_x w_f(x) |E_m(x + s)|^2)

with E the edge tensors of `ops.ngf`, so that <E_f, E_m> is the squared inner product of normalised
gradients, and w the weights inside mask and field of view: the masked correlation of Padfield, IEEE Trans.
Image Processing 21(5), 2012, doi:10.1109/TIP.2011.2181402, for edges instead of intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.grid import Grid
from ..core.image import Image
from ..ops.box import box_maximum, box_minimum
from ..ops.gradients import spatial_gradient
from ..ops.ngf import edge_level, edge_tensor, normalised_gradient
from ..transforms import Affine
from .linear_images import Scan


@dataclass(frozen=True)
class Candidate:
    """A start worth refining: transform and its score (higher is better, at most 1)."""

    transform: Affine
    score: float
    overlap: float


@dataclass(frozen=True)
class _Spectrum:
    edges: torch.Tensor
    energy: torch.Tensor
    weight: torch.Tensor
    total_energy: float
    total_weight: float


class TranslationSearch:
    """All translations of a moving scan over a fixed one, for any linear map tried before them."""

    def __init__(
        self, fixed: Scan, moving: Scan, fixed_region: torch.Tensor, moving_region: torch.Tensor
    ) -> None:
        """`*_region` (1, ...) say where the anatomy is; edges outside (the table, the air) do not count."""
        self.fixed, self.moving = fixed, moving
        self._moving_stack = Image(
            torch.cat([moving.values, moving.weight, moving_region * moving.weight]), moving.grid
        )
        self._fixed_region = fixed_region * fixed.weight
        self.anchor = fixed.grid.centre

    def candidates(
        self, linear: np.ndarray, pivot: np.ndarray, count: int, least_overlap: float = 0.3
    ) -> list[Candidate]:
        """The `count` best starts T(x) = linear (x - anchor) + pivot + t over all t, no two within three
        voxels.

        linear         (d, d) rotation and scale
        pivot          (d,) world mm: the point of the moving scan that the fixed grid's centre meets at t = 0
        least_overlap  share of the edges of either scan that has to lie in the other's field of view
        """
        placed, grid = self._placed(linear, pivot)
        shape = [_good_size(a + b - 1) for a, b in zip(self.fixed.grid.shape, grid.shape, strict=True)]
        a = _spectrum(self.fixed.values, self.fixed.weight, self._fixed_region, self.fixed.grid, shape)
        b = _spectrum(placed[:-2], placed[-2:-1], placed[-1:], grid, shape)
        axes = tuple(range(-len(shape), 0))

        def correlate(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            # circular: entry s = sum_x p(x) q(x + s), s negative wraps
            return torch.fft.irfftn((p.conj() * q).sum(dim=0), s=shape, dim=axes)

        matched = correlate(a.edges, b.edges)
        e_fixed = correlate(a.energy, b.weight).clamp_min(0)
        e_moving = correlate(a.weight, b.energy).clamp_min(0)
        either = torch.maximum(e_fixed / a.total_energy, e_moving / b.total_energy)
        # the root of the overlap keeps a good match of a sliver from winning
        norm = (e_fixed * e_moving).clamp_min(1e-8).sqrt()
        score = matched / norm * either.clamp(1e-3, 1).sqrt()
        score = torch.where(either >= least_overlap, score, torch.full_like(score, -1.0))
        apart = np.asarray(grid.origin) - np.asarray(self.fixed.grid.origin)
        offset = np.linalg.inv(np.asarray(grid.direction)) @ apart
        return self._peaks(score, either, linear, pivot, offset, grid, count)

    def _placed(self, linear: np.ndarray, pivot: np.ndarray) -> tuple[torch.Tensor, Grid]:
        """Moving stack pulled back by the linear map onto a grid in line with the fixed one that holds all
        of it."""
        base = Affine.about(self.anchor, linear, np.asarray(pivot) - self.anchor)
        back = base.inverse().transform
        corners = back.apply(torch.as_tensor(self.moving.grid.corners)).numpy()
        index = self.fixed.grid.index_from_world(corners)
        low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int)
        grid = self.fixed.grid.cropped(low.tolist(), (high - low + 1).tolist())
        return self._moving_stack.resampled(grid, base, outside=0.0).data, grid

    def _peaks(
        self,
        score: torch.Tensor,
        overlap: torch.Tensor,
        linear: np.ndarray,
        pivot: np.ndarray,
        offset: np.ndarray,
        grid: Grid,
        count: int,
    ) -> list[Candidate]:
        highest = box_maximum(score[None], 3)[0]
        peak = torch.where(score >= highest, score, torch.full_like(score, -1.0)).reshape(-1)
        best = torch.topk(peak, min(count, peak.numel()))
        out = []
        for value, flat in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if value <= 0:
                continue
            position = np.array(np.unravel_index(flat, score.shape))
            shape = np.array(score.shape)
            largest = np.array(grid.shape)
            shift = np.where(position < largest, position, position - shape)[::-1]
            # fixed voxel i meets placed voxel i + shift, whose world position is grid.origin + D s (i +
            # shift)
            step = np.asarray(grid.direction) @ (np.asarray(grid.spacing) * shift + offset)
            moved = Affine.from_translation(step)
            base = Affine.about(self.anchor, linear, np.asarray(pivot) - self.anchor)
            out.append(Candidate(base.after(moved), float(value), float(overlap.reshape(-1)[flat])))
        return out


def _spectrum(
    values: torch.Tensor, weight: torch.Tensor, region: torch.Tensor, grid: Grid, shape: list[int]
) -> _Spectrum:
    # edges are only known where all neighbours are inside the field of view
    known = box_minimum((weight > 0.5).to(torch.float32), 1)
    useful = known * box_maximum((region > 0.5).to(torch.float32), 1)
    eta = edge_level(spatial_gradient(values, grid.spacing), useful)
    edges = edge_tensor(normalised_gradient(values, grid.spacing, eta)) * useful
    energy = edges.square().sum(dim=0, keepdim=True)
    axes = tuple(range(-len(shape), 0))

    def transform(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfftn(x, s=shape, dim=axes)

    return _Spectrum(
        transform(edges),
        transform(energy),
        transform(known),
        max(float(energy.sum()), 1e-6),
        float(known.sum()),
    )


def _good_size(n: int) -> int:
    """The smallest number not below n whose only prime factors are 2, 3 and 5."""
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1
