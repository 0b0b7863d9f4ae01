"""Two scans of one kind at several resolutions with comparable intensities, about 0..1, for a squared difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..core.grid import Grid, apply_matrix_torch
from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.sampling import precise, sample_index
from ..core.transform import Transform
from ..ops.smoothing import gaussian_smooth
from .linear_images import is_ct
from .working_pair import WorkingPair, prepare

#: the percentiles that become 0 and 1
_LOW, _HIGH = 0.005, 0.995
#: voxels looked at to find them
_SAMPLES = 500_000
#: a level has at least so many voxels along every axis
_LEAST = 10
#: voxels that intensities are blurred by to be compared
_BLUR = 2.0
#: voxels; what is finer than this no flow on the grid can carry faithfully
_SMOOTH = 0.7


@dataclass(frozen=True)
class ScaledPair:
    """A working pair whose intensities are scaled; `unit`: one of them in intensities of the moving scan."""

    pair: WorkingPair
    unit: float


def scaled_pairs(
    problem: RegistrationProblem,
    grid: Grid,
    levels: int,
    initial: Transform | None,
    window: tuple[float, float] | None = None,
    left_out: Sequence[torch.Tensor] = (),
) -> list[ScaledPair]:
    """`levels` pairs from coarse to fine, the last on `grid`, each with twice the spacing of the next.

    window    lowest and highest intensity looked at, or None
    left_out  ([Z,] Y, X) on `grid`: where > 0.1 the scans differ (a lesion) and must not set the scale

    The 0.5th to 99.5th percentile of the moving scan, where both can be seen, becomes 0..1, and those intensities of
    the fixed scan that correspond by mean and standard deviation; of two CTs, the same intensities. Those beyond are
    clamped.
    """
    grids = [grid]
    while len(grids) < levels and min(grids[0].size) >= 2 * _LEAST:
        grids.insert(0, grid.with_size([max(_LEAST, round(n / 2 ** len(grids))) for n in grid.size]))
    pairs = [_held(problem, prepare(problem, g, initial, window), initial) for g in grids]
    finest = pairs[-1]
    seen = finest.known > 0.5
    if finest.trust is not None:
        seen = seen & (finest.trust > 0.5)
    for share in left_out:
        seen = seen & (share <= 0.1)
    if not bool(seen.any()):
        seen = torch.ones_like(seen)
    low, high = _range(finest.moving[seen])
    if is_ct(problem.fixed) and is_ct(problem.moving):
        fixed = low, high
    else:
        # of blurred images, because thin bright structures depend on the thickness of slices
        blurred = [gaussian_smooth(v[None], _BLUR)[0][seen] for v in (finest.fixed, finest.moving)]
        (mean_f, mean_m), (sd_f, sd_m) = ([float(f(v)) for v in blurred] for f in (torch.mean, torch.std))
        ratio = sd_f / sd_m if sd_f > 0 and sd_m > 0 else 1.0
        fixed = mean_f + ratio * (low - mean_m), mean_f + ratio * (high - mean_m)
    return [_scaled(pair, fixed, (low, high)) for pair in pairs]


def _held(problem: RegistrationProblem, pair: WorkingPair, initial: Transform | None) -> WorkingPair:
    """The pair with the edge values held outside the fields of view, and trust 0 outside the fixed one."""
    grid, device = pair.grid, pair.fixed.device
    points = grid.world_points(device, precise(device)).reshape(-1, grid.dimension)
    fixed_outside, fixed = _edge(problem.fixed, points, pair.fixed)
    _, moving = _edge(problem.moving, points if initial is None else initial.apply(points), pair.moving)
    trust = (~fixed_outside).to(torch.float32)
    if bool(fixed_outside.any()) or pair.trust is not None:
        trust = trust if pair.trust is None else trust * pair.trust
        return WorkingPair(grid, fixed, moving, trust, pair.known)
    return WorkingPair(grid, fixed, moving, None, pair.known)


def _edge(image: Image, points: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the points lie outside the image, and `values` with those of its edge there."""
    index = apply_matrix_torch(image.grid.world_to_index, points)
    last = torch.tensor(image.grid.size, dtype=index.dtype, device=index.device) - 1
    outside = ((index < -0.5) | (index >= last + 0.5)).any(dim=-1).reshape(values.shape)
    if not bool(outside.any()):
        return outside, values
    data = image.data.to(torch.float32).mean(dim=0, keepdim=True)
    held = sample_index(data, index.reshape(*values.shape, -1)[outside], outside=None)[0]
    out = values.clone()
    out[outside] = held
    return outside, out


def _scaled(pair: WorkingPair, fixed: tuple[float, float], moving: tuple[float, float]) -> ScaledPair:
    def unit(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return gaussian_smooth(((values - low) / (high - low)).clamp(0, 1)[None], _SMOOTH)[0]

    scaled = WorkingPair(pair.grid, unit(pair.fixed, *fixed), unit(pair.moving, *moving), pair.trust, pair.known)
    return ScaledPair(scaled, moving[1] - moving[0])


def _range(values: torch.Tensor) -> tuple[float, float]:
    values = values[:: max(1, len(values) // _SAMPLES)]
    ordered = values.sort().values
    last = len(ordered) - 1
    low, high = float(ordered[int(_LOW * last)]), float(ordered[round(_HIGH * last)])
    if not high > low:
        low, high = float(ordered[0]), float(ordered[-1])
    return low, high if high > low else low + 1.0
