"""An abdomen, in HU, whose organs move independently.

Anatomy mm: x to the left, y to the back, z up (LPS).
"""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine

from . import shapes
from .case import PhantomCase, Subject, make_case
from .motion import Field

NAMES = {
    1: "Liver", 2: "Spleen", 3: "Right kidney", 4: "Left kidney",
    5: "Stomach", 6: "Gallbladder", 7: "Aorta", 8: "Spine",
}  # fmt: skip

#: organ -> (label, centre, radii, HU)
_ORGANS = {
    "liver": (1, (-62, -8, 42), (64, 62, 48), 110),
    "spleen": (2, (98, 36, 48), (26, 34, 34), 125),
    "right kidney": (3, (-62, 52, -46), (22, 20, 36), 160),
    "left kidney": (4, (64, 54, -22), (22, 20, 36), 165),
    "stomach": (5, (54, -38, 36), (36, 30, 36), 35),
    "gallbladder": (6, (-44, -52, -14), (12, 14, 17), 12),
}
#: share of the whole motion that an organ may take
_MOBILE = dict(zip(_ORGANS, (1.0, 0.8, 0.6, 0.6, 0.9, 0.8), strict=True))


def abdomen(
    grid_fixed: Grid | None = None,
    grid_moving: Grid | None = None,
    *,
    seed: int = 0,
    motion_mm: float = 10.0,
    noise: float = 12.0,
    placement: Affine | None = None,
) -> PhantomCase:
    """Every organ shifts by its own random vector of at most `motion_mm`; what lies between gives way.

    Labels as NAMES; masks: the organs; landmarks: the poles of the organs. 3-D only.
    """
    grid_fixed = grid_fixed or Grid((120, 92, 80), (2.8,) * 3, (-166.0, -127.0, -110.0))
    grid_moving = grid_moving or Grid((116, 90, 76), (2.9, 2.9, 3.0), (-167.0, -129.0, -113.0))
    subject = Subject(_draw, _draw, NAMES, None, *_poles())
    motion = _shifts(seed, motion_mm) if motion_mm > 0 else None
    return make_case(
        subject, grid_fixed, grid_moving, motion,
        placement=placement, noise=noise, seed=seed, unit="HU", floor=-1024.0,
    )  # fmt: skip


def _poles() -> tuple[np.ndarray, tuple[str, ...]]:
    points, names = [], []
    for name, (_, centre, radii, _) in _ORGANS.items():
        for axis, words in enumerate((("right", "left"), ("front", "back"), ("lower", "upper"))):
            for sign, word in zip((-1, 1), words, strict=True):
                offset = np.zeros(3)
                offset[axis] = sign * radii[axis]
                points.append(np.array(centre, dtype=np.float64) + offset)
                names.append(f"{name}, {word} pole")
    return np.array(points), tuple(names)


def _shifts(seed: int, motion_mm: float) -> Field:
    """u(x) = sum_k w_k(x) t_k: w_k is near 1 in organ k and falls off; neighbours share."""
    rng = np.random.default_rng(seed + 7)
    directions = rng.normal(size=(len(_ORGANS), 3)) * np.array([0.5, 0.6, 1.0])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = np.array([_MOBILE[name] for name in _ORGANS])[:, None] * rng.uniform(0.7, 1.0, (len(_ORGANS), 1))
    vectors = torch.from_numpy(directions * reach * motion_mm)
    width = max(7.0, 0.75 * motion_mm)  # wide enough not to fold

    def field(p: torch.Tensor) -> torch.Tensor:
        claims = torch.stack(
            [torch.sigmoid((4 - shapes.ellipsoid(p, c, r)) / width) for _, c, r, _ in _ORGANS.values()], dim=1
        )
        back = torch.sigmoid((62 - p[:, 1] + 0.004 * p[:, 0].square()) / 8)[:, None]  # the spine stays
        return back * (claims / (claims.sum(dim=1, keepdim=True) + 0.15)) @ vectors.to(p.dtype)

    return field


def _draw(p: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
    x, y, z = p.unbind(1)
    canvas = shapes.Canvas(len(p), -1000.0, edge)
    skin = ((x / 152).abs().pow(2.5) + (y / 112).abs().pow(2.5)).pow(0.4).sub(1) * 105
    canvas.paint(skin, 15.0)
    canvas.paint(skin + 3, -105.0)
    canvas.paint(skin + 16, 50.0)
    canvas.paint(skin + 26, -95.0)
    bowel = torch.sin(x / 11 + y / 17) * torch.sin(y / 12 - z / 13) * torch.sin(z / 11 + x / 19)
    canvas.paint(torch.maximum(skin + 30, torch.maximum(25 * (0.25 - bowel), y - 34)), 30.0)
    for label, centre, radii, hu in _ORGANS.values():
        canvas.paint(shapes.ellipsoid(p, centre, radii), float(hu), label)
    for side in (-1, 1):
        pelvis = (side * 56, 53, -46 if side < 0 else -22)
        canvas.paint(shapes.ellipsoid(p, pelvis, (8, 9, 14)), 45.0)
        canvas.paint(shapes.tube(p, ((side * 44, 66, -120), (side * 40, 62, 20)), 20), 55.0)
    for k in range(5):
        start, end = (-20, -4, 22 + 6 * k), (-96 + 10 * k, -20 + 16 * k, 24 + 9 * k)
        canvas.paint(shapes.tube(p, (start, end), 4.0), 165.0)
    canvas.paint(shapes.tube(p, ((12, 44, 130), (10, 46, -130)), 10), 190.0, 7)
    canvas.paint(shapes.tube(p, ((-18, 42, 130), (-16, 44, -130)), 11), 150.0)
    _spine(canvas, x, y, z)
    return canvas.values, canvas.labels


def _spine(canvas: shapes.Canvas, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> None:
    column = torch.sqrt((x / 22).square() + ((y - 72) / 16).square()).sub(1) * 18
    phase = (torch.remainder(z + 14, 32.0) - 16).abs() - 12
    canvas.paint(column, 85.0, 8)
    canvas.paint(torch.maximum(column, phase), 400.0)
    canvas.paint(torch.maximum(column + 2.5, phase + 2), 200.0)
    canal = torch.hypot(x, y - 97)
    canvas.paint(canal - 13, 350.0, 8)
    canvas.paint(canal - 8, 30.0)
