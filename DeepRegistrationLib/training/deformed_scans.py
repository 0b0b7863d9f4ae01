"""Pairs made of one real scan: deformed twice at random, with the map between both known exactly.

    moving(y) = S(y + v(y)) + noise,     fixed(x) = S(x + u(x) + v(x + u(x))) + noise

S is the scan on the working grid, u the truth, v a deformation of low frequency, without which every moving scan of a
case would be the same. Sokooti et al., MICCAI 2017, doi:10.1007/978-3-319-66182-7_27: fields, and noise of 5 (fixed)
and 3 (moving) HU. Differs from the paper: linear interpolation, but of both, so that neither is blurred more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.sampling import sample_batch, sample_index
from ..core.upright import upright
from ..networks.working import WorkingSettings
from ..ops.warp import index_grid
from ..optim.working_pair import blurred_for, first_channel, working_grid
from .batch import Batch
from .cases import Case
from .synthetic.deformation import point_field
from .synthetic.draws import Draws

#: standard deviation of the noise of fixed and moving, as a share of the range of intensities
NOISE = (0.0033, 0.002)
#: of v: standard deviation of its Gaussian in mm, points
LOW_FREQUENCY = (35.0, 100)
#: intensity from which on a voxel belongs to the body
_BODY = 0.05


@dataclass(frozen=True)
class FieldSettings:
    """amplitude    mm, the largest component of u and v
    frequencies  of u: (standard deviation of the Gaussian mm, points), one drawn for each pair
    points       how many voxels of the body are given with where they go
    """

    amplitude: float = 8.0
    frequencies: Sequence[tuple[float, int]] = ((35.0, 80), (25.0, 100), (20.0, 100))
    points: int = 64


class DeformedScans:
    """Draws pairs of cases' scans; see the module's docstring.

    size  voxels along x, y[, z] of what is drawn from a scan, at the working spacing
    """

    def __init__(
        self, cases: Sequence[Case], working: WorkingSettings, size: Sequence[int], fields: FieldSettings
    ) -> None:
        self.working, self.size, self.fields = working, tuple(size), fields
        self._scans = [self._prepared(case) for case in cases]

    def _prepared(self, case: Case) -> torch.Tensor:
        """(1, [Z,] Y, X), 0..1"""
        image = first_channel(case.scan)
        grid: Grid = working_grid(upright(image.grid).grid(image.grid), self.working.spacing)
        image = blurred_for(image, grid)
        scan: Image = image.resampled(grid, None, outside=float(case.scan.outside_value()))
        return self.working.normalised(scan.data)

    @torch.no_grad()
    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        """One pair. generator  on the CPU; everything random comes from it."""
        draws = Draws(generator, device)
        scan = draws.one_of(self._scans).to(device)
        shape = tuple(reversed(self.size))
        spacing = self.working.spacing or 1.0
        corner = self._corner(draws, scan)
        deviation, count = draws.one_of(self.fields.frequencies)
        u = point_field(draws, shape, self.fields.amplitude / spacing, deviation / spacing, count)
        voxels = index_grid(shape, u)
        to_moving = voxels + u.movedim(0, -1)
        in_moving, in_fixed = voxels, to_moving
        if draws.integer(2) == 1:
            deviation, count = LOW_FREQUENCY
            v = point_field(draws, shape, self.fields.amplitude / spacing, deviation / spacing, count)
            in_moving = voxels + v.movedim(0, -1)
            in_fixed = to_moving + sample_batch(v[None], to_moving[None])[0].movedim(0, -1)
        corner = corner + torch.tensor(draws.uniforms(len(shape)))  # neither image lies on the scan's own voxels
        fixed, moving = (
            sample_index(scan, at + corner.to(device), outside=None)[None] for at in (in_fixed, in_moving)
        )
        fixed, moving = (
            (image + noise * draws.normal(*image.shape)).clamp(0, 1)
            for image, noise in zip((fixed, moving), NOISE, strict=True)
        )
        size = torch.tensor(self.size, device=device)
        region = ((to_moving > -0.5) & (to_moving < size - 0.5)).all(dim=-1).to(torch.float32)[None, None]
        batch = Batch(
            fixed, moving, torch.full((len(shape),), spacing, device=device), displacement=u[None], region=region
        )
        return self._with_points(draws, batch)

    def _corner(self, draws: Draws, scan: torch.Tensor) -> torch.Tensor:
        """First voxel x, y[, z] of the part that is looked at: within the scan, where that is large enough."""
        room = [max(0, n - s) for n, s in zip(reversed(scan.shape[1:]), self.size, strict=True)]
        return torch.tensor([float(draws.integer(r + 1)) for r in room])

    def _with_points(self, draws: Draws, batch: Batch) -> Batch:
        """Voxels of the body, and where u takes them."""
        shape = batch.fixed.shape[2:]
        assert batch.displacement is not None and batch.region is not None
        offered = torch.rand(16 * self.fields.points, len(shape), generator=draws.generator)
        voxels = (offered * torch.tensor(shape)).long().to(draws.device)
        here = tuple(voxels.T)
        rank = 2 * (batch.region[0, 0][here] > 0.5).int() + (batch.fixed[0, 0][here] > _BODY).int()
        chosen = voxels[torch.argsort(rank, descending=True, stable=True)[: self.fields.points]]
        fixed = chosen.flip(1).to(torch.float32)
        moving = fixed + batch.displacement[0][(slice(None), *chosen.T)].T
        return replace(batch, fixed_points=fixed[None], moving_points=moving[None])
