"""Distances between the surfaces of two masks, in mm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..core.image import Image
from .overlap import Labels, label_array

Box = tuple[slice, ...]

#: labels up to here get their boxes in one pass
_DENSE = 1 << 16
#: points in a leaf of the search tree; many, because far from a smooth surface nearly all leaves compete
_LEAF = 64


@dataclass(frozen=True)
class SurfaceDistances:
    """95th percentile and mean of the pooled two-way distances between two surfaces, mm."""

    hd95: float
    mean: float


def surface_distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances | None:
    """Distances of every surface voxel of each mask to the nearest surface voxel of the other.

    first, second  ([Z,] Y, X)
    spacing        mm along x, y[, z]
    returns        None where a mask is empty

    The surface of a mask are its voxels with a face neighbour outside it; beyond the array counts as outside.
    Direction does not matter: a rotation of the grid keeps every distance.
    """
    box = _joined(_box(first), _box(second), first.shape)
    return None if box is None else _between(first[box], second[box], spacing)


def _between(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Of two masks that both have a voxel."""
    surface_a, surface_b = _surface(first), _surface(second)
    to_b = _distances(surface_a, surface_b, spacing)
    to_a = _distances(surface_b, surface_a, spacing)
    pooled = np.concatenate([to_b, to_a])
    return SurfaceDistances(float(np.percentile(pooled, 95)), float(pooled.mean()))


def surface_distances_by_label(
    first: Image, second: Image, labels: Iterable[int]
) -> dict[int, SurfaceDistances | None]:
    """label -> distances between its surfaces in two label maps on one grid."""
    a, b = label_array(first), label_array(second)
    wanted = list(labels)
    boxes_a, boxes_b = _boxes(a, wanted), _boxes(b, wanted)
    out: dict[int, SurfaceDistances | None] = {}
    for v in wanted:
        box = _joined(boxes_a.get(v), boxes_b.get(v), a.shape)
        out[v] = None if box is None else _between(a[box] == v, b[box] == v, first.grid.spacing)
    return out


def _distances(
    start: NDArray[np.bool_], target: NDArray[np.bool_], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """mm from every True voxel of `start` to the nearest of `target`; 0 for those they share needs no search.

    A tree of the surface's voxels, unlike a distance transform, does not pay for the volume they enclose.
    """
    scale = np.asarray(spacing)[::-1]
    apart = np.argwhere(start & ~target) * scale
    shared = np.zeros(int((start & target).sum()))
    if not len(apart):
        return shared
    tree = cKDTree(np.argwhere(target) * scale, leafsize=_LEAF, balanced_tree=False)
    found = tree.query(apart, workers=torch.get_num_threads())[0]
    return np.concatenate([found, shared])


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    surface: NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask, border_value=0)
    return surface


def _box(mask: NDArray[np.bool_]) -> Box | None:
    found = ndimage.find_objects(mask.view(np.uint8) if mask.dtype == bool else mask.astype(np.uint8))
    return found[0] if found else None


def _boxes(labels: Labels, wanted: Sequence[int]) -> dict[int, Box]:
    """Bounding box of each wanted label that is present."""
    if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() < _DENSE:
        found = ndimage.find_objects(labels)
        return {v: found[v - 1] for v in wanted if 0 < v <= len(found) and found[v - 1] is not None}
    boxes = {v: _box(labels == v) for v in wanted}
    return {v: box for v, box in boxes.items() if box is not None}


def _joined(a: Box | None, b: Box | None, shape: Sequence[int]) -> Box | None:
    """Smallest box that holds both and one voxel around, within the array; None where either is missing."""
    if a is None or b is None:
        return None
    return tuple(
        slice(max(0, min(p.start, q.start) - 1), min(n, max(p.stop, q.stop) + 1))
        for p, q, n in zip(a, b, shape, strict=True)
    )
