"""Grids and fields that the tests of core, transforms and io share: small, as unfriendly as real headers."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
import torch
from hypothesis import strategies as st

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.transforms import Affine, DisplacementField


def rotation(*degrees: float) -> np.ndarray:
    """Turn in the plane for one angle, about x, then y, then z for three."""
    if len(degrees) == 1:
        a = math.radians(degrees[0])
        return np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    out = np.eye(3)
    for axis, angle in enumerate(degrees):
        turn = np.eye(3)
        keep = [k for k in range(3) if k != axis]
        turn[np.ix_(keep, keep)] = rotation(angle)
        out = turn @ out
    return out


GRIDS = {
    "plain": Grid((9, 8, 7)),
    "anisotropic": Grid((9, 8, 5), (0.7, 1.1, 3.0), (-100.0, 40.0, 512.5)),
    "oblique": Grid((8, 9, 6), (1.0, 1.3, 2.5), (12.0, -7.0, 30.0), rotation(20, -35, 50)),
    "left-handed": Grid(
        (7, 9, 6), (1.2, 0.9, 2.0), (80.0, -90.0, 10.0), rotation(5, 10, -15) @ np.diag([-1, 1, 1])
    ),
    "axes swapped": Grid((6, 7, 8), (1.5, 1.0, 0.8), (3.0, 2.0, 1.0), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "flat plain": Grid((11, 9)),
    "flat oblique": Grid((10, 9), (0.6, 1.7), (-33.0, 21.0), rotation(30)),
    "flat left-handed": Grid((8, 11), (1.4, 0.8), (5.0, -60.0), rotation(-25) @ np.diag([1, -1])),
}


@st.composite
def any_grid(draw: st.DrawFn) -> Grid:
    """Any small grid in two or three dimensions."""
    d = draw(st.sampled_from([2, 3]))
    size = [draw(st.integers(1, 7)) for _ in range(d)]
    spacing = [draw(st.floats(0.1, 5.0)) for _ in range(d)]
    origin = [draw(st.floats(-600.0, 600.0)) for _ in range(d)]
    angles = [draw(st.floats(-180.0, 180.0)) for _ in range(1 if d == 2 else 3)]
    flip = np.diag([draw(st.sampled_from([-1.0, 1.0])) for _ in range(d)])
    return Grid(size, spacing, origin, rotation(*angles) @ flip)


def noise(grid: Grid, channels: int = 1, seed: int = 0, kind: ImageKind = ImageKind.INTENSITY) -> Image:
    """An image in which no two voxels are alike (labels 0 to 9)."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand((channels, *grid.shape), generator=generator) * 100 + 1
    if kind is ImageKind.LABELS:
        values = (values % 10).to(torch.int16)
    return Image(values, grid, kind)


def wavy(grid: Grid, mm: float, seed: int = 0) -> DisplacementField:
    """A smooth field of about `mm` whose components differ, on `grid`."""
    rng = np.random.default_rng(seed)
    x = grid.world_points(dtype=torch.float64).numpy() - grid.centre
    length = max(grid.extent)
    parts = []
    for _ in range(grid.dimension):
        wave = rng.normal(size=grid.dimension) * 2.0 / length
        parts.append(mm * np.sin(x @ wave + rng.uniform(0, 6)))
    return DisplacementField(torch.from_numpy(np.stack(parts)).to(torch.float32), grid)


def linear_map(grid: Grid, seed: int = 0, amount: float = 0.1) -> Affine:
    """A general affine map that keeps `grid` about where it is."""
    rng = np.random.default_rng(seed)
    d = grid.dimension
    matrix = np.eye(d) + amount * rng.normal(size=(d, d))
    return Affine.about(grid.centre, matrix, rng.normal(size=d))


def some_points(grid: Grid, count: int = 40, seed: int = 0, margin: float = 0.0) -> torch.Tensor:
    """(count, d) world points in the field of view, `margin` voxels away from its edges (or beyond them)."""
    rng = np.random.default_rng(seed)
    low = margin - 0.5
    index = low + rng.uniform(size=(count, grid.dimension)) * (np.array(grid.size) - 1 - 2 * low)
    return torch.from_numpy(grid.world_from_index(index))


def empty_itk(grid: Grid) -> sitk.Image:
    """A SimpleITK image of that geometry, made without the code under test."""
    out = sitk.Image(list(grid.size), sitk.sitkFloat32)
    out.SetSpacing(list(grid.spacing))
    out.SetOrigin(list(grid.origin))
    out.SetDirection(np.asarray(grid.direction).ravel().tolist())
    return out


def itk_image(image: Image) -> sitk.Image:
    """One channel as a SimpleITK image, made without the code under test."""
    out = sitk.GetImageFromArray(image.data[0].numpy())
    out.CopyInformation(empty_itk(image.grid))
    return out


def itk_field(field: DisplacementField) -> sitk.DisplacementFieldTransform:
    """A displacement field as SimpleITK has it, made without the code under test."""
    components = [sitk.GetImageFromArray(u.numpy().astype(np.float64)) for u in field.field]
    out = sitk.Compose(components)
    out.CopyInformation(empty_itk(field.grid))
    return sitk.DisplacementFieldTransform(out)


def itk_affine(transform: Affine) -> sitk.AffineTransform:
    out = sitk.AffineTransform(transform.dimension)
    out.SetMatrix(transform.matrix.numpy().ravel().tolist())
    out.SetTranslation(transform.translation.tolist())
    return out
