"""LapIRN: a Laplacian pyramid of identical CNN blocks, each refining what the coarser ones found.

    phi_1 = b_1(F_1, M_1),     phi_i = up(phi_{i-1}) + b_i(F_i, M_i o (id + up(phi_{i-1})), up(phi_{i-1}))

F_i, M_i are the scans halved (levels - i) times. Each block is an encoder at its resolution, residual units at half of
it, and a decoder; the embedding after the units of a block is added to the next block's before its own units, so that
a fine level looks as far as the coarse ones. In the diffeomorphic form phi is a stationary velocity, and what warps
is its exponential.

Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks, 2021,
doi:10.1007/978-3-030-71827-5_7; the blocks: Large deformation diffeomorphic image registration with Laplacian pyramid
networks, MICCAI 2020, doi:10.1007/978-3-030-59716-0_21 (five residual units, 28 channels, LeakyReLU 0.2, softsign).

Differs from the papers: fields are voxels of each level's grid, so that a network trained on part of a scan works on
all of it; the papers' units (half the distance between the outer voxel centres) are kept for published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..ops.warp import exponential, resized, warp
from .catalogue import Prediction

#: residual units of a block
UNITS = 5
#: slope of LeakyReLU
SLOPE = 0.2


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int, conv: type[nn.Module]) -> None:
        super().__init__()
        self.first = conv(channels, channels, 3, padding=1, bias=False)
        self.second = conv(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.second(F.leaky_relu(self.first(F.leaky_relu(x, SLOPE)), SLOPE))
        out: torch.Tensor = x + inner
        return out


class Block(nn.Module):
    """One level: (B, inputs, ...) and the coarser embedding -> what it adds to the field, in -1..1, and its embedding.

    The coarser embedding lies on a grid half as fine, and so does what it is added to; the one given back is as fine
    as the input.
    """

    def __init__(self, inputs: int, channels: int, dimension: int) -> None:
        super().__init__()
        conv: Any = nn.Conv2d if dimension == 2 else nn.Conv3d
        transposed: Any = nn.ConvTranspose2d if dimension == 2 else nn.ConvTranspose3d
        self.encode = nn.Sequential(
            conv(inputs, channels, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            conv(channels, channels, 3, padding=1, bias=False),
        )
        self.down = conv(channels, channels, 3, stride=2, padding=1, bias=False)
        self.units = nn.ModuleList([ResidualUnit(channels, conv) for _ in range(UNITS)])
        self.up = transposed(channels, channels, 2, stride=2, bias=False)
        self.decode = nn.Sequential(
            conv(2 * channels, channels, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            conv(channels, dimension, 3, padding=1, bias=False),
            nn.Softsign(),
        )

    def forward(
        self, x: torch.Tensor, coarser: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encode(x)
        embedding = self.down(features)
        if coarser is not None:
            embedding = embedding + coarser
        for unit in self.units:
            embedding = F.leaky_relu(unit(embedding), SLOPE)
        embedding = self.up(embedding)
        return self.decode(torch.cat([embedding, features], dim=1)).float(), embedding


class InVoxels:
    """Fields are voxels of the level's grid; halving joins whole blocks of voxels, edges stay where they are."""

    def __init__(self, reach: float) -> None:
        self.reach = reach

    def halved(self, scans: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(scans, 2) if scans.dim() == 4 else F.avg_pool3d(scans, 2)

    def finer(self, field: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        return resized(field, shape)

    def voxels(self, field: torch.Tensor) -> torch.Tensor:
        return field

    def seen(self, field: torch.Tensor) -> torch.Tensor:
        """The field as a block is given it."""
        return field / self.reach


class InHalfExtents(InVoxels):
    """As the published networks have it: a field of 1 is half the distance of the outer voxel centres of an axis.

    Halving is a mean over the 3^d voxels about every other voxel centre. Between levels a field keeps its numbers
    and is interpolated with the edges of the two grids on each other, although the images' first voxel centres are.
    """

    def halved(self, scans: torch.Tensor) -> torch.Tensor:
        pool = F.avg_pool2d if scans.dim() == 4 else F.avg_pool3d
        return pool(scans, 3, stride=2, padding=1, count_include_pad=False)

    def finer(self, field: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        old = torch.tensor(field.shape[:1:-1], device=field.device)
        new = torch.tensor(tuple(shape)[::-1], device=field.device)
        return resized(field, shape) * _along(old / new, field)

    def voxels(self, field: torch.Tensor) -> torch.Tensor:
        size = torch.tensor(field.shape[:1:-1], device=field.device)
        return field * _along((size - 1) / 2, field)

    def seen(self, field: torch.Tensor) -> torch.Tensor:
        return field


#: by the card's "units"
UNITS_OF_FIELDS: Mapping[str, type[InVoxels]] = {"voxels": InVoxels, "half extents": InHalfExtents}


class LapIRN(nn.Module):
    """See the module's docstring. Sizes are multiples of 2 ** levels.

    levels         blocks, the coarsest first
    channels       of every block
    reach          largest displacement (velocity) one level adds, in its `units`
    diffeomorphic  whether the fields are velocities
    units          one of UNITS_OF_FIELDS
    """

    def __init__(
        self,
        dimension: int = 3,
        levels: int = 3,
        channels: int = 28,
        reach: float = 4.0,
        diffeomorphic: bool = False,
        units: str = "voxels",
    ) -> None:
        super().__init__()
        self.units = UNITS_OF_FIELDS[units](reach)
        self.reach = reach
        self.diffeomorphic = diffeomorphic
        self.blocks = nn.ModuleList(
            [Block(2 if level == 0 else 2 + dimension, channels, dimension) for level in range(levels)]
        )

    def forward(
        self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None, levels: int | None = None
    ) -> Prediction:
        """levels: only the so many coarsest blocks; the scans are then to come halved once for every block left out.

        details["fields"], ["displacements"]: of every level, the coarsest first, voxels of that level's grid; the
        fields are velocities in the diffeomorphic form.
        """
        blocks = self.blocks[:levels]
        pyramid = [torch.cat([moving, fixed], dim=1).float()]
        while len(pyramid) < len(blocks):
            pyramid.insert(0, self.units.halved(pyramid[0]))
        fields: list[torch.Tensor] = []
        displacements: list[torch.Tensor] = []
        embedding = None
        for block, scans in zip(blocks, pyramid, strict=True):
            if not fields:
                added, embedding = block(scans)
                field = self.reach * added
            else:
                shape = scans.shape[2:]
                before = self.units.finer(fields[-1], shape)
                on = before if displacements[-1] is fields[-1] else self.units.finer(displacements[-1], shape)
                warped = warp(scans[:, :1], self.units.voxels(on))
                added, embedding = block(torch.cat([warped, scans[:, 1:], self.units.seen(before)], dim=1), embedding)
                field = before + self.reach * added
            fields.append(field)
            displacements.append(self._flow(field) if self.diffeomorphic else field)
        in_voxels = self.units.voxels
        details = {"fields": [in_voxels(f) for f in fields], "displacements": [in_voxels(u) for u in displacements]}
        velocity = details["fields"][-1] if self.diffeomorphic else None
        return Prediction(details["displacements"][-1], velocity, details)

    def _flow(self, velocity: torch.Tensor) -> torch.Tensor:
        in_voxels = self.units.voxels(velocity)
        scale = self.units.voxels(torch.ones_like(velocity))
        return exponential(in_voxels) / scale


def build(settings: Mapping[str, Any]) -> LapIRN:
    """The network a card's "network" describes."""
    return LapIRN(**settings)


def _along(values: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """(d,) numbers along x, y[, z], shaped to multiply a field (B, d, [Z,] Y, X)."""
    return values.to(field.dtype).reshape(1, -1, *(1,) * (field.dim() - 2))
