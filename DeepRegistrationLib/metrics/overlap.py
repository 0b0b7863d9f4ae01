"""Dice and volume of each label of two label maps on one grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.image import Image

Labels = NDArray[np.integer[Any]]

#: labels up to here are counted by position, which is far quicker than sorting
_COUNTED = 1 << 20
#: voxels counted at once
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Overlap:
    """dice = 2 |A and B| / (|A| + |B|), None where both are empty; volumes of either label in mm^d."""

    dice: float | None
    volume_first: float
    volume_second: float


def overlap_by_label(first: Image, second: Image, labels: Iterable[int] | None = None) -> dict[int, Overlap]:
    """label -> Overlap of two label maps (1, [Z,] Y, X) on the same grid.

    labels  which ones; those of `first` besides background 0 where not given
    Raises InputError where the grids differ.
    """
    if not first.grid.same_as(second.grid):
        raise InputError(
            f"Overlap needs label maps on one grid, but these have {first.grid} and {second.grid}."
        )
    a, b = label_array(first), label_array(second)
    in_a, in_b, in_both = label_counts(a), label_counts(b), label_counts(a[a == b])
    wanted = [v for v in in_a if v != 0] if labels is None else list(labels)
    volume = first.grid.voxel_volume
    out = {}
    for v in wanted:
        na, nb = in_a.get(v, 0), in_b.get(v, 0)
        dice = 2.0 * in_both.get(v, 0) / (na + nb) if na + nb else None
        out[v] = Overlap(dice, na * volume, nb * volume)
    return out


def label_array(image: Image) -> Labels:
    """([Z,] Y, X) whole numbers of a one-channel label map or mask, in its own integer type."""
    if image.channels != 1:
        raise InputError(f"A label map has one channel, but this one has {image.channels}; join them.")
    values = image.data[0].cpu().numpy()
    return values if values.dtype.kind in "iu" else values.astype(np.int64)


def label_counts(labels: Labels) -> dict[int, int]:
    """label -> number of voxels, ascending; background is counted too."""
    flat = labels.ravel()
    if not flat.size:
        return {}
    largest = int(flat.max())
    if flat.min() >= 0 and largest < _COUNTED:
        # bincount turns what it gets to 64 bits: piece by piece that takes no memory to speak of
        counts = np.zeros(largest + 1, dtype=np.int64)
        for start in range(0, flat.size, _BLOCK):
            counts += np.bincount(flat[start : start + _BLOCK], minlength=largest + 1)
        present = np.flatnonzero(counts)
        return {int(v): int(counts[v]) for v in present}
    values, numbers = np.unique(flat, return_counts=True)
    return {int(v): int(n) for v, n in zip(values, numbers, strict=True)}
