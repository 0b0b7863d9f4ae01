"""The one judge of every tool: scores a transform file against landmarks, labels and its own regularity.

Independent on purpose: numpy, scipy and SimpleITK only, nothing of the library under test or of the peers.

Contract: a transform maps a fixed-space point x (LPS mm) to the moving-space point T(x) = x + u(x); moving
labels are pulled back, moved(x) = moving(T(x)), by nearest neighbour. Arrays are ordered z, y, x; vectors
x, y, z.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
_SLAB = 16  # slices worked on at once, which keeps the judge small on whole-head volumes


@dataclass(frozen=True)
class Lattice:
    """Where the voxels of a 3-D image lie: world (LPS mm) = origin + matrix @ index, both ordered x, y, z."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: Array
    matrix: Array

    @classmethod
    def of(cls, image: sitk.Image) -> Lattice:
        if image.GetDimension() != 3:
            raise ValueError(f"The judge scores 3-D images; this one has {image.GetDimension()} dimensions.")
        direction = np.asarray(image.GetDirection(), dtype=np.float64).reshape(3, 3)
        spacing = np.asarray(image.GetSpacing(), dtype=np.float64)
        return cls(image.GetSize(), image.GetSpacing(), np.asarray(image.GetOrigin()), direction * spacing)

    def world(self, z_start: int, z_stop: int) -> Array:
        """World positions (z, y, x, 3) of the voxels of slices z_start <= z < z_stop."""
        nx, ny, _ = self.size
        z, y, x = np.meshgrid(np.arange(z_start, z_stop), np.arange(ny), np.arange(nx), indexing="ij")
        return np.stack([x, y, z], axis=-1) @ self.matrix.T + self.origin

    def index(self, world: Array) -> Array:
        """Continuous index (..., 3), ordered x, y, z, of world positions (..., 3)."""
        return (world - self.origin) @ np.linalg.inv(self.matrix).T

    def matches(self, other: Lattice, tolerance_mm: float = 1e-3) -> bool:
        return (
            self.size == other.size
            and np.allclose(self.origin, other.origin, atol=tolerance_mm)
            and np.allclose(self.matrix, other.matrix, atol=tolerance_mm)
        )


# ------------------------------------------------------------------------------------------------ reading


def read_transform(path: Path, fixed: sitk.Image) -> sitk.Image:
    """Displacement field (LPS mm) on the grid of fixed, from a vector image or an ITK transform file."""
    if path.suffix.lower() in {".tfm", ".txt", ".mat", ".h5"}:
        field = sitk.TransformToDisplacementField(
            sitk.ReadTransform(str(path)),
            sitk.sitkVectorFloat64,
            fixed.GetSize(),
            fixed.GetOrigin(),
            fixed.GetSpacing(),
            fixed.GetDirection(),
        )
    else:
        field = sitk.ReadImage(str(path))
        if field.GetDimension() != 3 or field.GetNumberOfComponentsPerPixel() != 3:
            raise ValueError(f"{path} is not a 3-D image of 3-vectors, so it is no displacement field.")
        field = _on_lattice(sitk.Cast(field, sitk.sitkVectorFloat64), fixed)
    if not np.isfinite(sitk.GetArrayViewFromImage(field)).all():
        raise ValueError(f"{path} holds displacements that are not finite.")
    return field


def _on_lattice(field: sitk.Image, fixed: sitk.Image) -> sitk.Image:
    if Lattice.of(field).matches(Lattice.of(fixed)):
        return field
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(fixed)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    return resample.Execute(field)


def read_points(path: Path) -> Array:
    """Landmarks (N, 3) in LPS mm from plain text: one point a row, '#' starts a comment."""
    points = np.loadtxt(path, comments="#", ndmin=2, dtype=np.float64)
    if points.shape[1] != 3:
        raise ValueError(f"{path} has {points.shape[1]} numbers a row; landmarks need 3 (x y z).")
    return points


