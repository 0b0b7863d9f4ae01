"""A breathing chest, in HU: ribs, spine, heart, great vessels, lungs with lobes and vessel trees, belly.

Anatomy mm: x to the left, y to the back, z up (LPS). The sizes are those of an adult, no particular one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine

from . import shapes
from .case import PhantomCase, Subject, make_case
from .motion import random_bumps
from .vessels import VesselTrees, grow

NAMES = {
    1: "Left upper lobe", 2: "Left lower lobe", 3: "Right upper lobe", 4: "Right middle lobe",
    5: "Right lower lobe", 6: "Heart", 7: "Aorta", 8: "Trachea",
    9: "Liver", 10: "Spleen", 11: "Spine", 12: "Ribs",
}  # fmt: skip
_LUNGS = (1, 2, 3, 4, 5)

_PITCH = 24.0  # mm from rib to rib
_SPINE = (0.0, 74.0)


def thorax(
    grid_fixed: Grid | None = None,
    grid_moving: Grid | None = None,
    *,
    seed: int = 0,
    motion_mm: float = 20.0,
    noise: float = 15.0,
    placement: Affine | None = None,
) -> PhantomCase:
    """Fixed is breathed in, moving out: the diaphragm rises by `motion_mm` (0..25), sliding along the wall.

    Labels as NAMES; masks: the lungs; landmarks: vessel forks in the lungs.
    noise is the standard deviation in HU. See `make_case` for placement. 3-D only.
    """
    if not 0 <= motion_mm <= 25:
        raise ValueError(f"motion_mm is 0 to 25, not {motion_mm}")
    grid_fixed = grid_fixed or Grid((128, 96, 112), (2.75,) * 3, (-175.0, -131.0, -155.0))
    grid_moving = grid_moving or Grid((120, 92, 104), (2.9, 2.8, 3.0), (-172.0, -127.0, -155.0))
    trees = _trees(seed)

    def draw(points: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
        return _draw(points, edge, trees)

    subject = Subject(draw, draw, NAMES, _LUNGS, trees.forks)
    motion = _breathing(seed, motion_mm) if motion_mm > 0 else None
    return make_case(
        subject, grid_fixed, grid_moving, motion,
        placement=placement, noise=noise, seed=seed, unit="HU", floor=-1024.0,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ motion


def _breathing(seed: int, motion_mm: float):  # type: ignore[no-untyped-def]
    uneven = random_bumps(
        np.random.default_rng(seed + 17),
        np.array([0.0, 0.0, -20.0]),
        np.array([110.0, 80.0, 120.0]),
        0.12 * motion_mm,
    )

    def field(p: torch.Tensor) -> torch.Tensor:
        x, y, z = p.unbind(1)
        # along the body: all of it below the dome, nothing at the apex of the lung
        low = 0.5 * (1 + torch.cos(math.pi * ((z + 60) / 170).clamp(0, 1)))
        # across: organs glide along the chest wall and the spine, which hardly move
        wall = 0.1 + 0.9 * torch.sigmoid(-_cavity(p) / 5.0)
        spine = 1 - 0.95 * torch.exp(-(x.square() + (y - _SPINE[1]).square()) / (2 * 30.0**2))
        up = motion_mm * low * wall * spine * (0.9 + 0.1 * torch.tanh(y / 60))
        front = torch.sigmoid(-(y + 40) / 16)
        back = 0.22 * motion_mm * front * torch.exp(-((z + 30) / 110).square())
        inward = -0.12 * motion_mm * torch.tanh(x / 90) * low
        return torch.stack([inward, back, up], dim=1) + uneven(p)

    return field


# ------------------------------------------------------------------------------------------------ shapes


def _cavity(p: torch.Tensor) -> torch.Tensor:
    """Inside of the rib cage: a tube of oval section that closes to a dome above."""
    q = torch.stack([p[:, 0], p[:, 1] + 5, (p[:, 2] + 40).clamp_min(0)], dim=1)
    return shapes.ellipsoid(q, (0, 0, 0), (134, 94, 172))


def _diaphragm(p: torch.Tensor) -> torch.Tensor:
    """Height of the diaphragm at (x, y): a dome on each side, the right one higher."""
    x, y = p[:, 0], p[:, 1]
    dx, dy = (x.abs() - 60) / 80, (y + 8) / 100
    top = -42 - 10 * torch.sigmoid(x / 12)
    return top - 75 * (dx.square() + dy.square())


def _heart(p: torch.Tensor) -> torch.Tensor:
    c, s = math.cos(0.6), math.sin(0.6)
    q = p - torch.tensor([24.0, -34.0, -42.0])
    turned = torch.stack([c * q[:, 0] - s * q[:, 2], q[:, 1], s * q[:, 0] + c * q[:, 2]], dim=1)
    return shapes.ellipsoid(turned, (0, 0, 0), (60, 42, 46))


def _lungs(p: torch.Tensor) -> torch.Tensor:
    """Both lungs together, the mediastinum left out."""
    x, y, z = p.unbind(1)
    middle = 15 + 9 * torch.exp(-((z - 20) / 55).square()) + 10 * torch.exp(-((y + 30) / 30).square())
    spine = 27 - torch.hypot(x, y - _SPINE[1] - 4)
    bounds = [_cavity(p) + 4, middle - x.abs(), 0.75 * (_diaphragm(p) + 2 - z), spine, 3 - _heart(p)]
    return torch.stack(bounds).amax(dim=0)


@lru_cache(maxsize=4)
def _trees(seed: int) -> VesselTrees:
    return grow(seed, lambda p: _lungs(torch.from_numpy(p).float()).numpy())


# ------------------------------------------------------------------------------------------------ drawing


def _draw(p: torch.Tensor, edge: float, trees: VesselTrees) -> tuple[torch.Tensor, torch.Tensor]:
    canvas = shapes.Canvas(len(p), -1000.0, edge)
    _wall(canvas, p)
    _belly(canvas, p)
    _lung_tissue(canvas, p, trees)
    _mediastinum(canvas, p)
    _bones(canvas, p)
    return canvas.values, canvas.labels


def _wall(canvas: shapes.Canvas, p: torch.Tensor) -> None:
    """Skin, fat and muscle of the trunk; fat fills what nothing else does."""
    x, y, z = p.unbind(1)
    wide = 160 + 8 * torch.exp(-((z - 60) / 60).square())
    deep = 123 - 4 * torch.exp(-(x / 22).square())  # furrow over the spine, and between the pectorals
    ratio = ((x / wide).abs().pow(2.6) + (y / deep).abs().pow(2.6)).pow(1 / 2.6)
    skin = (ratio - 1) * 112
    canvas.paint(skin, 20.0)
    canvas.paint(skin + 2.5, -105.0)
    muscle = torch.maximum(skin + 9 + 5 * torch.sin(2.2 * torch.atan2(y, x)).square(), _cavity(p) - 26)
    canvas.paint(muscle, 48.0 + 6 * torch.sin(x / 9) * torch.sin(y / 7 + z / 11))
    canvas.paint(_cavity(p) - 12, -60.0)
    canvas.paint((_cavity(p) - 6).abs() - 5, 38.0)
    canvas.paint(_cavity(p), -95.0)


def _belly(canvas: shapes.Canvas, p: torch.Tensor) -> None:
    x, y, z = p.unbind(1)
    below = torch.maximum(_cavity(p) + 3, 0.8 * (z - _diaphragm(p) + 3))
    inside = torch.maximum(_cavity(p) + 2, 0.8 * (z - _diaphragm(p)))
    canvas.paint(inside, 45.0)  # the muscle of the diaphragm
    canvas.paint(below, -95.0)
    liver = torch.maximum(below, 0.85 * (x - 38 + 0.35 * (y + 20) - 0.4 * (z + 90)))
    canvas.paint(liver, 112.0 + 5 * torch.sin(x / 13) * torch.sin(z / 10 + y / 12), 9)
    spleen = torch.maximum(below, shapes.ellipsoid(p, (92, 42, -104), (27, 40, 44)))
    canvas.paint(spleen, 125.0, 10)
    stomach = torch.maximum(below, shapes.ellipsoid(p, (56, -28, -112), (36, 38, 42)))
    canvas.paint(stomach, 45.0)
    gas = y + 38  # it floats to the front of a patient lying on the back
    canvas.paint(torch.maximum(stomach + 4, gas), -950.0)


def _lung_tissue(canvas: shapes.Canvas, p: torch.Tensor, trees: VesselTrees) -> None:
    x, y, z = p.unbind(1)
    lungs = _lungs(p)
    # blood sinks to the back; a fine pattern stands for what is too small to draw
    tissue = (
        -862 + 0.35 * y + 14 * torch.sin(x / 6 + y / 9) * torch.sin(y / 7 - z / 8) * torch.sin(z / 5 + x / 11)
    )
    canvas.paint(lungs, tissue)
    oblique = (z - 0.75 * y - 4) / 1.25
    level = z - 6 + 0.05 * x
    inside = lungs < 0
    lower = oblique < 0
    for value, where in (
        (1, (x > 0) & ~lower), (2, (x > 0) & lower),
        (3, (x <= 0) & ~lower & (level >= 0)), (4, (x <= 0) & ~lower & (level < 0)), (5, (x <= 0) & lower),
    ):  # fmt: skip
        canvas.labels[inside & where] = value
    canvas.paint(torch.maximum(lungs + 1, oblique.abs() - 0.5), -740.0)
    canvas.paint(
        torch.maximum(lungs + 1, torch.maximum(level.abs() - 0.5, torch.maximum(x, -oblique))), -740.0
    )
    near = (lungs < 2).nonzero()[:, 0]
    distance = torch.full_like(x, 1e3)
    distance[near] = trees.distance(p[near])
    canvas.paint(distance, 60.0)


def _mediastinum(canvas: shapes.Canvas, p: torch.Tensor) -> None:
    heart = _heart(p)
    canvas.paint(heart - 3, -70.0)
    canvas.paint(heart, 85.0, 6)
    canvas.paint(shapes.ellipsoid(p, (40, -40, -52), (27, 22, 20)), 175.0)
    canvas.paint(shapes.ellipsoid(p, (2, -38, -40), (18, 20, 24)), 150.0)
    canvas.paint(shapes.ellipsoid(p, (14, -12, -30), (24, 15, 17)), 165.0)
    canvas.paint(shapes.tube(p, ((20, -44, -22), (22, -32, 10), (14, -12, 26)), 12), 185.0)
    for side in (-1, 1):
        canvas.paint(shapes.tube(p, ((14, -12, 26), (side * 32, 0, 18)), 8.5), 185.0)
    canvas.paint(shapes.tube(p, ((-24, -24, -30), (-24, -18, 90), (-14, -16, 150)), 9), 160.0)
    canvas.paint(shapes.tube(p, ((18, -20, 70), (34, -12, 150)), 6), 170.0)
    aorta = (
        (6, -28, -18), (-6, -34, 22), (-3, -28, 50), (6, -10, 66), (17, 14, 64), (24, 38, 44),
        (24, 46, 0), (20, 48, -80), (8, 48, -190),
    )  # fmt: skip
    canvas.paint(shapes.tube(p, aorta, 12.5), 190.0, 7)
    canvas.paint(shapes.tube(p, ((4, 30, 160), (8, 36, 0), (18, 30, -90)), 6), 35.0)
    for path, radius in (
        (((0, 2, 170), (0, 14, 42)), 9.0),
        (((0, 14, 42), (-38, 12, 14)), 6.5),
        (((0, 14, 42), (40, 14, 12)), 6.0),
    ):
        pipe = shapes.tube(p, path, radius)
        canvas.paint(pipe - 2, 35.0)
        canvas.paint(pipe, -990.0, 8)


def _bones(canvas: shapes.Canvas, p: torch.Tensor) -> None:
    x, y, z = p.unbind(1)
    _ribs(canvas, p)
    # a vertebra a rib: body, disc between, arch and spinous process
    phase = torch.remainder(z + 6, _PITCH) - _PITCH / 2
    vertebra = (phase.abs() - 9).clamp_min(-6)
    back = _SPINE[1]
    column = torch.sqrt((x / 18).square() + ((y - back) / 15).square()).sub(1) * 15
    canvas.paint(column, 85.0, 11)
    canvas.paint(torch.maximum(column, vertebra), 430.0)
    canvas.paint(torch.maximum(column + 2.5, vertebra + 2), 210.0)
    canal = torch.hypot(x, y - back - 24)
    canvas.paint(torch.maximum(canal - 13.5, vertebra), 420.0, 11)
    process = torch.maximum(shapes.box(p[:, :2], (0, back + 38), (3.5, 7), 2), phase.abs() - 7)
    canvas.paint(process, 380.0, 11)
    sides = torch.stack([x.abs(), y], dim=1)
    canvas.paint(shapes.box(sides, (22, back + 20), (12, 4), 2).maximum(phase.abs() - 5), 360.0, 11)
    canvas.paint(canal - 9, 25.0)
    canvas.paint(canal - 5.5, 40.0)
    sternum = shapes.box(p, (0, -106, 25), (17, 5.5, 72), 4)
    canvas.paint(sternum, 320.0)
    canvas.paint(sternum + 2.2, 150.0)


def _ribs(canvas: shapes.Canvas, p: torch.Tensor) -> None:
    x, y, z = p.unbind(1)
    shell = _cavity(p) - 6
    around = torch.atan2(x.abs(), y + 5) / math.pi  # 0 at the spine, 1 at the breast bone
    fall = 62 * torch.sin(0.5 * math.pi * (around / 0.85).clamp(0, 1)).square()
    along = z + fall + 8
    number = torch.round(along / _PITCH)
    off = (along - number * _PITCH) / 1.15
    round_ = torch.sqrt((shell / 4.2).square() + (off / 7.0).square())
    rib = (round_ - 1) * 4.5
    there = (number < 5.5) & (number > -6.5)
    bone = torch.where(there & (around < 0.8), rib, torch.full_like(rib, 50.0))
    canvas.paint(bone, 480.0, 12)
    canvas.paint(bone + 2.2, 260.0)
    gristle = torch.where(there & (around >= 0.8) & (number > -3.5), rib, torch.full_like(rib, 50.0))
    canvas.paint(gristle, 110.0)
    blade = torch.maximum(
        (_cavity(p) - 24 - 4 * torch.sin(around * 14)).abs() - 2.6, (around - 0.27).abs() * 300 - 42
    )
    blade = torch.maximum(blade, (z - 62).abs() - 52)
    canvas.paint(blade, 400.0)
    for side in (-1, 1):
        canvas.paint(
            shapes.tube(p, ((side * 14, -96, 112), (side * 60, -88, 132), (side * 140, -40, 142)), 6), 420.0
        )
