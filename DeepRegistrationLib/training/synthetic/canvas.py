"""A label map that shapes are painted on, each only within its own box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from .draws import Draws
from .smooth_noise import smooth_noise

Box = tuple[slice, ...]
#: start, end and radius of a piece of tube, as `Canvas.tube` takes them
Piece = tuple[Sequence[float], Sequence[float], float]

#: how far beyond its radii a roughened ellipsoid is looked for
_ROUGH_REACH = 1.35
#: voxels in the boxes of tubes that are painted at once
_AT_ONCE = 2**20


class Canvas:
    """labels  ([Z,] Y, X) uint8, 0 at first

    Positions and radii are components x, y[, z] relative to half of the field of view: -1 and 1 are its edges.
    Tubes are round in voxels.
    """

    def __init__(self, shape: Sequence[int], draws: Draws, roughness: float = 0.12) -> None:
        self.shape = tuple(shape)
        self.draws = draws
        self.labels = torch.zeros(self.shape, dtype=torch.uint8, device=draws.device)
        device = draws.device
        self._axes = [(torch.arange(n, device=device) + 0.5) * (2 / n) - 1 for n in reversed(self.shape)]
        # bumps about a sixth of the field of view long, shared by all shapes at different places of the volume
        self.rough = roughness * smooth_noise(draws, 2, self.shape, max(3.0, min(self.shape) / 7))

    @property
    def dimension(self) -> int:
        return len(self.shape)

    def axis(self, k: int, box: Box | None = None) -> torch.Tensor:
        """Relative coordinate along x (0), y (1) or z (2), shaped to broadcast over the box."""
        tensor_axis = self.dimension - 1 - k
        values = self._axes[k] if box is None else self._axes[k][box[tensor_axis]]
        return values.reshape([-1 if a == tensor_axis else 1 for a in range(self.dimension)])

    def whole(self) -> Box:
        return (slice(None),) * self.dimension

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """Slices of the voxels between two corners x, y[, z]."""
        parts = []
        for n, a, b in zip(reversed(self.shape), low, high, strict=True):
            first = max(0, min(n - 1, math.floor((a + 1) / 2 * n)))
            last = max(first + 1, min(n, math.ceil((b + 1) / 2 * n)))
            parts.append(slice(first, last))
        return tuple(reversed(parts))

    def fill(self, box: Box, inside: torch.Tensor, label: int, within: Sequence[int] | None = None) -> None:
        """`label` where `inside`, and only over the labels `within`."""
        part = self.labels[box]
        if within is not None:
            inside = inside & _among(part, within)
        part.masked_fill_(inside, label)

    def ellipsoid(
        self,
        label: int,
        centre: Sequence[float],
        radii: Sequence[float],
        turn: float = 0.0,
        rough: int | None = 0,
        within: Sequence[int] | None = None,
    ) -> None:
        """turn  radians in the plane of x and the last axis;  rough  which of the bumps; None: smooth."""
        box, value = self.ellipsoid_value(centre, radii, turn)
        if rough is not None:
            # shifted along x, so that neighbouring shapes are not bumpy at the same places
            value = value + torch.roll(self.rough[rough % 2], 7 * rough, dims=-1)[box]
        self.fill(box, value < 1, label, within)

    def ellipsoid_value(
        self, centre: Sequence[float], radii: Sequence[float], turn: float = 0.0
    ) -> tuple[Box, torch.Tensor]:
        """Sum of squares that is 1 on the surface, within a box around it."""
        d, last = self.dimension, self.dimension - 1
        c, s = math.cos(turn), math.sin(turn)
        reach = list(radii)
        reach[0] = math.hypot(c * radii[0], s * radii[last])
        reach[last] = math.hypot(s * radii[0], c * radii[last])
        box = self.box(
            [m - _ROUGH_REACH * r for m, r in zip(centre, reach, strict=True)],
            [m + _ROUGH_REACH * r for m, r in zip(centre, reach, strict=True)],
        )
        x, z = self.axis(0, box) - centre[0], self.axis(last, box) - centre[last]
        value = ((c * x + s * z) / radii[0]).square() + ((c * z - s * x) / radii[last]).square()
        for k in range(1, d - 1):
            value = value + ((self.axis(k, box) - centre[k]) / radii[k]).square()
        return box, value

    def tube(self, label: int, start: Sequence[float], end: Sequence[float], radius: float) -> None:
        """A round piece of tube with round ends; radius in voxels, at least one voxel across."""
        self.tubes(label, [(start, end, radius)])

    def tubes(self, label: int, pieces: Sequence[Piece], within: Sequence[int] | None = None) -> None:
        """Several of them, start, end and radius each, at once."""
        size = torch.tensor(self.shape[::-1], dtype=torch.float64)
        starts, ends = (torch.tensor(v, dtype=torch.float64) for v in ([p[0] for p in pieces], [p[1] for p in pieces]))
        starts, ends = ((v + 1) * (size / 2) - 0.5 for v in (starts, ends))
        radii = torch.tensor([max(p[2], 0.6) for p in pieces], dtype=torch.float64)
        first = (torch.minimum(starts, ends) - radii[:, None]).floor().clamp(min=0)
        last = torch.minimum((torch.maximum(starts, ends) + radii[:, None]).ceil(), size - 1)
        counts = (last - first + 1).clamp(min=0).long()
        flat = self.labels.view(-1)
        for part in _together(counts.prod(dim=1).tolist()):
            found = self._covered(starts[part], ends[part], radii[part], first[part].long(), counts[part])
            if within is not None:
                found = found[_among(flat[found], within)]
            flat[found] = label

    def _covered(
        self, starts: torch.Tensor, ends: torch.Tensor, radii: torch.Tensor, first: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Flat indices of voxels whose distance to the line from start to end (K, d) is below its radius (K,), voxels;
        those are looked for that lie in rows along x through a box of counts (K, d) voxels from `first` on."""
        device = self.labels.device
        rows = counts[:, 1:].prod(dim=1)
        which = torch.repeat_interleave(torch.arange(len(rows)), rows)
        rest = torch.arange(len(which)) - (rows.cumsum(0) - rows)[which]
        along = ends - starts
        flat, stride = torch.zeros_like(rest), self.shape[-1]
        dot, square = torch.zeros(2, len(which), dtype=torch.float64)
        for k, n in enumerate(reversed(self.shape[:-1]), start=1):
            index = first[which, k] + rest % counts[which, k]
            rest = rest // counts[which, k]
            flat += index * stride
            stride *= n
            offset = index - starts[which, k]
            dot += offset * along[which, k]
            square += offset.square()
        x = first[which, :1] + torch.arange(int(counts[:, 0].max()))

        def placed(values: torch.Tensor) -> torch.Tensor:
            return values.to(device, torch.float32)[:, None]

        x, flat = x.to(device), flat.to(device)
        offset = x - placed(starts[which, 0])
        dots = placed(dot) + offset * placed(along[which, 0])
        length = placed(along.square().sum(dim=1).clamp(min=1e-6)[which])
        t = (dots / length).clamp(0, 1)
        apart = placed(square) + offset.square() - t * (2 * dots - t * length)
        inside = (apart < placed(radii[which]).square()) & (x < self.shape[-1])
        return (flat[:, None] + x)[inside]


def _among(labels: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(wanted, dtype=labels.dtype, device=labels.device))


def _together(volumes: Sequence[int]) -> Iterator[slice]:
    """Pieces after one another whose boxes have about _AT_ONCE voxels in all."""
    begin, total = 0, 0
    for k, volume in enumerate(volumes):
        if total and total + volume > _AT_ONCE:
            yield slice(begin, k)
            begin, total = k, 0
        total += volume
    yield slice(begin, len(volumes))
