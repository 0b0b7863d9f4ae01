"""Sets of rotations in two and three dimensions: spread evenly, drawn at random, near another one."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrices = NDArray[np.float64]

#: the irrational steps of the two angles of a super-Fibonacci spiral, as its author recommends them
_PHI, _PSI = math.sqrt(2.0), 1.533751168755204288118041
#: balls of the covering radius that hold a rotation, on average, for such a spiral
_THICKNESS = 2.6


def spread_rotations(count: int, dimension: int, generator: torch.Generator) -> Matrices:
    """(count, d, d) rotations that cover all orientations evenly, turned together by a random one.

    Three dimensions: a super-Fibonacci spiral (Alexa, Super-Fibonacci spirals: fast, low-discrepancy sampling of
    SO(3), CVPR 2022); two: equal steps.
    """
    offset = random_rotations(1, dimension, generator)[0]
    if dimension == 2:
        return _planar(2 * math.pi * np.arange(count) / count) @ offset
    s = np.arange(count) + 0.5
    inner, outer = np.sqrt(s / count), np.sqrt(1 - s / count)
    alpha, beta = 2 * math.pi * s / _PHI, 2 * math.pi * s / _PSI
    quaternions = np.stack(
        [inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)], axis=1
    )
    return np.asarray(Rotation.from_quat(quaternions).as_matrix() @ offset)


def random_rotations(count: int, dimension: int, generator: torch.Generator) -> Matrices:
    """(count, d, d) independent rotations, uniform over all orientations (by Haar measure)."""
    if dimension == 2:
        return _planar(2 * math.pi * _uniform(count, generator))
    quaternions = torch.randn(count, 4, generator=generator).double().numpy()
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())


def nearby_rotations(count: int, dimension: int, degrees: float, generator: torch.Generator) -> Matrices:
    """(count, d, d) independent rotations by at most `degrees`, their rotation vectors uniform in that ball."""
    largest = math.radians(degrees)
    if dimension == 2:
        return _planar(largest * (2 * _uniform(count, generator) - 1))
    direction = torch.randn(count, 3, generator=generator).double().numpy()
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = largest * _uniform(count, generator) ** (1 / 3)
    return np.asarray(Rotation.from_rotvec(direction * length[:, None]).as_matrix())


def angles_between(a: Matrices, b: Matrices) -> NDArray[np.float64]:
    """Degrees, 0 to 180, by which the rotations a (..., d, d) and b (..., d, d) differ; broadcast."""
    between = np.swapaxes(a, -1, -2) @ b
    # from the chord, which stays exact for small angles where the arc cosine of the trace does not
    chord = np.linalg.norm(between - np.eye(a.shape[-1]), axis=(-2, -1)) / math.sqrt(8)
    return np.degrees(2 * np.arcsin(np.clip(chord, 0, 1)))


def covering_count(degrees: float, dimension: int) -> int:
    """How many spread rotations leave (nearly) no orientation farther than `degrees` from all of them.

    The rotations within angle w of one are the share (w - sin w) / pi of all (three dimensions) or w / pi (two).
    """
    w = math.radians(min(max(degrees, 0.1), 180.0))
    share = w / math.pi if dimension == 2 else (w - math.sin(w)) / math.pi
    return math.ceil((1.0 if dimension == 2 else _THICKNESS) / share - 1e-9)


def _planar(angles: NDArray[np.float64]) -> Matrices:
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)


def _uniform(count: int, generator: torch.Generator) -> NDArray[np.float64]:
    return torch.rand(count, generator=generator).double().numpy()
