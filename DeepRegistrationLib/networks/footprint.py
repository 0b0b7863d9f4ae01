"""What running a network takes, for those who have to fit it into memory. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Footprint:
    """bytes_per_voxel  largest memory at once for each voxel of its input, float32, no gradients
    margin           voxels around a piece of the scans that its answer in the piece depends on; None: the network
                     has to see the scans whole
    """

    bytes_per_voxel: int
    margin: int | None = None
