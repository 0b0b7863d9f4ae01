"""A broken geodesic: a large deformation as at most a few flows of stationary velocities, one after another.

    T = exp(v_1) o ... o exp(v_N),   v_k by log-demons of F and S_{k-1},   S_k = M o exp(v_1) o ... o exp(v_k)
    length = sum_k |v_k|,            |v| = sqrt(mean |v(x)|^2) in mm

One stationary velocity reaches only part of what sets two anatomies apart; each further piece takes what was left
over. The path ends where a piece makes the images hardly more alike. Its length is an approximate distance between
the anatomies.

Thottupattu, Sivaswamy, Krishnan: A method for image registration via broken geodesics, WBIR 2022,
doi:10.1007/978-3-031-11203-4.

Differs from the paper: S_k is sampled from M through the whole of T, not from S_{k-1}, so that nothing is blurred
again and again; the norm is a mean over the field of view, which leaves it alone when the images are resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..core.grid import Grid
from ..core.progress import Progress, Tick, no_tick
from ..core.sampling import sample_displaced
from ..core.transform import Transform
from ..transforms import VelocityField, compose
from ..transforms.velocity import exponential, squarings, velocity_norm
from .log_demons import Features, Settings, Side, log_demons, resized, warp

#: the first piece has the most to do
_FIRST_SHARE = 0.45

#: the flows that are given back take this many squarings more than those of the search
_FINER = 2


@dataclass(frozen=True)
class Piece:
    """One geodesic: velocity (d, [Z,] Y, X) mm along the index axes of `cells`, its norm mm, the energies by level."""

    velocity: torch.Tensor
    cells: Grid
    length: float
    energies: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Path:
    """pieces in the order they were found, and the mean squared difference of the features before and after each."""

    pieces: Sequence[Piece] = ()
    differences: Sequence[float] = field(default_factory=list)

    @property
    def length(self) -> float:
        """mm."""
        return sum(piece.length for piece in self.pieces)


def broken_geodesic(
    fixed: Side,
    moving: Side,
    grid: Grid,
    settings: Settings,
    features: Features,
    pieces: int,
    least_gain: float,
    progress: Progress,
) -> Path:
    """At most `pieces` pieces between two images on `grid`; its size and spacing matter, not where it lies.

    least_gain  a piece that lowers the mean squared difference by a smaller share is left out and ends the path
    """
    plain = Grid(grid.size, grid.spacing)
    target = features(fixed.values, fixed.weight)
    before = _difference(target, features(moving.values, moving.weight), _both(fixed.weight, moving.weight))
    found: list[Piece] = []
    differences = [before]
    steps: list[torch.Tensor] = []
    current = moving
    for k in range(pieces):
        part = progress.part(*_share(k, pieces))
        velocity, cells, energies = log_demons(
            fixed, current, plain, settings, features, _Named(part, f"Piece {k + 1}")
        )
        length = velocity_norm(velocity, _on(cells, fixed.weight))
        if length == 0:
            break
        steps.append(resized(exponential(velocity, cells, squarings(velocity, cells) + _FINER), grid.shape))
        part.update(1.0)
        values, seen = warp(moving.values[None], moving.weight, _along(steps, plain, part), plain)
        after = _difference(target, features(values[0], seen), _both(fixed.weight, seen))
        if before - after < least_gain * before:
            break
        found.append(Piece(velocity, cells, length, energies))
        differences.append(after)
        before, current = after, Side(values[0], seen)
    return Path(found, differences)


def _along(steps: Sequence[torch.Tensor], grid: Grid, progress: Progress) -> torch.Tensor:
    """Displacement of the whole path from those of its pieces, each voxel followed through all of them.

    A sampled sum, brought up to date piece by piece, would be wrong where the deformation is steep.
    """
    total = steps[-1]
    for step in reversed(steps[:-1]):
        total = total + sample_displaced(step, total, grid)
        progress.update(1.0)
    return total


def path_transform(path: Path, grid: Grid, tick: Tick = no_tick) -> Transform:
    """T of the path in LPS mm; `grid` is the one the path was found on, now with its place in the world.

    A composition of exact flows, the last piece acting first; its inverse is that of the negated pieces in reverse
    order. The velocities are continued by their edge values for some voxels around the field of view, so that a
    place that one piece moves out of it is moved on by the next.
    """
    d = grid.dimension
    if not path.pieces:
        none = grid.with_size([min(n, 4) for n in grid.size])
        return VelocityField(torch.zeros((d, *none.shape)), none, 0)
    flows = []
    for piece in reversed(path.pieces):
        cells = grid.with_size(piece.cells.size)
        margin = _margin(piece)
        axes = torch.as_tensor(grid.direction, dtype=torch.float32, device=piece.velocity.device)
        velocity = torch.einsum("wk,k...->w...", axes, piece.velocity)
        velocity = torch.nn.functional.pad(velocity[None], (margin,) * (2 * d), mode="replicate")[0]
        flows.append(VelocityField(velocity, cells.padded(margin), squarings(velocity, cells) + _FINER, tick))
    return compose(*flows)


def _margin(piece: Piece) -> int:
    """Cells that the piece moves anything by, at most, and one more."""
    fastest = piece.velocity.abs().amax(dim=tuple(range(1, piece.velocity.dim())))
    return 2 + int(max(float(f) / s for f, s in zip(fastest, piece.cells.spacing, strict=True)))


def _share(k: int, pieces: int) -> tuple[float, float]:
    """Part of the progress that piece k takes: the first one much, the others alike."""
    if pieces == 1:
        return 0.0, 1.0
    each = (1 - _FIRST_SHARE) / (pieces - 1)
    return (0.0, _FIRST_SHARE) if k == 0 else (_FIRST_SHARE + (k - 1) * each, _FIRST_SHARE + k * each)


class _Named(Progress):
    """The same progress with words before each stage."""

    def __init__(self, whole: Progress, words: str) -> None:
        super().__init__()
        self._whole, self._words = whole, words

    def update(self, fraction: float, stage: str | None = None) -> None:
        self._whole.update(fraction, None if stage is None else f"{self._words}: {stage}")


def _difference(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor | None) -> float:
    squared = (a - b).square_().sum(dim=0)
    if weight is None:
        return float(squared.mean())
    return float((squared * weight).sum() / weight.sum().clamp_min(1e-6))


def _both(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a * b


def _on(cells: Grid, weight: torch.Tensor | None) -> torch.Tensor | None:
    if weight is None:
        return None
    return torch.nn.functional.interpolate(weight[None, None], cells.shape, mode="area")[0, 0]
