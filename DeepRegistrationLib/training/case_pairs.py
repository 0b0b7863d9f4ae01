"""Pairs of real cases on a working grid, brought together beforehand as they are when the network is used.

    fixed(x) = scan_f(A x),     moving(x) = scan_m(P A x),     labels likewise

x runs over a part of the fixed case's field of view, `size` voxels at the model's working spacing, around the
segments (without any: around the body). P is the affine pre-alignment of the methods. For cases that all go with each
other it is put together of one per case, P = T_m o T_f^-1 with T_c from a reference to case c; named pairs have
their own. A is the augmentation, which turns, moves, stretches and mirrors both alike, and moves P a little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..core.context import Context
from ..core.errors import InputError
from ..core.grid import Grid, apply_matrix, apply_matrix_torch
from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.sampling import sample_index
from ..core.transform import Transform
from ..core.upright import upright
from ..methods.initialisation import prealign
from ..networks.working import WorkingSettings
from ..ops.pyramid import block_average
from ..optim.working_pair import blurred_for, first_channel, working_grid
from ..transforms import Affine
from .batch import Batch
from .cases import Case, Role, TrainingCases

#: share of the field of view that is taken for the body where nothing says what is air
_DIM = 0.05


@dataclass(frozen=True)
class Augmentation:
    """probability  of an affine change of both scans alike
    degrees, mm, stretch   largest turn about each axis, move along each, and stretch 1 +- stretch of each
    mirror       probability that both are mirrored left to right
    jitter       mm, largest move of the part that is looked at, along each axis
    apart        mm, standard deviation of what is left of the pre-alignment's error along each axis
    """

    probability: float = 0.1
    degrees: float = 10.0
    mm: float = 10.0
    stretch: float = 0.1
    mirror: float = 0.5
    jitter: float = 16.0
    apart: float = 3.0


@dataclass(frozen=True)
class PreparedCase:
    """A case as it is sampled from.

    scan    intensity above `outside`, and 1 where there is something, both 0 beyond
    labels  share of each segment, 0 beyond; around the segments only
    centre  of what matters, mm
    """

    case: Case
    scan: Image
    outside: float
    labels: Image | None
    centre: np.ndarray
    grid: Grid


class CasePairs:
    """Draws pairs of `cases`, which are prepared and aligned when they are first needed.

    cases     at least two
    pairs     (fixed, moving) names; none: each case with each other
    segments  names of segments all cases have, in the order of the batch's channels; none: no labels
    size      voxels along x, y[, z] of what a batch shows
    """

    def __init__(
        self,
        cases: Sequence[Case],
        pairs: Sequence[tuple[str, str]],
        segments: Sequence[str],
        working: WorkingSettings,
        size: Sequence[int],
        initialisation: str = "affine",
    ) -> None:
        names = [c.name for c in cases]
        wanted = {n for pair in pairs for n in pair}
        if not wanted <= set(names):
            raise InputError(f"A pair names {', '.join(sorted(wanted - set(names)))}, but there is no such case.")
        if len(cases) < 2:
            raise InputError(f"Learning to align needs at least two cases, but {len(cases)} came; add some.")
        self.cases = {c.name: c for c in cases}
        self.together = bool(pairs)
        self.pairs = list(pairs) or [(f, m) for f in names for m in names if f != m]
        self.segments, self.working, self.size = list(segments), working, tuple(size)
        self.initialisation = initialisation
        self._prepared: dict[str, PreparedCase] = {}
        self._starts: dict[tuple[str, str], Affine] = {}

    def draw(self, generator: torch.Generator, augmentation: Augmentation | None = None) -> Batch:
        """One pair at random (B = 1)."""
        fixed, moving = self.pairs[int(torch.randint(len(self.pairs), (), generator=generator))]
        return self.pair(fixed, moving, generator, augmentation)

    def pair(
        self,
        fixed: str,
        moving: str,
        generator: torch.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> Batch:
        """The pair of two names (B = 1); without augmentation always the same."""
        f, m = self.prepared(fixed), self.prepared(moving)
        start: Affine = self.start(fixed, moving)
        grid, change, mirrored = self._view(f), None, False
        if augmentation is not None and generator is not None:
            grid, change, nudge, mirrored = _drawn(grid, augmentation, generator)
            start = nudge.after(start)
        scan, known = _sampled(f, grid, change)
        other, seen = _sampled(m, grid, start if change is None else start.after(change))
        scans = [self.working.normalised(s, k) for s, k in ((scan, known), (other, seen))]
        labels = [None, None] if not self.segments else [
            _labels(f, grid, change), _labels(m, grid, start if change is None else start.after(change))
        ]  # fmt: skip

        def put(values: torch.Tensor | None) -> torch.Tensor | None:
            if values is None:
                return None
            values = values if values.dim() == grid.dimension + 1 else values[None]
            return (values.flip(-1) if mirrored else values)[None]

        ready = [put(v) for v in (*scans, *labels, known * seen)]
        assert ready[0] is not None and ready[1] is not None
        spacing = torch.tensor(grid.spacing, dtype=torch.float32)
        return Batch(ready[0], ready[1], spacing, ready[2], ready[3], region=ready[4])

    def prepared(self, name: str) -> PreparedCase:
        if name not in self._prepared:
            self._prepared[name] = _prepared(self.cases[name], self.segments, self.working)
        return self._prepared[name]

    def start(self, fixed: str, moving: str) -> Affine:
        """The pre-alignment of a pair, fixed to moving, LPS mm."""
        if self.together:
            return self._aligned(fixed, moving)
        back = self._aligned(self._reference, fixed).inverse().transform
        assert isinstance(back, Affine)
        return self._aligned(self._reference, moving).after(back)

    def view(self, name: str) -> Grid:
        """What a batch shows of a fixed case, without augmentation."""
        return self._view(self.prepared(name))

    @cached_property
    def _reference(self) -> str:
        """The case of median size: the least has to be stretched."""
        volumes = sorted((math.prod(c.scan.grid.extent), name) for name, c in self.cases.items())
        return volumes[len(volumes) // 2][1]

    def _aligned(self, fixed: str, moving: str) -> Affine:
        if fixed == moving:
            return Affine.identity(self.cases[fixed].scan.dimension)
        if (fixed, moving) not in self._starts:
            f, m = self.cases[fixed], self.cases[moving]
            problem = RegistrationProblem(f.scan, m.scan)
            with torch.enable_grad():  # also while a network is validated
                start = prealign(problem, self.initialisation, Context(torch.device("cpu")))
            self._starts[fixed, moving] = _affine(start, f.scan.dimension)
        return self._starts[fixed, moving]

    def _view(self, case: PreparedCase) -> Grid:
        """`size` voxels of the case's working grid around its centre."""
        first = np.round(case.grid.index_from_world(case.centre) - (np.array(self.size) - 1) / 2)
        return case.grid.cropped([int(i) for i in first], self.size)


