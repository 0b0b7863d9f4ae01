"""A chest-like pair with a known motion, for a clone that has no data folder.

Fixed and moving are both evaluated from formulas, never resampled: moving(y) = tissue(y) and
fixed(x) = tissue(T(x)), so that T(x) = x + u(x) is the exact answer, landmarks (p, T(p)) included. The two
grids differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .judge import Lattice

Array = NDArray[np.float64]
_LUNGS = (((-58.0, 0.0, 0.0), (40.0, 62.0, 78.0)), ((58.0, 0.0, 0.0), (40.0, 62.0, 78.0)))
_BODY = ((0.0, 0.0, 0.0), (128.0, 92.0, 400.0))
_VESSELS = 240


def motion(points: Array) -> Array:
    """u(x) in mm (..., 3): breathing, down by up to 14 mm with a little widening, fading towards the top."""
    x, y, z = np.moveaxis(points, -1, 0)
    inside = np.exp(-((x / 110.0) ** 2) - (y / 80.0) ** 2)
    depth = 1.0 / (1.0 + np.exp(z / 30.0))
    return np.stack([0.03 * x * inside, -4.0 * inside * depth, -14.0 * inside * depth], axis=-1)


def _ellipsoid(points: Array, shape: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    """Soft inside (1) / outside (0) of an ellipsoid with an edge about 2 mm wide."""
    centre, radii = np.asarray(shape[0]), np.asarray(shape[1])
    depth = (1.0 - np.linalg.norm((points - centre) / radii, axis=-1)) * radii.min()
    return 1.0 / (1.0 + np.exp(-np.clip(depth, -30, 30)))


def _vessels(seed: int) -> tuple[Array, Array]:
    """Centres (N, 3) and radii (N,) of bright blobs inside the lungs."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, _VESSELS)
    direction = rng.normal(size=(_VESSELS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reach = 0.85 * rng.uniform(0, 1, (_VESSELS, 1)) ** (1 / 3)
    lungs = np.asarray(_LUNGS)
    return lungs[side, 0] + direction * reach * lungs[side, 1], rng.uniform(2.5, 6.0, _VESSELS)


def _lungs(points: Array) -> tuple[Array, Array]:
    return _ellipsoid(points, _LUNGS[0]), _ellipsoid(points, _LUNGS[1])


def tissue(points: Array, seed: int = 0) -> Array:
    """Hounsfield-like value at positions (..., 3) of the moving space."""
    left, right = _lungs(points)
    value = -1000.0 + 1040.0 * _ellipsoid(points, _BODY) - 850.0 * np.maximum(left, right)
    centres, radii = _vessels(seed)
    flat = points.reshape(-1, 3)
    blobs = np.zeros(len(flat))
    tree = cKDTree(flat, balanced_tree=False, compact_nodes=False)
    for centre, radius in zip(centres, radii, strict=True):
        near = tree.query_ball_point(centre, 3.5 * radius)
        blobs[near] += np.exp(-0.5 * ((flat[near] - centre) ** 2).sum(axis=1) / radius**2)
    return value + 700.0 * np.minimum(blobs, 1.0).reshape(points.shape[:-1])


def _lattice_image(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin([-0.5 * (n - 1) * s for n, s in zip(size, spacing, strict=True)])
    return image


def _write(array: Array, like: sitk.Image, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(path))


def write(folder: Path, seed: int = 0) -> None:
    """Write fixed, moving, labels of the two lungs, a mask and 200 landmark pairs into folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grids = {
        "fixed": _lattice_image((112, 88, 72), (2.4, 2.4, 3.0)),
        "moving": _lattice_image((120, 92, 84), (2.2, 2.2, 2.6)),
    }
    for name, grid in grids.items():
        positions = Lattice.of(grid).world(0, grid.GetSize()[2])
        if name == "fixed":
            positions = positions + motion(positions)
        noise = rng.normal(0, 12.0, positions.shape[:-1])
        _write((tissue(positions, seed) + noise).astype(np.int16), grid, folder / f"{name}.nii.gz")
        left, right = (lung > 0.5 for lung in _lungs(positions))
        _write((left + 2 * right).astype(np.uint8), grid, folder / f"{name}_labels.nii.gz")
        if name == "fixed":
            _write((left | right).astype(np.uint8), grid, folder / "mask.nii.gz")
    _write_landmarks(folder, rng)


def _write_landmarks(folder: Path, rng: np.random.Generator, count: int = 200) -> None:
    candidates = rng.uniform([-100, -60, -80], [100, 60, 80], (20 * count, 3))
    moved = candidates + motion(candidates)
    inside = np.maximum(*_lungs(moved)) > 0.5
    np.savetxt(folder / "fixed_points.txt", candidates[inside][:count], header="x y z (mm, LPS)")
    np.savetxt(folder / "moving_points.txt", moved[inside][:count], header="x y z (mm, LPS)")
