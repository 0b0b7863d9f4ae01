"""A head in several contrasts, in 3-D or as an axial slice: scalp, skull, folded grey matter, white matter,
deep nuclei, ventricles, cerebellum, and a lesion where wanted.

Anatomy mm: x to the left, y to the back, z up (LPS), the middle of the brain at 0.
"""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine

from . import shapes
from .case import Anatomy, PhantomCase, Subject, make_case
from .motion import random_bumps

NAMES = {1: "Grey matter", 2: "White matter", 3: "Ventricles", 4: "Deep nuclei", 5: "Cerebellum", 6: "Lesion"}

#: arbitrary units by contrast (HU for CT): what MR and CT make of the tissues
CONTRASTS = {
    "T1": {"scalp": 170, "skull": 25, "csf": 35, "grey": 95, "white": 140, "nuclei": 112, "lesion": 70},
    "T2": {"scalp": 110, "skull": 20, "csf": 230, "grey": 120, "white": 80, "nuclei": 92, "lesion": 190},
    "PD": {"scalp": 120, "skull": 22, "csf": 135, "grey": 165, "white": 125, "nuclei": 145, "lesion": 180},
    "CT": {"scalp": 10, "skull": 900, "csf": 6, "grey": 40, "white": 28, "nuclei": 42, "lesion": 18},
}


def brain(
    grid_fixed: Grid | None = None,
    grid_moving: Grid | None = None,
    *,
    seed: int = 0,
    motion_mm: float = 8.0,
    noise: float = 3.0,
    contrast: tuple[str, str] = ("T1", "T1"),
    lesion: str = "none",
    placement: Affine | None = None,
) -> PhantomCase:
    """Two heads that differ by a smooth random deformation of at most `motion_mm` and by `placement`.

    contrast  of fixed and moving: T1, T2, PD or CT
    lesion    "none", "fixed", "moving" or "both": who has it; one in a single image has no counterpart
    Labels as NAMES; masks: the brain; landmarks: ventricle horns, nuclei and gyri. Grids of two axes
    give the axial slice through the middle, moving within its plane.
    """
    grid_fixed = grid_fixed or Grid((96, 112, 96), (2.0,) * 3, (-95.0, -111.0, -95.0))
    grid_moving = grid_moving or Grid((100, 108, 90), (1.9, 2.1, 2.1), (-94.0, -112.0, -93.0))
    d = grid_fixed.dimension
    subject = Subject(
        _anatomy(seed, contrast[0], lesion in ("fixed", "both")),
        _anatomy(seed, contrast[1], lesion in ("moving", "both")),
        NAMES, None, _landmarks(d),
    )  # fmt: skip
    motion = None
    if motion_mm > 0:
        motion = random_bumps(
            np.random.default_rng(seed + 5), np.zeros(d), np.array([72.0, 88.0, 70.0])[:d], motion_mm
        )
    return make_case(
        subject, grid_fixed, grid_moving, motion, placement=placement, noise=noise, seed=seed,
        floor=-1024.0 if "CT" in contrast else 0.0,
    )  # fmt: skip


def _landmarks(d: int) -> np.ndarray:
    points = np.array(
        [
            [8, -32, 0], [-8, -32, 0], [11, 30, 0], [-11, 30, 0], [24, 6, 0], [-24, 6, 0],
            [0, -72, 0], [0, 66, 0], [60, 0, 0], [-60, 0, 0], [0, 0, 58], [30, 44, -42], [-30, 44, -42],
            [34, -38, 22], [-34, -38, 22], [44, 12, 34], [-44, 12, 34], [0, -30, 40],
        ],
        dtype=np.float64,
    )  # fmt: skip
    return points if d == 3 else points[np.abs(points[:, 2]) < 1, :2]


