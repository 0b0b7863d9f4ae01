"""From displacements of segments to one transform of the whole volume.

Each segment l predicts a displacement everywhere: an affine part a that is fitted to its points and, for what that
leaves, Gaussian process regression (equations 5 and 6 of the paper named in bcpd.py),

    v_l(p) = a_l(p) exp(-max(0, d_l(p))^2 / (2 B_l^2)) + k(p, l; Z) c

d_l is the distance to segment l, negative inside it. A voxel follows the segments by how near they are:

    v(p) = sum_l w_l(p) v_l(p) / sum_l w_l(p),   w_l = (1 + max(0, d_l(p)) / delta)^-4

So a voxel in a segment moves with it, one between two segments with both, one far away only with the similarity
transform, and nowhere is a jump. Differs from the paper, which has no affine part, so that the middle of a segment much
larger than the bandwidth does not follow its surface; and which gives the displacement of voxels with a segment's label
only, and so tears where two segments slide along each other.

The sum is evaluated on a lattice and goes on by cubic B-splines. Where it would fold, the displacement is smoothed.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..core.grid import Grid
from ..core.progress import Progress
from ..core.sampling import crossings
from ..core.transform import Transform
from ..ops import splines
from ..ops.box import box_maximum
from ..ops.segment_kernel import SegmentKernel
from ..ops.smoothing import gaussian_smooth
from ..ops.surface_points import Surface, signed_distance
from ..transforms import Affine, DisplacementField, compose
from ..transforms.jacobian import determinant
from .bcpd import Drift, Similarity

#: mm, delta: how sharply a voxel decides between segments
SHARPNESS = 12.0
#: mm between the nodes of the lattice, and how many of them at most
_SPACING, _NODES = 5.0, 80_000
#: segments with a smaller share are left out of the sum
_NEGLIGIBLE = 4e-3
#: a smaller determinant of the Jacobian is smoothed away
_LEAST_DETERMINANT = 0.15
#: points handled at once by the kernel, and by the search for the nearest surface
_CHUNK, _QUERIES = 8192, 50_000


def segment_displacement(
    points: torch.Tensor,
    places: torch.Tensor,
    found: Drift,
    kernel: SegmentKernel,
    surfaces: list[Surface],
    progress: Progress | None = None,
) -> torch.Tensor:
    """v (P, d) mm at points (P, d).

    points    where the distances to the `surfaces` (one a segment, in the kernel's order) are taken
    places    the same points where `found` took its source points from (after the pre-alignment)
    """
    progress = progress or Progress()
    half = 0.5 / len(surfaces)
    progress.update(0.0, "Spreading the motion over the volume")
    distances = torch.stack(
        [_outside(s, points, progress.part(k * half, (k + 1) * half)) for k, s in enumerate(surfaces)]
    )
    weights = (1 + distances / SHARPNESS).pow(-4)
    weights /= weights.sum(dim=0)
    motion = SegmentMotion(found, kernel)
    out = torch.zeros_like(places)
    for label in range(len(surfaces)):
        for index in (weights[label] > _NEGLIGIBLE).nonzero()[:, 0].split(_CHUNK):
            progress.update(0.5 + label * half)
            out[index] += weights[label, index, None] * motion(places[index], label, distances[label, index])
    return out


class SegmentMotion:
    """What each segment predicts: v_l(p) of the module's docstring."""

    def __init__(self, found: Drift, kernel: SegmentKernel) -> None:
        self.kernel = kernel
        self.trends = {}
        v, labels = found.displacement, found.labels
        rest = v.clone()
        for label in torch.unique(labels).tolist():
            own = labels == label
            trend = self.trends[label] = _Trend(found.source[own], v[own])
            rest[own] -= trend(found.source[own])
        self.coefficients = found.prior.continued(rest)
        at = found.prior.support
        self.support, self.labels = found.source[at], labels[at]
        self.groups = {label: group for group in kernel.groups() for label in group}

    def __call__(self, places: torch.Tensor, label: int, outside: torch.Tensor) -> torch.Tensor:
        """v (P, d) mm at places (P, d) that lie `outside` (P,) mm off segment `label`."""
        chosen = torch.isin(self.labels, torch.tensor(self.groups[label], device=places.device))
        k = self.kernel.of_one(places, label, self.support[chosen], self.labels[chosen])
        fading = torch.exp(-outside.square() / (2 * self.kernel.bandwidth[label] ** 2))[:, None]
        return fading * self.trends[label](places) + k @ self.coefficients[chosen]


class _Trend:
    """The affine function nearest to values (M, d) at points (M, d). Farther from their middle than any of the points
    it goes on with the value that it has in that direction."""

    def __init__(self, points: torch.Tensor, values: torch.Tensor) -> None:
        self.middle = points.mean(dim=0)
        offset = points - self.middle
        self.radius = offset.norm(dim=1).max().clamp_min(1e-9)
        x = offset / self.radius
        self.constant = values.mean(dim=0)
        # a little weight against steep slopes across the plane of a flat segment
        inner = x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        self.slope = torch.linalg.solve(inner, x.T @ (values - self.constant))

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        x = (points - self.middle) / self.radius
        return self.constant + (x / x.norm(dim=1, keepdim=True).clamp_min(1.0)) @ self.slope


def _outside(surface: Surface, points: torch.Tensor, progress: Progress) -> torch.Tensor:
    """(P,) mm from the segment, 0 inside it."""
    parts = []
    pieces = np.array_split(points.cpu().numpy(), max(1, len(points) // _QUERIES))
    for k, part in enumerate(pieces):
        progress.update(k / len(pieces))
        parts.append(np.maximum(signed_distance(surface, part), 0))
    return torch.as_tensor(np.concatenate(parts), device=points.device)


def dense_transform(
    grid: Grid,
    found: Drift,
    kernel: SegmentKernel,
    surfaces: list[Surface],
    initial: Transform | None,
    progress: Progress | None = None,
) -> Transform:
    """T = similarity o (id + v) o initial for the volume of `grid` (fixed).

    With a linear start T is a displacement field followed by one linear map, so that beyond the grid it goes on
    sensibly; else everything is in the field.
    """
    progress = progress or Progress()
    d, device = grid.dimension, found.source.device
    positions, lattice = _lattice(grid)
    points = _world_crossings(positions, grid, device)
    places = points if initial is None else initial.apply(points)
    v = segment_displacement(points, places, found, kernel, surfaces, progress.part(0.0, 0.8))
    linear = Affine.identity(d) if initial is None else initial
    if isinstance(linear, Affine):
        # similarity(A(p) + v) = similarity(A(p + A^-1 v)), A^-1 without its translation
        back = torch.linalg.inv(linear.matrix).to(v)
        u, after = v @ back.T, compose(linear, as_affine(found.similarity))
    else:
        u, after = found.similarity.apply(places + v) - points, None
    progress.update(0.85, "Writing down the deformation")
    # what is finer than the nodes is noise of the matching
    field = unfolded(gaussian_smooth(u.T.reshape(d, *lattice.shape), 1.3), lattice)
    warp = DisplacementField(_on_grid(field.to(torch.float32), positions, grid), grid)
    return warp if after is None else compose(warp, after)


def as_affine(similarity: Similarity) -> Affine:
    matrix = similarity.scale * similarity.rotation
    return Affine(matrix.cpu().numpy(), similarity.translation.cpu().numpy())


def _lattice(grid: Grid) -> tuple[list[torch.Tensor], Grid]:
    """Index positions of the nodes along the tensor axes ([z,] y, x), and the nodes as a grid."""
    spacing = _SPACING
    while True:
        size = [
            min(n, max(2, math.ceil((n - 1) * s / spacing) + 1)) for n, s in zip(grid.size, grid.spacing, strict=True)
        ]
        if math.prod(size) <= _NODES:
            break
        spacing *= 1.1
    step = [(n - 1) / max(1, k - 1) * s for n, k, s in zip(grid.size, size, grid.spacing, strict=True)]
    step = [k if k > 0 else s for k, s in zip(step, grid.spacing, strict=True)]
    positions = [torch.linspace(0, n - 1, k, dtype=torch.float64) for n, k in zip(grid.shape, size[::-1], strict=True)]
    return positions, Grid(size, step, grid.origin, grid.direction)


def _world_crossings(positions: list[torch.Tensor], grid: Grid, device: torch.device) -> torch.Tensor:
    """(P, d) LPS mm of the lattice's nodes, x running fastest; float64."""
    index = crossings(positions).reshape(-1, grid.dimension)
    return torch.as_tensor(grid.world_from_index(index.numpy()), device=device)


def _on_grid(field: torch.Tensor, positions: list[torch.Tensor], grid: Grid) -> torch.Tensor:
    """field (d, lattice) -> (d, grid): exact at the nodes but for a trace of smoothing, cubic between them."""
    if all(len(p) == n for p, n in zip(positions, grid.shape, strict=True)):
        return field
    device = field.device
    nodes, voxels = [], []
    for p, n in zip(positions, grid.shape, strict=True):
        knot = max((n - 1) / max(1, len(p) - 1), 1e-6)
        nodes.append(splines.basis(p.to(device), n, knot))
        voxels.append(splines.basis(torch.arange(n, device=device), n, knot))
    return splines.evaluate(splines.fit(field, nodes), voxels)


def unfolded(field: torch.Tensor, grid: Grid, rounds: int = 60) -> torch.Tensor:
    """The displacement (d, [Z,] Y, X) in mm on `grid`, smoothed near every place where det(I + du/dx) is too small.

    Gives up after `rounds`; a field without such places comes back as it is.
    """
    for _ in range(rounds):
        low = determinant(field, grid) < _LEAST_DETERMINANT
        if not bool(low.any()):
            break
        near = gaussian_smooth(box_maximum(low[None].to(field.dtype), 2), 1.0)
        field = field + near * (gaussian_smooth(field, 1.0) - field)
    return field
