"""Few numbers instead of the cost of every displacement in a window: principal components of displacement patches.

    code = (patch - mean) B^T,   patch ~= mean + code B,   B B^T = I

A patch holds the dissimilarity of one point for every displacement of a (2 r + 1)^d window, in the order of
`ops.correlation.displacement_window`. B (M, (2 r + 1)^d) are the M directions in which patches vary most.

Patches are learned from together with all their mirror images. Then their covariance does not mix parts that are even
along an axis with parts that are odd along it,

    even_0 = v(0), even_k = (v(k) + v(-k)) / sqrt(2),   odd_k = (v(k) - v(-k)) / sqrt(2),   k = 1..r

and falls into 2^d blocks of (r + 1 or r)^d. So the components come exact from small matrices, without ever holding the
samples; B is kept as the one block that each component lives in, an eighth of its size in 3-D; and flipping an axis of
a scan flips what is found.

Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image registration using
displacement embeddings, MIDL 2020, arXiv:2005.13338. Differs from the paper: the mirror images.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from ..core.progress import Tick, no_tick

#: folded patches held at once while statistics are gathered
_ROWS = 2000


class PatchStatistics:
    """Mean and covariance of patches and their mirror images, gathered piece by piece in float64.

    device  where it is gathered, and where the space will be; patches may lie on another
    """

    def __init__(self, half_width: int, d: int, device: torch.device | str = "cpu") -> None:
        self.half_width, self.d = half_width, d
        self.count = 0
        counts = [math.prod(c) for c in _counts(half_width, d)]
        self._total = torch.zeros(counts[0], dtype=torch.float64, device=device)
        self._products = [torch.zeros(n, n, dtype=torch.float64, device=device) for n in counts]

    def add(self, patches: torch.Tensor, tick: Tick = no_tick) -> None:
        """patches (N, (2 r + 1)^d)."""
        for part in patches.detach().split(_ROWS):
            tick()
            blocks = _blocks(folded(part.to(self._total.device), self.half_width, self.d), self.half_width, self.d)
            self._total += blocks[0].sum(dim=0)
            for product, block in zip(self._products, blocks, strict=True):
                product += block.T @ block
            self.count += len(part)

    def space(self, components: int, tick: Tick = no_tick) -> DisplacementSpace:
        """The space of the `components` largest principal components. Raises ValueError before two patches were seen,
        or for more components than displacements."""
        if self.count < 2 or not 1 <= components <= (2 * self.half_width + 1) ** self.d:
            raise ValueError(f"{components} components cannot be made of {self.count} patches")
        mean = self._total / self.count
        found: list[tuple[float, int, torch.Tensor]] = []
        whole = 0.0
        for number, product in enumerate(self._products):
            tick()
            covariance = product / self.count
            if number == 0:  # nothing that is odd has a mean
                covariance = covariance - torch.outer(mean, mean)
            variances, directions = torch.linalg.eigh(covariance)
            whole += float(variances.sum())
            found += [(float(v), number, b) for v, b in zip(variances, directions.T, strict=True)]
        found.sort(key=lambda component: -component[0])
        basis = mean.new_zeros(components, max(len(p) for p in self._products))
        for row, (_, _, direction) in zip(basis, found[:components], strict=True):
            row[: len(direction)] = direction
        return DisplacementSpace(
            self.half_width,
            self.d,
            mean.to(torch.float32),
            basis.to(torch.float32),
            torch.tensor([number for _, number, _ in found[:components]], device=basis.device),
            torch.tensor([max(v, 0.0) for v, _, _ in found[:components]], device=basis.device),
            whole,
        )


@dataclass(frozen=True)
class DisplacementSpace:
    """mean       (E,) of the block that is even along every axis; the others have none
    basis      (M, E) a component a row, padded with zeros at the end where its block is smaller; largest first
    blocks     (M,) number of the block each component lives in
    variances  (M,) of the components
    whole      variance of the patches, of which sum(variances) is the part that is kept

    Any floating type, half precision to save space; codes and patches are float32.
    """

    half_width: int
    d: int
    mean: torch.Tensor
    basis: torch.Tensor
    blocks: torch.Tensor
    variances: torch.Tensor
    whole: float

    def encode(self, patches: torch.Tensor, tick: Tick = no_tick) -> torch.Tensor:
        """patches (N, (2 r + 1)^d) -> codes (N, M); differentiable."""
        tick()
        parts = _blocks(folded(patches, self.half_width, self.d), self.half_width, self.d)
        code = patches.new_zeros(len(patches), len(self.basis))
        for number, part in enumerate(parts):
            tick()
            rows, own = self._rows(number, part)
            if number == 0:
                part = part - self.mean.to(part)
            code = code.index_add(1, rows, part @ own.T)
        return code

    def decode(self, code: torch.Tensor, tick: Tick = no_tick) -> torch.Tensor:
        """codes (N, M) -> patches (N, (2 r + 1)^d); differentiable."""
        parts = []
        for number, shape in enumerate(_counts(self.half_width, self.d)):
            tick()
            rows, own = self._rows(number, code, math.prod(shape))
            part = code[:, rows] @ own
            if number == 0:
                part = part + self.mean.to(part)
            parts.append(part.reshape(-1, *shape))
        return unfolded(_joined(parts, self.d), self.half_width, self.d)

    def reduced(self, components: int) -> DisplacementSpace:
        """The space of the first `components` of the components."""
        return DisplacementSpace(
            self.half_width,
            self.d,
            self.mean,
            self.basis[:components],
            self.blocks[:components],
            self.variances[:components],
            self.whole,
        )

    def _rows(self, number: int, like: torch.Tensor, length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the components of a block, and their values there (K, length)."""
        rows = (self.blocks == number).nonzero()[:, 0]
        return rows, self.basis[rows, : like.shape[1] if length is None else length].to(like)


