"""From an anatomy and a motion to a registration problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.transform import Transform
from DeepRegistrationLib.transforms import Affine, compose

from .motion import Field, Motion

#: anatomy mm (N, d) float32, edge mm -> values (N,) float32, labels (N,) uint8
Anatomy = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]

#: points worked on at once: they stay in the processor's cache
_CHUNK = 30_000


@dataclass(frozen=True)
class PhantomCase:
    """problem, and T with moving(T(x)) = fixed(x) besides noise (and contrast)."""

    problem: RegistrationProblem
    true_transform: Transform

    def body_points(self, count: int = 20_000) -> torch.Tensor:
        """(N, d) LPS mm: evenly sampled voxels of the fixed mask whose partners the moving image holds."""
        mask = self.problem.fixed_mask
        assert mask is not None
        inside = mask.data[0] != 0
        x = mask.grid.world_points(dtype=torch.float64)[inside]
        x = x[:: max(1, len(x) // count)]
        y = self.true_transform.apply(x).numpy()
        moving = self.problem.moving.grid
        index = moving.index_from_world(y)
        return x[torch.from_numpy(((index >= 0) & (index <= np.array(moving.size) - 1)).all(axis=1))]

    def errors(self, transform: Transform) -> np.ndarray:
        """|T'(x) - T(x)| mm at the body points: the TRE of a found transform T', not at landmarks only."""
        x = self.body_points()
        return (transform.apply(x) - self.true_transform.apply(x)).norm(dim=1).numpy()


@dataclass(frozen=True)
class Subject:
    """What is drawn, and what is known of it. Points in the anatomy's own mm, its middle at 0."""

    fixed: Anatomy
    moving: Anatomy
    names: Mapping[int, str]
    mask_labels: tuple[int, ...] | None  # None: every label
    landmarks: np.ndarray
    landmark_names: tuple[str, ...] = ()


def make_case(
    subject: Subject,
    grid_fixed: Grid,
    grid_moving: Grid,
    motion: Field | None,
    *,
    placement: Affine | None,
    noise: float,
    seed: int,
    unit: str | None = None,
    floor: float | None = None,
) -> PhantomCase:
    """The pair: T = placement after motion, both about the middle of the fixed grid.

    motion     displacement (N, d) at anatomy points (N, d); None for none
    placement  fixed world -> moving world; None leaves the moving patient where the fixed one lies
    """
    with _one_thread():
        return _make_case(
            subject,
            grid_fixed,
            grid_moving,
            motion,
            placement=placement,
            noise=noise,
            seed=seed,
            unit=unit,
            floor=floor,
        )


def _make_case(
    subject: Subject,
    grid_fixed: Grid,
    grid_moving: Grid,
    motion: Field | None,
    *,
    placement: Affine | None,
    noise: float,
    seed: int,
    unit: str | None,
    floor: float | None,
) -> PhantomCase:
    d = grid_fixed.dimension
    centre = torch.from_numpy(grid_fixed.centre)
    place = placement or Affine.identity(d)
    moves = None
    if motion is not None:
        moves = Motion(d, lambda x: motion(x - centre.to(x.dtype)))
    truth: Transform = place if moves is None else compose(moves, place)
    edge = 0.7 * max(float(np.mean(grid_fixed.spacing)), float(np.mean(grid_moving.spacing)))
    generator = torch.Generator().manual_seed(seed + 1_000_003)

    at_fixed = grid_fixed.world_points(dtype=torch.float64) - centre
    fixed = _draw(subject.fixed, at_fixed, edge)
    at_moving = _source_points(grid_moving, place, moves) - centre
    moving = _draw(subject.moving, at_moving, edge)

    def image(values: torch.Tensor, grid: Grid) -> Image:
        noisy = values + noise * torch.randn(values.shape, generator=generator)
        return Image((noisy if floor is None else noisy.clamp_min(floor))[None], grid, unit=unit)

    def mask(labels: torch.Tensor, grid: Grid) -> Image:
        wanted = subject.mask_labels
        chosen = (
            labels != 0 if wanted is None else torch.isin(labels, torch.tensor(wanted, dtype=labels.dtype))
        )
        return Image(chosen.to(torch.uint8)[None], grid, ImageKind.MASK)

    marks_fixed, marks_moving = _landmarks(subject, centre, truth, grid_fixed, grid_moving)
    problem = RegistrationProblem(
        fixed=image(fixed[0], grid_fixed),
        moving=image(moving[0], grid_moving),
        fixed_mask=mask(fixed[1], grid_fixed),
        moving_mask=mask(moving[1], grid_moving),
        fixed_segmentation=Image(fixed[1][None], grid_fixed, ImageKind.LABELS, subject.names),
        moving_segmentation=Image(moving[1][None], grid_moving, ImageKind.LABELS, subject.names),
        fixed_landmarks=marks_fixed,
        moving_landmarks=marks_moving,
    )
    return PhantomCase(problem, truth)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Pieces are small enough for the cache; threads on them would wait for each other more than work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _source_points(grid: Grid, place: Affine, moves: Motion | None) -> torch.Tensor:
    """T^-1 at the voxels of the moving grid: ([Z,] Y, X, d), fixed world mm."""
    back = place.inverse().transform
    assert isinstance(back, Affine)
    if moves is None:
        return back.apply(grid.world_points(dtype=torch.float64).reshape(-1, grid.dimension)).reshape(
            *grid.shape, -1
        )
    inverse = moves.inverse().transform
    if np.allclose(back.homogeneous, np.eye(grid.dimension + 1)):
        return inverse.on_grid(grid)  # type: ignore[attr-defined]
    y = back.apply(grid.world_points(dtype=torch.float64).reshape(-1, grid.dimension))
    return inverse.apply(y).reshape(*grid.shape, -1)


def _draw(anatomy: Anatomy, points: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
    flat = points.reshape(-1, points.shape[-1]).to(torch.float32)
    parts = [anatomy(p, edge) for p in flat.split(_CHUNK)]
    values, labels = (torch.cat(p).reshape(points.shape[:-1]) for p in zip(*parts, strict=True))
    return values, labels


def _landmarks(
    subject: Subject, centre: torch.Tensor, truth: Transform, grid_fixed: Grid, grid_moving: Grid
) -> tuple[PointSet, PointSet]:
    """Those that both fields of view hold, two voxels off their borders."""
    x = torch.from_numpy(subject.landmarks) + centre
    y = truth.apply(x)
    keep = _well_inside(x, grid_fixed) & _well_inside(y, grid_moving)
    names = subject.landmark_names or tuple(f"L{k + 1}" for k in range(len(x)))
    kept = tuple(n for n, k in zip(names, keep, strict=True) if k)
    chosen = torch.from_numpy(keep)
    return PointSet(x[chosen], names=kept), PointSet(y[chosen], names=kept)


def _well_inside(points: torch.Tensor, grid: Grid) -> np.ndarray:
    index = grid.index_from_world(points.numpy())
    return np.asarray(((index >= 2) & (index <= np.array(grid.size) - 3)).all(axis=1))
