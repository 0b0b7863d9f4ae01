"""Intensity normalised by its own neighbourhood: a squared difference of it acts like local cross-correlation.

    n(x) = (I(x) - m(x)) / sqrt(s(x)^2 + e^2),    m, s: mean and standard deviation in a box around x

For windows of equal contrast |n_F - n_M|^2 averages to 2 (1 - LNCC). e is a share of the image's own typical contrast,
so that noise in flat regions is not blown up.
"""

from __future__ import annotations

import torch

from .box import box_mean


def local_contrast(
    image: torch.Tensor, radius: int, floor: float = 0.5, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """`image` ([Z,] Y, X) -> same shape, float32.

    radius  of the box, voxels
    floor   e as a multiple of the root mean square of s over the image
    counts  weight of each voxel in that mean, so that an artefact outside a mask does not set it; None: all alike
    """
    image = image.to(torch.float32)
    # numbers near zero keep the variance accurate in single precision
    image = image - image.mean()
    mean = box_mean(image[None], radius)[0]
    variance = (box_mean(image[None].square(), radius)[0] - mean.square()).clamp_(min=0)
    typical = variance.mean() if counts is None else (variance * counts).sum() / counts.sum().clamp(min=1e-6)
    noise = floor**2 * float(typical) + 1e-12
    return (image - mean) / (variance + noise).sqrt_()
