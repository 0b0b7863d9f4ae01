"""Several images of the moving space brought to the fixed grid together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.grid import Grid
from ..core.image import Image
from ..core.sampling import BLOCK, precise
from ..core.transform import Transform


def pulled_back(images: Sequence[Image], grid: Grid, transform: Transform) -> list[Image]:
    """out(x) = image(T(x)) on `grid` for each image, voxel by voxel what `image.resampled(grid, T)` gives.

    T, which costs more than looking up the values, is evaluated once for all. Images and transform on one device.
    """
    sources = [i if i.discrete else i.to(dtype=torch.float32) for i in images]
    outside = [i.outside_value() for i in images]
    out = [torch.empty((i.channels, *grid.shape), dtype=i.data.dtype, device=i.data.device) for i in sources]
    if not images:
        return []
    device = sources[0].data.device
    for part, block in grid.blocks(BLOCK):
        there = transform.apply(block.world_points(device, precise(device)).reshape(-1, grid.dimension))
        for source, values, beyond in zip(sources, out, outside, strict=True):
            values[:, part] = source.at(there, beyond).reshape(source.channels, *block.shape)
    return [
        Image(values, grid, image.kind, image.names, image.unit)
        for values, image in zip(out, images, strict=True)
    ]