def pairs_of(cases: TrainingCases, role: Role) -> list[tuple[str, str]]:
    """The named pairs whose cases both have the role."""
    names = {c.name for c in cases.of(role)}
    return [(f, m) for f, m in cases.pairs if f in names and m in names]


def _prepared(case: Case, segments: Sequence[str], working: WorkingSettings) -> PreparedCase:
    image = first_channel(case.scan)
    # axes as those of the world, which is how networks are used
    grid = working_grid(upright(image.grid).grid(image.grid), working.spacing)
    image = blurred_for(image, grid)
    data = image.data.to(torch.float32)
    outside = float(case.scan.outside_value())
    scan = Image(torch.cat([data - outside, torch.ones_like(data)]), image.grid)
    labels = None
    if segments:
        if case.labels is None:
            raise InputError(f"The case {case.name!r} has no segmentation, but others do; add it or leave all out.")
        labels = _shares(case.labels, segments, grid)
    centre = _middle(labels.data.sum(dim=0) > 0.5, labels.grid) if labels is not None else _middle(
        working.normalised(data[0]) > _DIM, image.grid
    )
    return PreparedCase(case, scan, outside, labels, centre, grid)


def _shares(labels: Image, segments: Sequence[str], grid: Grid) -> Image:
    """Share of each segment, at about the resolution of `grid`, cut out around all of them."""
    values = {name: value for value, name in labels.names.items()}
    wanted = [values[name] for name in segments]
    there = torch.nonzero(torch.isin(labels.data[0], torch.tensor(wanted, dtype=labels.data.dtype)))
    if len(there) == 0:
        raise InputError(f"A segmentation holds nothing of {', '.join(segments)}; leave that case out.")
    step = [max(1, int(min(grid.spacing) / s + 0.3)) for s in labels.grid.spacing]
    low = [max(0, int(a) - s) for a, s in zip(there.amin(dim=0).flip(0), step, strict=True)]
    high = [
        min(n, int(b) + 1 + s) for b, n, s in zip(there.amax(dim=0).flip(0), labels.grid.size, step, strict=True)
    ]
    part = labels.data[0]
    for axis, (a, b) in enumerate(zip(low[::-1], high[::-1], strict=True)):
        part = part.narrow(axis, a, b - a)
    within = labels.grid.cropped(low, [b - a for a, b in zip(low, high, strict=True)])
    step = [min(s, n) for s, n in zip(step, within.size, strict=True)]
    shares = block_average(torch.stack([part == v for v in wanted]), step)
    return Image(shares, within.downsampled(step))


