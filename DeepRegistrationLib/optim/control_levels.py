"""Registration by optimal control from coarse to fine grids: the domain, the images of each level, and the way through.

The domain is the fixed field of view with a margin around it, as the deformation vanishes on its boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ..core.grid import Grid
from ..core.image import Image, ImageKind
from ..core.problem import RegistrationProblem
from ..core.progress import Progress, Tick
from ..core.sampling import BLOCK, sample_displaced, sample_index
from ..core.transform import Transform
from ..ops.box import box_minimum
from ..ops.div_curl import along_world
from ..ops.local_contrast import local_contrast
from ..ops.poisson import FIXED, fast_size
from ..ops.smoothing import gaussian_smooth
from ..transforms import DisplacementField
from .control_inverse import inverse_displacement
from .div_curl_control import Control, DivCurlControl, ForceControl
from .linear_images import is_ct
from .optimal_control import Outcome, Pair, Settings, align
from .working_pair import prepare, working_grid

#: working voxels that the automatic spacing does not exceed, without the margin
MOST_VOXELS = 2_000_000
#: levels have at least so many voxels along every axis that has them
_LEAST = 12
#: voxels of margin along short axes, where the longest has as many
_RIM = 8
#: share of the voxels below and above the window of intensities
_TAIL = 0.005
_SAMPLES = 500_000


@dataclass(frozen=True)
class Scheme:
    """The numbers of a run; see methods/deformable/variational_principle.py for words. Lengths in voxels of a level."""

    control: str
    similarity: str
    spacing: float | None
    margin: float
    levels: int
    blur: float
    radius: int
    window: tuple[float, float] | None
    settings: Settings


def register(
    problem: RegistrationProblem, scheme: Scheme, progress: Progress
) -> tuple[DisplacementField, DisplacementField, dict[str, list[float]]]:
    """phi with moving(A(phi(x))) like fixed(x), A = `problem.initial_transform`; its inverse; losses by level."""
    progress.update(0.0, "Preparing the scans")
    grid = domain(problem.fixed.grid, scheme.spacing, scheme.margin)
    finest = _finest(problem, grid, problem.initial_transform, scheme.window, progress.tick)
    same_scale = is_ct(problem.fixed) and is_ct(problem.moving)
    grids = level_grids(grid, scheme.levels)
    history: dict[str, list[float]] = {}
    total = inverse = torch.zeros((grid.dimension, *(1,) * grid.dimension), device=problem.fixed.data.device)
    done, whole = 0.05, sum(_work(g) for g in grids)
    for number, level in enumerate(grids, start=1):
        stage = f"Deforming, level {number} of {len(grids)}"
        part = progress.part(done, done + 0.85 * _work(level) / whole, stage)
        part.update(0.0)
        pair = _level(finest, level, scheme, part.tick)
        if scheme.similarity == "ssd" and not same_scale:
            pair = _matched(pair, _carried(total, level))
        outcome = Outcome(_carried(total, level), _carried(inverse, level))

        def invert(field: torch.Tensor, frame: Grid, part: Progress = part) -> torch.Tensor:
            return inverse_displacement(field, frame, report=lambda _: part.tick())

        align(pair, _control(scheme, level, pair.fixed.device), outcome, scheme.settings, invert, part)
        total, inverse = outcome.total, outcome.inverse
        history[f"level {number}"] = outcome.losses
        done += 0.85 * _work(level) / whole
        del pair
    progress.update(0.9, "Inverting")
    frame = Grid(grid.size, grid.spacing)
    inverse = inverse_displacement(total, frame, inverse, report=lambda f: progress.update(0.9 + 0.1 * f, "Inverting"))
    return _field(total, grid), _field(inverse, grid), history


def domain(fixed: Grid, spacing: float | None, margin: float) -> Grid:
    """The working grid of the fixed field of view, `margin` times its size wider at every side.

    spacing  mm; not given, the geometric mean of the fixed grid's, coarser where that would be many voxels
    """
    d = fixed.dimension
    if spacing is None:
        spacing = fixed.voxel_volume ** (1 / d) * max(1.0, fixed.voxels / MOST_VOXELS) ** (1 / d)
    view = working_grid(fixed, spacing)
    # a thin slab is not held fast by a boundary next to it
    least = min(_RIM, margin * max(view.size))
    size = [_fast(n + 2 * round(max(margin * n, least))) for n in view.size]
    return view.cropped([-((m - n) // 2) for m, n in zip(size, view.size, strict=True)], size)


def level_grids(grid: Grid, levels: int) -> list[Grid]:
    """`grid` and coarser ones of the same extent, each about twice as coarse, coarsest first."""
    out = [grid]
    for level in range(1, levels):
        size = [_fast(max(min(n, _LEAST), round(n / 2**level))) for n in grid.size]
        if size == list(out[-1].size):
            break
        out.append(grid.with_size(size))
    return out[::-1]


def _fast(size: int) -> int:
    """At least `size`, boundary included, with fast sine transforms of what is inside."""
    return fast_size(max(size - 2, 1), FIXED) + 2


def _work(grid: Grid) -> float:
    return grid.voxels + 20_000.0


def _finest(
    problem: RegistrationProblem, grid: Grid, initial: Transform | None, window: tuple[float, float] | None, tick: Tick
) -> Pair:
    """Both scans on the finest grid, scaled to about 0..1 where both are known."""
    if problem.fixed_mask is None:
        everywhere = torch.ones_like(problem.fixed.data[:1], dtype=torch.uint8)
        problem = replace(problem, fixed_mask=Image(everywhere, problem.fixed.grid, ImageKind.MASK))
    pair = prepare(problem, grid, initial, window, tick)
    assert pair.trust is not None
    both = (pair.trust > 0) & (pair.known > 0.5)
    if not bool(both.any()):
        both = torch.ones_like(both)
    low_f, high_f = _range(pair.fixed[both])
    low_m, high_m = _range(pair.moving[both])
    if is_ct(problem.fixed) and is_ct(problem.moving):
        # the same number means the same tissue
        low_f = low_m = min(low_f, low_m)
        high_f = high_m = max(high_f, high_m)
    return Pair(
        ((pair.fixed - low_f) / (high_f - low_f)).clamp_(-0.5, 1.5)[None],
        ((pair.moving - low_m) / (high_m - low_m)).clamp_(-0.5, 1.5)[None],
        pair.trust[None],
        pair.known[None],
        Grid(grid.size, grid.spacing),
    )


def _range(values: torch.Tensor) -> tuple[float, float]:
    sample = values[:: max(1, values.numel() // _SAMPLES)].sort().values
    tail = int(_TAIL * (len(sample) - 1))
    low, high = float(sample[tail]), float(sample[len(sample) - 1 - tail])
    if high <= low:
        low, high = float(sample[0]), float(sample[-1])
    return low, high if high > low else low + 1.0


def _level(finest: Pair, grid: Grid, scheme: Scheme, tick: Tick) -> Pair:
    """The pair at one level: averaged, smoothed, and normalised locally where asked."""
    shape = grid.shape

    def image(values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        tick()
        values = gaussian_smooth(_averaged(values, shape), scheme.blur)
        if scheme.similarity == "lncc":
            return local_contrast(values[0], scheme.radius, counts=counts[0])[None]
        return values

    def certain(values: torch.Tensor) -> torch.Tensor:
        return (_averaged(values, shape) > 0.99).to(torch.float32)

    trust, known = certain(finest.trust), certain(finest.known)
    if not bool((trust * known).any()):
        trust, known = _averaged(finest.trust, shape), _averaged(finest.known, shape)
    # differences at the edge of what is known look beyond it
    near = box_minimum(known, 1)
    known = near if bool((near * trust).any()) else known
    frame = Grid(grid.size, grid.spacing)
    return Pair(image(finest.fixed, trust), image(finest.moving, known), trust, known, frame)


def _matched(pair: Pair, total: torch.Tensor) -> Pair:
    """Moving intensities scaled so that, moved by `total`, they have the mean and the spread of the fixed ones."""
    moved = sample_displaced(torch.cat([pair.moving, pair.known]), total, pair.frame)
    weight = moved[1:] * pair.trust
    counted = weight.sum().clamp(min=1e-6)

    def moments(values: torch.Tensor) -> tuple[float, float]:
        mean = (values * weight).sum() / counted
        return float(mean), float(((values - mean).square() * weight).sum() / counted) ** 0.5

    (mean_f, spread_f), (mean_m, spread_m) = moments(pair.fixed), moments(moved[:1])
    if spread_f <= 0 or spread_m <= 0:
        return pair
    return replace(pair, moving=(pair.moving - mean_m) * (spread_f / spread_m) + mean_f)


def _averaged(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Means over the voxels of a coarser grid of the same extent, (1, [Z,] Y, X)."""
    if tuple(values.shape[1:]) == tuple(shape):
        return values
    pool: Callable[..., torch.Tensor] = F.adaptive_avg_pool3d if len(shape) == 3 else F.adaptive_avg_pool2d
    return pool(values, tuple(shape))


def _control(scheme: Scheme, grid: Grid, device: torch.device) -> Control:
    if scheme.control == "force":
        return ForceControl(grid.shape, grid.spacing, device)
    return DivCurlControl(grid.shape, grid.spacing, device, scheme.settings.smallest)


def _carried(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """A displacement (d, [Z,] Y, X) mm on a grid of the same extent, on `grid`; linear, zero on the outer voxels."""
    if tuple(field.shape[1:]) == grid.shape:
        return field
    scale = [m / n for m, n in zip(field.shape[:0:-1], grid.size, strict=True)]
    out = torch.zeros((grid.dimension, *grid.shape), device=field.device)
    inner = (slice(1, -1),) * (grid.dimension - 1)
    for part, block in grid.blocks(BLOCK):
        points = block.index_points(field.device)
        points[..., -1] += part.start
        where = (points + 0.5) * torch.tensor(scale, device=field.device) - 0.5
        values = sample_index(field, where, outside=None)
        out[(slice(None), part, *inner)] = values[(slice(None), slice(None), *inner)]
    out[:, 0] = 0
    out[:, -1] = 0
    return out


def _field(displacement: torch.Tensor, grid: Grid) -> DisplacementField:
    return DisplacementField(along_world(displacement, grid), grid)