def _anatomy(seed: int, contrast: str, with_lesion: bool) -> Anatomy:
    tissue = CONTRASTS[contrast]
    rng = np.random.default_rng(seed + 31)
    waves = torch.tensor(rng.normal(size=(9, 3)), dtype=torch.float32)
    waves = waves / waves.norm(dim=1, keepdim=True) * torch.tensor(rng.uniform(0.22, 0.36, (9, 1))).float()
    phases = torch.tensor(rng.uniform(0, 6.28, 9)).float()

    def draw(points: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
        # a 2-D point lies in the slice z = 0
        p = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
        canvas = shapes.Canvas(len(p), -1000.0 if contrast == "CT" else 0.0, edge)
        gyri = torch.sin(p @ waves.T + phases).sum(dim=1) / 3  # ripples of about +-2
        _head(canvas, p, tissue)
        _matter(canvas, p, gyri, tissue)
        _deep(canvas, p, tissue)
        if with_lesion:
            canvas.paint(shapes.ellipsoid(p, (34, -34, 8), (15, 13, 14)) + 0.8 * gyri, tissue["lesion"], 6)
        return canvas.values, canvas.labels

    return draw


def _head(canvas: shapes.Canvas, p: torch.Tensor, tissue: dict[str, int]) -> None:
    canvas.paint(shapes.ellipsoid(p, (0, 0, -2), (85, 103, 92)), tissue["scalp"])
    canvas.paint(shapes.ellipsoid(p, (0, 0, -2), (79, 97, 86)), tissue["skull"])
    canvas.paint(shapes.ellipsoid(p, (0, 0, -1), (73, 90, 79)), tissue["csf"])


def _matter(canvas: shapes.Canvas, p: torch.Tensor, gyri: torch.Tensor, tissue: dict[str, int]) -> None:
    # two hemispheres, apart at the fissure between them, flat below
    whole = torch.maximum(
        shapes.ellipsoid(p, (0, -2, 2), (69, 85, 73)), 1.5 - p[:, 0].abs() - 6 * (p[:, 2] < -4)
    )
    # the frontal lobes end higher than the temporal ones at the sides
    x, y = p[:, 0].abs(), p[:, 1]
    floor = -32 - 18 * torch.sigmoid((x - 20) / 4) * torch.sigmoid((34 - (y + 4).abs()) / 5)
    whole = torch.maximum(whole, floor - p[:, 2])
    sulci = whole + 1.6 * gyri.clamp_min(0)
    canvas.paint(sulci, tissue["grey"], 1)
    canvas.paint(whole + 9 + 2.4 * gyri, tissue["white"], 2)
    # the bridge between the hemispheres
    canvas.paint(shapes.ellipsoid(p, (0, 0, 10), (20, 34, 12)), tissue["white"], 2)
    cerebellum = shapes.ellipsoid(p, (0, 48, -46), (46, 30, 24))
    canvas.paint(cerebellum, tissue["grey"], 5)
    canvas.paint(cerebellum + 7 + 2 * torch.sin(0.7 * p[:, 1] + 0.9 * p[:, 2]), tissue["white"], 5)
    canvas.paint(shapes.tube(p, ((0, 12, -20), (0, 24, -80)), 11), tissue["white"], 2)


def _deep(canvas: shapes.Canvas, p: torch.Tensor, tissue: dict[str, int]) -> None:
    for side in (-1, 1):
        canvas.paint(shapes.ellipsoid(p, (side * 24, 4, 0), (8, 18, 12)), tissue["nuclei"], 4)
        canvas.paint(shapes.ellipsoid(p, (side * 10, 14, 0), (7, 12, 9)), tissue["nuclei"], 4)
        horns = ((side * 8, -32, 0), (side * 9, -6, 14), (side * 11, 30, 4), (side * 24, 34, -14))
        canvas.paint(shapes.tube(p, horns, 6.0), tissue["csf"], 3)
    canvas.paint(shapes.ellipsoid(p, (0, 6, -4), (2.5, 14, 10)), tissue["csf"], 3)