# ------------------------------------------------------------------------------------------------ landmarks


def displacement_at(field: sitk.Image, points: Array) -> Array:
    """u (N, 3) at world points (N, 3): linear inside the grid, the nearest voxel's value outside it."""
    index = Lattice.of(field).index(points)
    array = sitk.GetArrayViewFromImage(field)
    where = index.T[::-1]
    parts = [ndimage.map_coordinates(array[..., c], where, order=1, mode="nearest") for c in range(3)]
    return np.stack(parts, axis=1)


def landmark_scores(field: sitk.Image, fixed_points: Array, moving_points: Array) -> dict[str, float]:
    """Target registration error in mm before and after: |x - y| and |x + u(x) - y|."""
    if fixed_points.shape != moving_points.shape:
        raise ValueError(
            f"{len(fixed_points)} fixed but {len(moving_points)} moving landmarks; they must pair up."
        )
    before = np.linalg.norm(fixed_points - moving_points, axis=1)
    after = np.linalg.norm(fixed_points + displacement_at(field, fixed_points) - moving_points, axis=1)
    return {
        "tre_before": float(before.mean()),
        "tre": float(after.mean()),
        "tre_p95": float(np.percentile(after, 95)),
        "tre_max": float(after.max()),
    }


# ------------------------------------------------------------------------------------------------ labels


