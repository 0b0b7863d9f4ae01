"""Memory that the gradient of a shooting (shooting.py) takes. Importing this loads no torch."""

from __future__ import annotations

#: bytes; where it were more, the steps are taken again instead of kept
AFFORDABLE = 2_500_000_000

#: numbers a voxel and step that the gradient keeps, by number of axes; measured
_KEPT = {2: 95, 3: 160}


def kept_bytes(voxels: int, steps: int, dimension: int) -> int:
    """What the gradient keeps of a shooting all of whose steps are kept, in float32."""
    return 4 * _KEPT[dimension] * voxels * steps
