"""A label map that shapes are painted on, each only within its own box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .draws import Draws
from .smooth_noise import smooth_noise

Box = tuple[slice, ...]

#: how far beyond its radii a roughened ellipsoid is looked for
_ROUGH_REACH = 1.35


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
            inside = inside & torch.isin(part, torch.tensor(within, dtype=part.dtype, device=part.device))
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

    def tube(
        self, label: int, start: Sequence[float], end: Sequence[float], radius: float,
        within: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """A round piece of tube with round ends; radius in voxels, at least one voxel across."""
        radius = max(radius, 0.6)
        half = [n / 2 for n in reversed(self.shape)]
        a = [(p + 1) * h - 0.5 for p, h in zip(start, half, strict=True)]
        along = [(q - p) * h for p, q, h in zip(start, end, half, strict=True)]
        low = [min(0.0, v) + o - radius - 1 for v, o in zip(along, a, strict=True)]
        high = [max(0.0, v) + o + radius + 1 for v, o in zip(along, a, strict=True)]
        box = self.box(
            [(v + 0.5) / h - 1 for v, h in zip(low, half, strict=True)],
            [(v + 0.5) / h - 1 for v, h in zip(high, half, strict=True)],
        )
        offsets = [(self.axis(k, box) + 1) * half[k] - 0.5 - a[k] for k in range(self.dimension)]
        length = max(sum(v * v for v in along), 1e-6)
        dot = torch.zeros((), device=self.labels.device)
        square = torch.zeros((), device=self.labels.device)
        for offset, v in zip(offsets, along, strict=True):
            dot = dot + offset * v
            square = square + offset * offset
        t = (dot / length).clamp(0, 1)
        self.fill(box, square - t * (2 * dot - t * length) < radius * radius, label, within)
