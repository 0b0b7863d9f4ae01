"""Small problems with known answers, and one way to run a method on them; each run is made once a process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.spec import Capability, MethodSpec, Need, parameters_of
from DeepRegistrationLib.methods import registry
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.transforms import Affine
from phantoms import PhantomCase

INPUTS = (
    "fixed_mask", "moving_mask", "fixed_segmentation", "moving_segmentation",
    "fixed_landmarks", "moving_landmarks",
)  # fmt: skip


#: mean error allowed over the head in mm, at voxels of 4 mm; a linear method finds 12 numbers, not a field
LINEAR_TRE, DEFORMABLE_TRE = 0.8, 1.6
#: the same where only the surfaces of segments are known; and across those surfaces, in voxels along the coarsest axis
SURFACE_TRE, ACROSS_SURFACE = 2.6, 0.3


def rotation(axis: Sequence[float], degrees: float) -> NDArray[np.float64]:
    """(3, 3) right-handed rotation."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    a = np.deg2rad(degrees)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


def grid_about(
    centre: Sequence[float], size: Sequence[int], spacing: Sequence[float], direction: Any = None
) -> Grid:
    """A grid whose middle lies at `centre`, mm."""
    at_zero = Grid(size, spacing, None, direction)
    return Grid(size, spacing, np.asarray(centre, dtype=np.float64) - at_zero.centre, direction)


_HERE = (0.0, 0.0, 0.0)
_FAR = (340.0, -910.0, 1280.0)
_TILTED = rotation((1, 2, 3), 25)
_MIRRORED = np.diag([-1.0, 1.0, 1.0])  # left-handed
_PERMUTED = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])

#: name -> fixed and moving grid; the two always differ in size and spacing
GRIDS = {
    "plain": (
        grid_about(_HERE, (46, 54, 48), (4.0,) * 3), grid_about((2, -3, 1), (50, 52, 46), (3.9, 4.3, 4.2)),
    ),
    "anisotropic": (
        grid_about(_HERE, (60, 70, 26), (3.0, 3.0, 7.5)), grid_about(_HERE, (38, 58, 48), (5.0, 3.8, 4.1)),
    ),
    "oblique left-handed far off": (
        grid_about(_FAR, (50, 52, 54), (4.1, 4.3, 3.9), _TILTED @ _MIRRORED),
        grid_about(
            np.add(_FAR, (-3, 2, 4)), (52, 48, 56), (4.2, 4.0, 3.9), rotation((3, -1, 1), 14) @ _PERMUTED @ _MIRRORED
        ),
    ),
}  # fmt: skip
GRIDS_2D = (
    grid_about((5.0, -3.0), (96, 90), (1.6, 1.7)),
    grid_about((7.0, 1.0), (100, 84), (1.5, 1.9), [[0.0, 1.0], [1.0, 0.0]]),
)


def is_linear(spec: MethodSpec) -> bool:
    return Capability.DEFORMABLE not in spec.capabilities


def from_surfaces(spec: MethodSpec) -> bool:
    """True where the method is told of surfaces and nothing else: what lies between them, and how far a smooth surface
    slid along itself, it cannot know."""
    return "surfaces" in spec.inputs


def allowed_tre(spec: MethodSpec) -> float:
    """Mean error over the body in mm that the answer to a truth case may have."""
    if is_linear(spec):
        return LINEAR_TRE
    return SURFACE_TRE if from_surfaces(spec) else DEFORMABLE_TRE


def _placement(centre: NDArray[np.float64]) -> Affine:
    """8 degrees and a good centimetre: what a linear method has to find."""
    d = len(centre)
    turn = rotation((1, -2, 4), 8) if d == 3 else rotation((0, 0, 1), 8)[:2, :2]
    return Affine.about(centre, turn, [7.0, -6.0, 5.0][:d])


@cache
def truth_case(linear: bool, grids: str = "plain", contrast: tuple[str, str] = ("T1", "T1")) -> PhantomCase:
    """Heads; a linear method gets a rigid truth, any other a smooth deformation of up to 12 mm."""
    fixed, moving = GRIDS_2D if grids == "2-D" else GRIDS[grids]
    place = _placement(fixed.centre) if linear else None
    return phantoms.brain(
        fixed, moving, seed=2, motion_mm=0 if linear else 12, contrast=contrast, placement=place
    )


def only_needed(
    problem: RegistrationProblem, spec: MethodSpec, *, optional: bool = False
) -> RegistrationProblem:
    """The problem with nothing besides the two images that the method does not require (or can use)."""
    wanted = (Need.REQUIRED, Need.OPTIONAL) if optional else (Need.REQUIRED,)

    def need(name: str) -> Need:
        kind = name.split("_")[1]
        return next((spec.inputs[k] for k in (name, kind, f"{kind}s") if k in spec.inputs), Need.UNUSED)

    def kept(name: str) -> bool:
        # a method that takes surfaces needs them or segmentations, and these problems have no models
        return need(name) in wanted or (name.endswith("segmentation") and from_surfaces(spec))

    return replace(problem, **{name: None for name in INPUTS if not kept(name)})