def pull_back(labels: sitk.Image, field: sitk.Image | None, fixed: sitk.Image) -> NDArray[np.int64]:
    """Moving labels at T(x) for every fixed voxel x (identity where field is None); 0 outside moving."""
    source = sitk.GetArrayViewFromImage(labels)
    moving_lattice, fixed_lattice = Lattice.of(labels), Lattice.of(fixed)
    nx, ny, nz = fixed_lattice.size
    out = np.zeros((nz, ny, nx), dtype=np.int64)
    limit = np.asarray(moving_lattice.size)
    displacement = None if field is None else sitk.GetArrayViewFromImage(field)
    for start in range(0, nz, _SLAB):
        stop = min(start + _SLAB, nz)
        world = fixed_lattice.world(start, stop)
        if displacement is not None:
            world = world + displacement[start:stop]
        voxel = np.floor(moving_lattice.index(world) + 0.5).astype(np.int64)  # halves go up, as in ITK
        inside = ((voxel >= 0) & (voxel < limit)).all(axis=-1)
        x, y, z = voxel[inside].T
        out[start:stop][inside] = source[z, y, x]
    return out


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """2 |a and b| / (|a| + |b|); not a number when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else float("nan")


def _surface_points(mask: NDArray[np.bool_], lattice: Lattice) -> Array:
    # voxels with a face neighbour outside the structure; the outside of the image counts as outside
    inner = ndimage.binary_erosion(mask, border_value=0)
    return np.argwhere(mask & ~inner)[:, ::-1] @ lattice.matrix.T


def hd95(a: NDArray[np.bool_], b: NDArray[np.bool_], lattice: Lattice) -> float:
    """95th percentile (mm) of the distances from each surface to the other, both ways pooled."""
    pa, pb = _surface_points(a, lattice), _surface_points(b, lattice)
    if not len(pa) or not len(pb):
        return float("nan")
    to_b, _ = cKDTree(pb).query(pa)
    to_a, _ = cKDTree(pa).query(pb)
    return float(np.percentile(np.concatenate([to_b, to_a]), 95))


def label_scores(
    field: sitk.Image, fixed_labels: sitk.Image, moving_labels: sitk.Image
) -> dict[str, float | dict[str, float]]:
    """Mean Dice and HD95 over the labels both images hold; a label lost on the way: Dice 0 and no HD95."""
    target = sitk.GetArrayFromImage(fixed_labels).astype(np.int64)
    lattice = Lattice.of(fixed_labels)
    shared = np.intersect1d(np.unique(target), np.unique(sitk.GetArrayViewFromImage(moving_labels)))
    ids = [int(v) for v in shared if v != 0]
    if not ids:
        raise ValueError("The two label images share no label, so there is no overlap to measure.")
    before = pull_back(moving_labels, None, fixed_labels)
    after = pull_back(moving_labels, field, fixed_labels)
    per_label = {str(v): dice(target == v, after == v) for v in ids}
    distances = [hd95(target == v, after == v, lattice) for v in ids]
    return {
        "dice_before": float(np.mean([dice(target == v, before == v) for v in ids])),
        "dice": float(np.mean(list(per_label.values()))),
        "hd95": float(np.nanmean(distances)) if np.isfinite(distances).any() else float("nan"),
        "dice_per_label": per_label,
    }


# ------------------------------------------------------------------------------------------------ regularity


def jacobian(field: sitk.Image) -> Array:
    """det(dT/dx) at the voxels with both neighbours on every axis: shape (nz - 2, ny - 2, nx - 2)."""
    u = sitk.GetArrayFromImage(field)
    if min(u.shape[:3]) < 3:
        raise ValueError(f"Central differences need three voxels an axis; the field has {field.GetSize()}.")
    world_to_index = np.linalg.inv(Lattice.of(field).matrix)
    out = np.empty(tuple(n - 2 for n in u.shape[:3]))
    for start in range(1, u.shape[0] - 1, _SLAB):
        stop = min(start + _SLAB, u.shape[0] - 1)
        part = u[start - 1 : stop + 1]
        by_index = np.stack(
            [
                part[1:-1, 1:-1, 2:] - part[1:-1, 1:-1, :-2],
                part[1:-1, 2:, 1:-1] - part[1:-1, :-2, 1:-1],
                part[2:, 1:-1, 1:-1] - part[:-2, 1:-1, 1:-1],
            ],
            axis=-1,
        )  # (..., component, axis x y z), twice the derivative by index
        out[start - 1 : stop - 1] = np.linalg.det(np.eye(3) + 0.5 * by_index @ world_to_index)
    return out


def regularity_scores(field: sitk.Image, mask: sitk.Image | None = None) -> dict[str, float]:
    """Folding (percent of det <= 0) and SDlogJ (over det > 0), inside the mask when there is one."""
    det = jacobian(field)
    values = det.ravel() if mask is None else det[sitk.GetArrayViewFromImage(mask)[1:-1, 1:-1, 1:-1] > 0]
    if not values.size:
        raise ValueError("The mask leaves no voxel to measure the deformation in.")
    positive = values[values > 0]
    return {
        "folding_percent": float(100.0 * np.mean(values <= 0)),
        "sdlogj": float(np.std(np.log(positive))) if positive.size else float("nan"),
        "jacobian_min": float(values.min()),
        "jacobian_max": float(values.max()),
    }


# ------------------------------------------------------------------------------------------------ everything


def score(transform: Path, files: dict[str, Path]) -> dict[str, object]:
    """Every measure the files of a case allow.

    files: 'fixed' and any of 'fixed_labels', 'moving_labels', 'fixed_points', 'moving_points', 'mask'.
    """
    fixed = sitk.ReadImage(str(files["fixed"]))
    field = read_transform(transform, fixed)
    mask = sitk.ReadImage(str(files["mask"])) if "mask" in files else None
    scores: dict[str, object] = dict(regularity_scores(field, mask))
    if "fixed_labels" in files and "moving_labels" in files:
        fixed_labels = sitk.ReadImage(str(files["fixed_labels"]))
        if not Lattice.of(fixed_labels).matches(Lattice.of(fixed)):
            raise ValueError(f"{files['fixed_labels']} is not on the grid of {files['fixed']}.")
        scores.update(label_scores(field, fixed_labels, sitk.ReadImage(str(files["moving_labels"]))))
    if "fixed_points" in files and "moving_points" in files:
        points = read_points(files["fixed_points"]), read_points(files["moving_points"])
        scores.update(landmark_scores(field, *points))
    return scores
