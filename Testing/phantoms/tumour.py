"""A head and the same head with a tumour that has grown and pushed its surroundings away (mass effect).

Fixed is the patient, moving the healthy head. With c and R the middle and radius of the tumour and r = |x - c|,

    T(x) = c + (x - c) f(r) / r,    f(r) = r - (R - R_0) exp(-((r - R) / L)^2)  outside, r R_0 / R inside

maps the patient to the healthy head: the ball of radius R_0 from which the tumour grew becomes the tumour, and
tissue at its border has been pushed out by R - R_0 mm. Tissue has no counterpart inside.
"""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.problem import RegistrationProblem

from . import shapes
from .brain import CONTRASTS, NAMES, _anatomy
from .case import PhantomCase, _draw, _one_thread
from .motion import Field, Motion, random_bumps

#: label of the tumour in the fixed segmentation (NAMES calls it the lesion)
LESION = 6


def brain_tumour(
    grid_fixed: Grid | None = None,
    grid_moving: Grid | None = None,
    *,
    seed: int = 0,
    centre: tuple[float, float, float] = (34.0, -12.0, 8.0),
    radius: float = 17.0,
    core: float = 5.0,
    reach: float = 22.0,
    motion_mm: float = 4.0,
    noise: float = 3.0,
    intensity: float | None = None,
) -> PhantomCase:
    """The pair, T1. Mass effect as above and, besides, a smooth random deformation of at most `motion_mm`.

    centre, radius, core, reach   c (anatomy mm), R, R_0 and L, mm; L must exceed 0.86 (R - R_0)
    intensity                     of the tumour; that of a T1 lesion where not given
    Grids of two axes give the axial slice through the middle: the tumour is then a disc.
    """
    grid_fixed = grid_fixed or Grid((96, 112, 96), (2.0,) * 3, (-95.0, -111.0, -95.0))
    grid_moving = grid_moving or Grid((100, 108, 90), (1.9, 2.1, 2.1), (-94.0, -112.0, -93.0))
    d = grid_fixed.dimension
    middle = torch.from_numpy(grid_fixed.centre)
    c = torch.tensor(centre[:d], dtype=torch.float64)
    mass = _mass_effect(c, radius, core, reach)
    field: Field = mass
    if motion_mm > 0:
        bumps = random_bumps(
            np.random.default_rng(seed + 5), np.zeros(d), np.array([72.0, 88.0, 70.0])[:d], motion_mm
        )

        def field(x: torch.Tensor) -> torch.Tensor:
            u = mass(x)
            return u + bumps(x + u)

    truth = Motion(d, lambda x: field(x - middle.to(x.dtype)))
    edge = 0.7 * max(float(np.mean(grid_fixed.spacing)), float(np.mean(grid_moving.spacing)))
    generator = torch.Generator().manual_seed(seed + 1_000_003)
    healthy = _anatomy(seed, "T1", False)
    value = CONTRASTS["T1"]["lesion"] if intensity is None else intensity

    def patient(points: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
        values, labels = healthy(points + field(points), edge)
        distance = (points - c.to(points.dtype)).norm(dim=1) - radius
        canvas = shapes.Canvas(len(points), 0.0, edge)
        canvas.values, canvas.labels = values, labels
        canvas.paint(distance, value, LESION)
        return canvas.values, canvas.labels

    with _one_thread():
        drawn = {
            side: (grid, *_draw(anatomy, grid.world_points(dtype=torch.float64) - middle, edge))
            for side, grid, anatomy in (("fixed", grid_fixed, patient), ("moving", grid_moving, healthy))
        }
    images: dict[str, Image] = {}
    for side, (grid, values, labels) in drawn.items():
        noisy = (values + noise * torch.randn(values.shape, generator=generator)).clamp_min(0.0)
        images[side] = Image(noisy[None], grid)
        images[f"{side}_mask"] = Image((labels != 0).to(torch.uint8)[None], grid, ImageKind.MASK)
        images[f"{side}_segmentation"] = Image(labels[None], grid, ImageKind.LABELS, NAMES)
    return PhantomCase(RegistrationProblem(**images), truth)


def _mass_effect(c: torch.Tensor, radius: float, core: float, reach: float) -> Field:
    if reach <= 0.86 * (radius - core):
        raise ValueError(f"the mass effect folds: reach {reach:g} mm is too short for {radius - core:g} mm of growth")

    def field(x: torch.Tensor) -> torch.Tensor:
        away = x - c.to(x.dtype)
        r = away.norm(dim=1, keepdim=True).clamp_min(1e-9)
        pushed = (radius - core) * torch.exp(-(((r - radius) / reach) ** 2))
        return torch.where(r > radius, -pushed / r, core / radius - 1) * away

    return field
