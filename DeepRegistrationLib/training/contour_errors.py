"""Segmentations as they are in practice: contours that are off by some millimetres.

    seen(x) = true(x + e(x)),   e linear between nodes `length` mm apart, each component Gaussian there

A network that is to use segmentations must not learn that every contour is exact: those of a program or of another
reader are not.
"""

from __future__ import annotations

import torch

from ..core.image import Image
from ..transforms import DisplacementField


def with_contour_errors(labels: Image, deviation: float, generator: torch.Generator, length: float = 15.0) -> Image:
    """The label map with every contour displaced at random.

    deviation  standard deviation of e at the nodes, mm along each axis; 0 gives the map as it is
    generator  on the CPU
    """
    if deviation == 0:
        return labels
    nodes = labels.grid.padded(1).with_spacing(length)
    noise = torch.randn((nodes.dimension, *nodes.shape), generator=generator)
    return labels.resampled(labels.grid, DisplacementField(deviation * noise.to(labels.data.device), nodes))
