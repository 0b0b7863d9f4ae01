"""Vessel trees of the lungs: capsules that fork and thin out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

_CELL = 16.0  # mm; capsules are looked up by the cube a point lies in
_GENERATIONS = 8
_REACH = 4.0  # mm round a capsule within which its distance is exact


class _Table(NamedTuple):
    """Capsules of cube c, numbered row by row from cube `low`: `listed[first[c]:first[c + 1]]`."""

    low: torch.Tensor
    shape: tuple[int, ...]
    first: torch.Tensor
    listed: torch.Tensor


@dataclass(frozen=True)
class VesselTrees:
    """starts, ends (M, 3) and radii (M,) mm of capsules; forks (K, 3) where a branch divides."""

    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray
    forks: np.ndarray

    def distance(self, p: torch.Tensor) -> torch.Tensor:
        """(N, 3) -> (N,) mm to the nearest vessel wall, negative inside; 1000 where none is near."""
        out = torch.full((len(p),), 1e3)
        if not len(p):
            return out
        table = self._table
        cell = torch.floor(p / _CELL).long() - table.low
        code = (cell[:, 0] * table.shape[1] + cell[:, 1]) * table.shape[2] + cell[:, 2]
        outside = ((cell < 0) | (cell >= torch.tensor(table.shape))).any(dim=1)
        code[outside] = 0  # a cube of the rim, which holds no capsule
        first, listed = table.first, table.listed
        count = (first[1:] - first[:-1])[code]
        # every (point, capsule) pair that shares a cube, laid out flat
        point = torch.repeat_interleave(torch.arange(len(p)), count)
        place = torch.arange(len(point)) - torch.repeat_interleave(torch.cumsum(count, 0) - count, count)
        capsule = listed[first[code][point] + place]
        found = self._to_capsules(p[point], capsule)
        return out.scatter_reduce(0, point, found, reduce="amin")

    def _to_capsules(self, p: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        start, end, radius = (
            torch.from_numpy(v).float()[which] for v in (self.starts, self.ends, self.radii)
        )
        axis, q = end - start, p - start
        along = ((q * axis).sum(1) / axis.square().sum(1)).clamp(0, 1)
        return (q - along[:, None] * axis).norm(dim=1) - radius

    @cached_property
    def _table(self) -> _Table:
        rim = self.radii.max() + _REACH + 2 * _CELL
        low = np.floor((np.minimum(self.starts, self.ends).min(axis=0) - rim) / _CELL).astype(np.int64)
        high = np.floor((np.maximum(self.starts, self.ends).max(axis=0) + rim) / _CELL).astype(np.int64)
        shape = tuple(int(n) for n in high - low + 1)
        cells = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
        centres = (cells + low + 0.5) * _CELL
        axis = self.ends - self.starts
        reach = self.radii + _REACH + 0.5 * _CELL * np.sqrt(3)
        rows: list[np.ndarray] = []
        for a, v, r in zip(self.starts, axis, reach, strict=True):
            q = centres - a
            along = np.clip(q @ v / (v @ v), 0, 1)
            rows.append(np.linalg.norm(q - along[:, None] * v, axis=1) < r)
        near = np.array(rows).T
        first = np.concatenate([[0], np.cumsum(near.sum(axis=1))])
        return _Table(
            torch.from_numpy(low), shape, torch.from_numpy(first), torch.from_numpy(np.nonzero(near)[1])
        )


def grow(seed: int, lungs: Callable[[np.ndarray], np.ndarray]) -> VesselTrees:
    """Trees of six roots a lung from the hilum. `lungs` (N, 3) -> (N,): signed distance to the pleura."""
    rng = np.random.default_rng(seed + 101)
    starts, headings = _roots(rng)
    lengths, radii = rng.uniform(24, 32, len(starts)), rng.uniform(4.4, 5.6, len(starts))
    segments: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    forks: list[np.ndarray] = []
    for generation in range(_GENERATIONS):
        ends = _shortened(starts, headings, lengths, lungs)
        depth = lungs(ends)
        alive = depth < -4
        starts, ends, headings, lengths, radii = (v[alive] for v in (starts, ends, headings, lengths, radii))
        segments.append((starts, ends, radii))
        if generation == _GENERATIONS - 1 or not len(ends):
            break
        if generation > 0:
            forks.append(ends[depth[alive] < -8])
        starts, headings, lengths, radii = _children(rng, ends, headings, lengths, radii)
    joined = [np.concatenate(part) for part in zip(*segments, strict=True)]
    return VesselTrees(*joined, forks=np.concatenate(forks))


def _roots(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hilum and heading of each root: up, back, out in turn, for the right and the left lung."""
    fan = ((0.95, -0.1), (0.85, 0.6), (-0.1, -0.75), (-0.45, 0.35), (-0.9, 0.55), (-0.85, -0.1))
    starts = [[side * 32.0, 2.0, 16.0] for side in (-1.0, 1.0) for _ in fan]
    headings = np.array([[side * 0.75, back, up] for side in (-1.0, 1.0) for up, back in fan])
    return np.array(starts), _unit(headings + 0.15 * rng.normal(size=headings.shape))


def _shortened(
    starts: np.ndarray, headings: np.ndarray, lengths: np.ndarray, lungs: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Ends of the branches, drawn in where they would pierce the pleura."""
    ends = starts + lengths[:, None] * headings
    for _ in range(3):
        out = lungs(ends) > -5
        ends[out] = starts[out] + 0.65 * (ends[out] - starts[out])
    return ends


def _children(
    rng: np.random.Generator, ends: np.ndarray, headings: np.ndarray, lengths: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two branches at every end, in one plane; the thicker one turns less."""
    across = _unit(np.cross(headings, rng.normal(size=headings.shape)))
    turned, longer, thinner = [], [], []
    for sign, (low, high) in ((1.0, (0.2, 0.5)), (-1.0, (0.45, 0.95))):
        turn = rng.uniform(low, high, (len(ends), 1))
        heading = np.cos(turn) * headings + sign * np.sin(turn) * across
        turned.append(_unit(heading + 0.08 * rng.normal(size=heading.shape)))
        longer.append(lengths * rng.uniform(0.78, 0.94, len(ends)))
        thinner.append(
            radii * (rng.uniform(0.8, 0.9, len(ends)) if sign > 0 else rng.uniform(0.62, 0.78, len(ends)))
        )
    return np.tile(ends, (2, 1)), np.concatenate(turned), np.concatenate(longer), np.concatenate(thinner)


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))
