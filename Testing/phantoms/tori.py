"""Two-dimensional rings inside each other, for what is first tried in the plane."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.transforms import Affine

from .case import Anatomy, PhantomCase, Subject, make_case
from .motion import random_bumps

NAMES = {1: "Outer ring", 2: "Inner ring", 3: "Core"}


def tori(
    grid_fixed: Grid | None = None,
    grid_moving: Grid | None = None,
    *,
    seed: int = 0,
    motion_mm: float = 8.0,
    noise: float = 0.02,
    placement: Affine | None = None,
) -> PhantomCase:
    """Rings of radius 50 and 24 mm with lobes that tell them from circles; values 0 to 1.

    The deformation is smooth, random, at most `motion_mm`. Masks and labels: the rings;
    landmarks: on their rims.
    """
    grid_fixed = grid_fixed or Grid((128, 128), (1.25, 1.25), (-79.0, -79.0))
    grid_moving = grid_moving or Grid((120, 132), (1.4, 1.3), (-83.0, -85.0))
    rng = np.random.default_rng(seed + 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    angles = np.arange(0, 2 * np.pi, np.pi / 4)
    rims = [
        (_rim(r, lobes, phase[k], angles)) for k, (r, lobes) in enumerate(((58.0, 5), (30.0, 3), (9.0, 2)))
    ]
    draw = _anatomy(phase)
    subject = Subject(draw, draw, NAMES, None, np.concatenate(rims))
    motion = None
    if motion_mm > 0:
        motion = random_bumps(rng, np.zeros(2), np.array([60.0, 60.0]), motion_mm)
    return make_case(subject, grid_fixed, grid_moving, motion, placement=placement, noise=noise, seed=seed)


def _rim(radius: float, lobes: int, phase: float, angles: np.ndarray) -> np.ndarray:
    r = radius * (1 + 0.08 * np.sin(lobes * angles + phase))
    return np.stack([r * np.cos(angles), r * np.sin(angles)], axis=1)


def _anatomy(phase: np.ndarray) -> Anatomy:
    def draw(p: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor]:
        r, angle = p.norm(dim=1), torch.atan2(p[:, 1], p[:, 0])
        values = torch.zeros(len(p))
        labels = torch.zeros(len(p), dtype=torch.uint8)
        for k, (outer, inner, lobes, value) in enumerate(
            ((58, 42, 5, 0.6), (30, 18, 3, 1.0), (9, 0, 2, 0.8))
        ):
            wave = 1 + 0.08 * torch.sin(lobes * angle + phase[k])
            distance = torch.maximum(r - outer * wave, inner * wave - r) if inner else r - outer * wave
            weight = (0.5 - distance / edge).clamp(0, 1)
            values = values + weight * (value - values)
            labels[distance < 0] = k + 1
        return values, labels

    return draw