def block_size(half_width: int, d: int) -> int:
    """E: the size of the largest block."""
    return (half_width + 1) ** d


def folded(patches: torch.Tensor, half_width: int, d: int) -> torch.Tensor:
    """patches (N, (2 r + 1)^d) -> (N, 2 r + 1, ...), along each axis even_0 .. even_r, odd_1 .. odd_r."""
    values = patches.reshape(-1, *(2 * half_width + 1,) * d)
    return _along_every_axis(values, _fold(half_width, values))


def unfolded(values: torch.Tensor, half_width: int, d: int) -> torch.Tensor:
    """Undoes `folded`."""
    return _along_every_axis(values, _fold(half_width, values).T).reshape(-1, (2 * half_width + 1) ** d)


def _fold(half_width: int, like: torch.Tensor) -> torch.Tensor:
    """(2 r + 1, 2 r + 1) orthonormal."""
    r = half_width
    out = torch.zeros(2 * r + 1, 2 * r + 1, dtype=like.dtype, device=like.device)
    out[0, r] = 1.0
    for k in range(1, r + 1):
        out[k, r + k] = out[k, r - k] = out[r + k, r + k] = math.sqrt(0.5)
        out[r + k, r - k] = -math.sqrt(0.5)
    return out


def _along_every_axis(values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    for axis in range(1, values.dim()):
        values = torch.movedim(torch.movedim(values, axis, -1) @ matrix.T, -1, axis)
    return values


def _counts(half_width: int, d: int) -> list[tuple[int, ...]]:
    """Shapes of the blocks, the one that is even along every axis first."""
    return list(itertools.product((half_width + 1, half_width), repeat=d))


def _blocks(values: torch.Tensor, half_width: int, d: int) -> list[torch.Tensor]:
    """(N, size) of each block."""
    even, odd = slice(0, half_width + 1), slice(half_width + 1, None)
    return [values[(slice(None), *at)].reshape(len(values), -1) for at in itertools.product((even, odd), repeat=d)]


def _joined(parts: list[torch.Tensor], d: int) -> torch.Tensor:
    """Undoes `_blocks`, of parts in their shapes."""
    for axis in range(d, 0, -1):
        parts = [torch.cat([parts[k], parts[k + 1]], dim=axis) for k in range(0, len(parts), 2)]
    return parts[0]