class Recorder(Progress):
    """Progress that keeps what it was told, untidied, and the CPU time of every chance to cancel."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        super().__init__(self.reports.append)
        self.raw: list[float] = []
        self.moments: list[float] = [time.thread_time()]

    def update(self, fraction: float, stage: str | None = None) -> None:
        self.raw.append(fraction)
        self.moments.append(time.thread_time())
        super().update(fraction, stage)


@dataclass(frozen=True)
class Run:
    result: RegistrationResult
    recorder: Recorder
    problem: RegistrationProblem


def run(problem: RegistrationProblem, spec: MethodSpec, *, preset: str | None = None, **values: Any) -> Run:
    recorder = Recorder()
    context = Context(torch.device("cpu"), recorder)
    return Run(
        register_problem(problem, spec.id, preset=preset, values=values, context=context), recorder, problem
    )


def has_switch(spec: MethodSpec, name: str) -> bool:
    """True where the method has a yes-or-no parameter of that name."""
    return any(p.name == name and p.type is bool for p in parameters_of(spec.parameters))


def solved(method: str, grids: str = "plain", contrast: tuple[str, str] = ("T1", "T1")) -> Run:
    """The method's answer to the truth case of its kind from required inputs only.

    Settings are the defaults; but the inverse is asked for where it is an option, and contrasts that
    differ get the preset made for them. Made once a process, however the arguments are given.
    """
    return _solved(method, grids, contrast)


@cache
def _solved(method: str, grids: str, contrast: tuple[str, str]) -> Run:
    spec = registry()[method]
    preset = None
    if contrast[0] != contrast[1] and any(p.id == "multimodal" for p in spec.presets):
        preset = "multimodal"
    values = {"inverse": True} if has_switch(spec, "inverse") else {}
    return run(
        only_needed(truth_case(is_linear(spec), grids, contrast).problem, spec), spec, preset=preset, **values
    )


# ---------------------------------------------------------------- the same problem seen otherwise


def in_other_world(problem: RegistrationProblem, world: Affine) -> RegistrationProblem:
    """Both patients carried by the rigid map `world`: the voxels stay, grids and landmarks go along."""

    def moved(image: Image | None) -> Image | None:
        if image is None:
            return None
        grid = image.grid
        origin = world.apply(torch.tensor([grid.origin], dtype=torch.float64))[0].tolist()
        direction = world.matrix.numpy() @ np.asarray(grid.direction)
        return replace(image, grid=Grid(grid.size, grid.spacing, origin, direction))

    return _with(problem, moved, lambda p: None if p is None else p.mapped(world))


def with_axes(image: Image, order: Sequence[int], flipped: Sequence[bool]) -> Image:
    """The same image in the same world with index axes reordered and reversed.

    New axis k is the old axis order[k], backwards where flipped[k].
    """
    grid, d = image.grid, image.dimension
    corner = [grid.size[order[k]] - 1 if flipped[k] else 0 for k in range(d)]
    first = [0] * d
    for k in range(d):
        first[order[k]] = corner[k]
    direction = np.asarray(grid.direction)[:, list(order)] * np.where(flipped, -1.0, 1.0)
    new = Grid(
        [grid.size[o] for o in order],
        [grid.spacing[o] for o in order],
        grid.world_from_index(first),
        direction,
    )
    # tensor axis of index axis k is d - k (axis 0 holds the channels)
    data = image.data.permute(0, *[d - order[d - 1 - t] for t in range(d)])
    data = data.flip([d - k for k in range(d) if flipped[k]]) if any(flipped) else data
    return replace(image, data=data.contiguous(), grid=new)


def _with(problem: RegistrationProblem, image: Any, points: Any) -> RegistrationProblem:
    changed = {name: image(getattr(problem, name)) for name in ("fixed", "moving", *INPUTS[:4])}
    marks = {name: points(getattr(problem, name)) for name in INPUTS[4:]}
    return replace(problem, **changed, **marks)


def blob(grid: Grid, centre: NDArray[np.float64], sigma: float) -> Image:
    """A bright ball of `sigma` mm at `centre`."""
    squared = (grid.world_points(dtype=torch.float64) - torch.from_numpy(centre)).square().sum(dim=-1)
    return Image(torch.exp(-squared / (2 * sigma**2)).to(torch.float32)[None], grid)


def centroid(image: Image) -> NDArray[np.float64]:
    """World position (mm) of the centre of mass."""
    weight = image.data[0].to(torch.float64)
    points = image.grid.world_points(dtype=torch.float64)
    total = (weight[..., None] * points).reshape(-1, image.dimension).sum(dim=0)
    return (total / weight.sum()).numpy()


def snapshot(problem: RegistrationProblem) -> dict[str, Any]:
    """Copies of all numbers of a problem."""
    copies: dict[str, Any] = {name: (image.data.clone(), image.grid) for name, image in problem.images()}
    for name in INPUTS[4:]:
        marks: PointSet | None = getattr(problem, name)
        if marks is not None:
            copies[name] = (marks.points.clone(), None)
    return copies