def _middle(there: torch.Tensor, grid: Grid) -> np.ndarray:
    found = torch.nonzero(there)
    if len(found) == 0:
        return grid.centre
    return grid.world_from_index(((found.amin(dim=0) + found.amax(dim=0)) / 2).flip(0).tolist())


def _sampled(case: PreparedCase, grid: Grid, change: Affine | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Intensities, and 1 where there are any, on the grid."""
    values = _pulled(case.scan, grid, change)
    return values[0] + case.outside, values[1]


def _labels(case: PreparedCase, grid: Grid, change: Affine | None) -> torch.Tensor:
    assert case.labels is not None
    return _pulled(case.labels, grid, change)


def _pulled(image: Image, grid: Grid, change: Affine | None) -> torch.Tensor:
    """As `image.resampled(grid, change, outside=0)`, in single precision, which is enough to learn from, and only
    where there is something to be found."""
    moved = np.eye(grid.dimension + 1) if change is None else change.homogeneous
    to_image = image.grid.world_to_index @ moved @ grid.index_to_world
    corners = image.grid.index_from_world(image.grid.padded(1).corners)
    reached = apply_matrix(np.asarray(np.linalg.inv(to_image), dtype=np.float64), corners)
    first = np.clip(np.floor(reached.min(axis=0)), 0, grid.size).astype(int)
    stop = np.clip(np.ceil(reached.max(axis=0)) + 1, first, grid.size).astype(int)
    out = torch.zeros((image.channels, *grid.shape))
    if (stop > first).all():
        part = grid.cropped(first.tolist(), (stop - first).tolist())
        to_part = image.grid.world_to_index @ moved @ part.index_to_world
        points = apply_matrix_torch(to_part, part.index_points())
        box = tuple(slice(a, b) for a, b in zip(first[::-1].tolist(), stop[::-1].tolist(), strict=True))
        out[(slice(None), *box)] = sample_index(image.data, points, outside=0.0)
    return out


def _affine(start: Transform | None, dimension: int) -> Affine:
    if start is None:
        return Affine.identity(dimension)
    if not isinstance(start, Affine):
        raise InputError("The cases' pre-alignment has to be linear; choose rigid or affine.")
    return start


def _drawn(
    grid: Grid, said: Augmentation, generator: torch.Generator
) -> tuple[Grid, Affine | None, Affine, bool]:
    """The part that is looked at, the change of both scans, what is left of the pre-alignment's error, mirrored."""
    d = grid.dimension

    def uniform(count: int, most: float) -> np.ndarray:
        return ((2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1) * most).numpy()

    shift = np.round(uniform(d, said.jitter) / np.array(grid.spacing))
    moved = grid.cropped([int(i) for i in shift], grid.size)
    chance = torch.rand(2, generator=generator)
    turns, moves, stretches = uniform(3, said.degrees), uniform(d, said.mm), 1 + uniform(d, said.stretch)
    change = None
    if float(chance[0]) < said.probability:
        change = Affine.about(grid.centre, _turned(turns, d) * stretches, moves)
    apart = torch.randn(d, generator=generator, dtype=torch.float64).numpy() * said.apart
    return moved, change, Affine.from_translation(apart), float(chance[1]) < said.mirror


def _turned(degrees: np.ndarray, d: int) -> np.ndarray:
    """Rotation about x, then y, then z; about the one axis there is in 2-D."""
    total = np.eye(d)
    for k in range(3) if d == 3 else (2,):
        a, b = [i for i in range(d) if i != k]
        turn, angle = np.eye(d), math.radians(float(degrees[k]))
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        total = turn @ total
    return total
