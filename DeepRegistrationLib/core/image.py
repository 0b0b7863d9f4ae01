"""A scan, label map, mask or dose: a tensor with its grid and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import torch

from .errors import InputError
from .grid import Grid, apply_matrix_torch
from .sampling import BLOCK, precise, sample_index
from .transform import Transform


class ImageKind(Enum):
    INTENSITY = "intensity"
    LABELS = "labels"
    MASK = "mask"
    DOSE = "dose"


@dataclass(frozen=True)
class Image:
    """Values `data` (C, [Z,] Y, X) at the voxel centres of `grid`.

    kind   intensity and dose are interpolated linearly, labels and masks by nearest neighbour
    names  label value -> name, for labels
    unit   physical unit of the values ("HU", "Gy"), where known

    Raises InputError where the tensor does not fit the grid.
    """

    data: torch.Tensor
    grid: Grid
    kind: ImageKind = ImageKind.INTENSITY
    names: Mapping[int, str] = field(default_factory=dict)
    unit: str | None = None

    def __post_init__(self) -> None:
        if tuple(self.data.shape[1:]) != self.grid.shape or self.data.dim() != self.grid.dimension + 1:
            raise InputError(
                f"Image values of shape {tuple(self.data.shape)} do not fit a grid of {self.grid}; "
                f"the shape must be (channels, {', '.join(map(str, self.grid.shape))})."
            )

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @property
    def channels(self) -> int:
        return int(self.data.shape[0])

    @property
    def discrete(self) -> bool:
        """True where values are categories that must not be averaged."""
        return self.kind in (ImageKind.LABELS, ImageKind.MASK)

    @property
    def label_values(self) -> list[int]:
        """The labels present besides background 0, ascending."""
        return [int(v) for v in torch.unique(self.data).tolist() if v != 0]

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Image:
        return replace(self, data=self.data.to(device=device, dtype=dtype))

    def with_data(self, data: torch.Tensor) -> Image:
        return replace(self, data=data)

    def outside_value(self) -> float:
        """What lies outside the field of view: 0 for labels, mask and dose, else the least value."""
        if self.kind is ImageKind.INTENSITY:
            return float(self.data.min())
        return 0.0

    def at(self, points: torch.Tensor, outside: float | None = None) -> torch.Tensor:
        """Values at world points (..., d) LPS mm -> (C, ...) float (labels keep their type)."""
        if outside is None:
            outside = self.outside_value()
        index = apply_matrix_torch(self.grid.world_to_index, points)
        data = self.data if self.discrete else self.data.to(torch.float32)
        return sample_index(data, index, nearest=self.discrete, outside=outside)

    def resampled(
        self, grid: Grid, transform: Transform | None = None, outside: float | None = None
    ) -> Image:
        """The image pulled back to `grid`: out(x) = self(T(x)), x in LPS mm; without T by the identity."""
        if outside is None:
            outside = self.outside_value()
        if transform is None and grid.same_as(self.grid):
            return self
        data = self.data if self.discrete else self.data.to(torch.float32)
        out = torch.empty((self.channels, *grid.shape), dtype=data.dtype, device=data.device)
        source = replace(self, data=data)
        if transform is not None and transform.device != data.device:
            transform = transform.to(data.device)  # once, not for every block
        for part, block in grid.blocks(BLOCK):
            points = block.world_points(data.device, precise(data.device)).reshape(-1, grid.dimension)
            if transform is not None:
                points = transform.apply(points)
            out[:, part] = source.at(points, outside).reshape(self.channels, *block.shape)
        return replace(self, data=out, grid=grid)
