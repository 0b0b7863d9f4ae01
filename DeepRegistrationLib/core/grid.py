"""The sampling grid of an image: the one place that turns index, world and normalised coordinates into each
other.

Spaces, always with components in the order x, y[, z]:

* index: voxel centres at integers, first voxel centre at 0;
* world: LPS millimetres, `world = origin + direction @ (spacing * index)`;
* normalised: what `torch.nn.functional.grid_sample` takes with `align_corners=ALIGN_CORNERS`; the image's
  *edges* (half a voxel outside the first and last centres) are at -1 and +1.

Tensors that hold images have the reverse order of axes: ([C,] [Z,] Y, X).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

if TYPE_CHECKING:
    import torch

#: normalised = (2 index + 1) / size - 1: half-voxel edges at +-1, well defined for an axis of one voxel
ALIGN_CORNERS = False

_ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Grid:
    """Voxel centres at `origin + direction @ (spacing * index)`, LPS mm; two or three axes.

    size       number of voxels along x, y[, z]
    spacing    mm, positive
    origin     mm, world position of voxel 0
    direction  rows of an orthonormal matrix whose columns are the world directions of the index axes;
               either handedness

    Raises InputError on a size below one, spacing that is not positive and finite, or a direction that
    is not orthonormal.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[tuple[float, ...], ...]

    def __init__(
        self,
        size: Iterable[int],
        spacing: Iterable[float] | None = None,
        origin: Iterable[float] | None = None,
        direction: Any = None,
    ) -> None:
        size = tuple(int(n) for n in size)
        d = len(size)
        put = object.__setattr__
        put(self, "size", size)
        put(self, "spacing", tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * d)
        put(self, "origin", tuple(float(o) for o in origin) if origin is not None else (0.0,) * d)
        matrix = np.eye(d) if direction is None else np.asarray(direction, dtype=np.float64)
        if matrix.size != d * d:
            raise InputError(
                f"A {d}-D grid needs a {d}x{d} direction matrix, but {matrix.size} numbers came."
            )
        matrix = matrix.reshape(d, d)
        put(self, "direction", tuple(tuple(float(v) for v in row) for row in matrix))
        self._check()

    def _check(self) -> None:
        d = len(self.size)
        if d not in (2, 3):
            raise InputError(f"A grid has two or three axes, but this one has {d}: size {self.size}.")
        if len(self.spacing) != d or len(self.origin) != d:
            raise InputError(
                f"Size {self.size}, spacing {self.spacing} and origin {self.origin} "
                "need the same number of axes."
            )
        if min(self.size) < 1:
            raise InputError(
                f"An image needs at least one voxel along each axis, but its size is {self.size}."
            )
        if not all(math.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(
                f"Spacing must be positive millimetres, but it is {self.spacing}; correct the header."
            )
        if not all(math.isfinite(o) for o in self.origin):
            raise InputError(f"The origin must be finite, but it is {self.origin}; correct the header.")
        m = np.asarray(self.direction)
        if not np.all(np.isfinite(m)) or np.abs(m.T @ m - np.eye(d)).max() > _ORTHONORMAL_TOLERANCE:
            shown = np.array2string(m, precision=4, separator=", ").replace("\n", "")
            raise InputError(
                f"The direction matrix {shown} is not orthonormal (it cannot be inverted without shear); "
                "correct the header or resample the image first."
            )

    # ------------------------------------------------------------------ shape

    @property
    def dimension(self) -> int:
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Tensor shape ([Z,] Y, X)."""
        return self.size[::-1]

    @property
    def voxels(self) -> int:
        return math.prod(self.size)

    @property
    def voxel_volume(self) -> float:
        """mm^d."""
        return math.prod(self.spacing)

    @property
    def extent(self) -> tuple[float, ...]:
        """Physical size along each index axis, mm, from edge to edge."""
        return tuple(n * s for n, s in zip(self.size, self.spacing, strict=True))

    # ------------------------------------------------------------------ matrices (homogeneous, float64)

    @cached_property
    def index_to_world(self) -> NDArray[np.float64]:
        """(d+1, d+1): world = M @ (index, 1)."""
        d = self.dimension
        m = np.eye(d + 1)
        m[:d, :d] = np.asarray(self.direction) * np.asarray(self.spacing)
        m[:d, d] = self.origin
        return m

    @cached_property
    def world_to_index(self) -> NDArray[np.float64]:
        """(d+1, d+1): index = M @ (world, 1)."""
        return np.asarray(np.linalg.inv(self.index_to_world), dtype=np.float64)

    @cached_property
    def mm_to_voxels(self) -> NDArray[np.float64]:
        """(d+1, d+1): like `world_to_index` for displacements, which have no origin."""
        m = self.world_to_index.copy()
        m[:-1, -1] = 0
        return m

    @cached_property
    def index_to_normalised(self) -> NDArray[np.float64]:
        """(d+1, d+1): normalised = (2 index + 1) / size - 1."""
        d = self.dimension
        m = np.eye(d + 1)
        for k, n in enumerate(self.size):
            m[k, k] = 2.0 / n
            m[k, d] = 1.0 / n - 1.0
        return m

    # ------------------------------------------------------------------ points

    def world_from_index(self, index: Any) -> NDArray[np.float64]:
        """(..., d) index -> (..., d) LPS mm, numpy."""
        return apply_matrix(self.index_to_world, np.asarray(index, dtype=np.float64))

    def index_from_world(self, world: Any) -> NDArray[np.float64]:
        """(..., d) LPS mm -> (..., d) index, numpy."""
        return apply_matrix(self.world_to_index, np.asarray(world, dtype=np.float64))

    @property
    def centre(self) -> NDArray[np.float64]:
        """World position of the middle of the field of view, mm."""
        return self.world_from_index([(n - 1) / 2 for n in self.size])

    @property
    def corners(self) -> NDArray[np.float64]:
        """(2^d, d) world positions of the outermost voxel centres, mm."""
        d = self.dimension
        unit = np.array(list(np.ndindex(*(2,) * d)), dtype=np.float64)
        return self.world_from_index(unit * (np.array(self.size) - 1))

    def index_points(self, device: Any = "cpu", dtype: Any = None) -> torch.Tensor:
        """([Z,] Y, X, d) index coordinates of every voxel, components x, y[, z]."""
        return self._points(np.eye(self.dimension + 1), device, dtype)

    def world_points(self, device: Any = "cpu", dtype: Any = None) -> torch.Tensor:
        """([Z,] Y, X, d) LPS mm of every voxel centre, components x, y[, z]."""
        return self._points(self.index_to_world, device, dtype)

    def _points(self, matrix: NDArray[np.float64], device: Any, dtype: Any) -> torch.Tensor:
        """`matrix` on the index coordinates of every voxel, each a sum of one number an axis."""
        import torch

        d = self.dimension
        out = torch.empty((*self.shape, d), device=device, dtype=dtype or torch.float32)
        for c in range(d):
            total = torch.full((1,) * d, float(matrix[c, d]), device=device, dtype=out.dtype)
            for k in range(d - 1, -1, -1):
                steps = torch.arange(self.size[k], device=device, dtype=out.dtype) * float(matrix[c, k])
                total = total + steps.reshape([-1 if axis == d - 1 - k else 1 for axis in range(d)])
            out[..., c] = total
        return out

    # ------------------------------------------------------------------ other grids

    def with_size(self, size: Sequence[int]) -> Grid:
        """The same field of view (edges kept) sampled with another number of voxels."""
        size = tuple(int(n) for n in size)
        spacing = tuple(e / n for e, n in zip(self.extent, size, strict=True))
        shift = [0.5 * old / new - 0.5 for old, new in zip(self.size, size, strict=True)]
        return Grid(size, spacing, self.world_from_index(shift), self.direction)

    def with_spacing(self, spacing: float | Sequence[float]) -> Grid:
        """The same field of view at about the asked spacing (mm); the edges are kept exactly."""
        wanted = (spacing,) * self.dimension if isinstance(spacing, (int, float)) else tuple(spacing)
        return self.with_size([max(1, round(e / s)) for e, s in zip(self.extent, wanted, strict=True)])

    def downsampled(self, factor: int | Sequence[int]) -> Grid:
        """Whole blocks of `factor` voxels joined, as average pooling with stride `factor` gives."""
        factors = (factor,) * self.dimension if isinstance(factor, int) else tuple(factor)
        size = [max(1, n // f) for n, f in zip(self.size, factors, strict=True)]
        used = [min(f, n) for f, n in zip(factors, self.size, strict=True)]
        origin = self.world_from_index([(f - 1) / 2 for f in used])
        spacing = [s * f for s, f in zip(self.spacing, used, strict=True)]
        return Grid(size, spacing, origin, self.direction)

    def padded(self, margin: int) -> Grid:
        """`margin` more voxels at every side."""
        return Grid(
            [n + 2 * margin for n in self.size],
            self.spacing,
            self.world_from_index([-margin] * self.dimension),
            self.direction,
        )

    def cropped(self, start: Sequence[int], size: Sequence[int]) -> Grid:
        """The sub-grid of `size` voxels whose first voxel is index `start` (may lie outside)."""
        return Grid(size, self.spacing, self.world_from_index(list(start)), self.direction)

    def blocks(self, voxels: int) -> Iterator[tuple[slice, Grid]]:
        """The grid cut along its last index axis into pieces of about `voxels`: (slice of it, its grid)."""
        step = max(1, voxels * self.size[-1] // self.voxels)
        for start in range(0, self.size[-1], step):
            stop = min(start + step, self.size[-1])
            first = [0] * (self.dimension - 1) + [start]
            yield slice(start, stop), self.cropped(first, (*self.size[:-1], stop - start))

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """True where both have the same size and every voxel centre agrees within `tolerance` voxels."""
        if self.size != other.size:
            return False
        apart = np.abs(self.corners - other.corners).max()
        return bool(apart <= tolerance * min(self.spacing))

    def __str__(self) -> str:
        size = " x ".join(str(n) for n in self.size)
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
        return f"{size} voxels of {spacing} mm"


def apply_matrix(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d+1, d+1) homogeneous matrix on (..., d) numpy points."""
    d = matrix.shape[0] - 1
    return points @ matrix[:d, :d].T + matrix[:d, d]


def apply_matrix_torch(matrix: NDArray[np.float64], points: torch.Tensor) -> torch.Tensor:
    """(d+1, d+1) homogeneous matrix on (..., d) points of a tensor, in the tensor's type."""
    import torch

    d = matrix.shape[0] - 1
    m = torch.as_tensor(matrix, dtype=points.dtype, device=points.device)
    return torch.addmm(m[:d, d], points.reshape(-1, d), m[:d, :d].T).reshape(points.shape)
