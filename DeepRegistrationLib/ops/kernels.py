"""Reproducing kernels of spaces of smooth velocities, as operators on fields sampled on a grid.

A space V of velocities with the norm |v|_V^2 = <L v, v> has the kernel K = L^-1, which makes the smooth velocity
v = K m out of a momentum m. Two of them:

    Gaussian             (K m)(x) = sum_i a_i  integral G_{w_i}(x - y) m(y) dy,   G_w: isotropic Gaussian, integral 1
    Green's operator     K = L^-1 with L = (Id - alpha Laplacian)^s

Widths are mm (standard deviations) and alpha is mm^2 whatever the spacing of the grid; integrals are over mm^d.
Fields are (C, [Z,] Y, X), every channel by itself, on grids of two or three axes. Both operators are symmetric and
positive, and differentiable in the field.

Younes: Shapes and Diffeomorphisms, Springer 2010, doi:10.1007/978-3-642-12055-8, chapters 9 and 11. Sums of Gaussians:
Risser et al., IEEE TMI 30(10), 2011, doi:10.1109/TMI.2011.2146787.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..core.grid import Grid

#: a Gaussian is summed up to so many standard deviations where its weights are normalised
_REACH = 8


class GaussianKernel:
    """K m = sum_i a_i G_{w_i} * m on `grid`; the field is 0 outside its field of view.

    widths      standard deviations, mm, positive
    amplitudes  a_i; 1 / (number of widths) where not given
    One small dense matrix an axis: exact for every width, and symmetric to the last digit.
    """

    def __init__(
        self,
        grid: Grid,
        widths: Sequence[float],
        amplitudes: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not widths or min(widths) <= 0:
            raise ValueError(f"a Gaussian kernel needs positive widths, not {tuple(widths)}")
        self.grid = grid
        self.widths = tuple(float(w) for w in widths)
        self.amplitudes = tuple(amplitudes) if amplitudes is not None else (1 / len(widths),) * len(widths)
        if len(self.amplitudes) != len(self.widths):
            raise ValueError(f"{len(self.amplitudes)} amplitudes do not fit {len(self.widths)} widths")
        # the amplitude rides on the matrix of the first tensor axis
        self._matrices = [
            [
                gaussian_matrix(n, s, w, device=device, dtype=dtype) * (a if axis == 0 else 1.0)
                for axis, (n, s) in enumerate(zip(grid.shape, grid.spacing[::-1], strict=True))
            ]
            for w, a in zip(self.widths, self.amplitudes, strict=True)
        ]

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """K field."""
        total = _along_axes(field, self._matrices[0])
        for matrices in self._matrices[1:]:
            total = total + _along_axes(field, matrices)
        return total


class GreenOperator:
    """K = (Id - alpha Laplacian)^-s on `grid` through the fast Fourier transform.

    alpha   mm^2
    power   s, any positive number
    margin  mm of zeros the field is surrounded by. With 0 the field of view is periodic; about 10 sqrt(alpha) make it
            an open space
    The Laplacian is the one of central differences, so that `apply_inverse` (L itself) is exact on the lattice.
    """

    def __init__(self, grid: Grid, alpha: float, power: float = 1.0, margin: float = 0.0) -> None:
        if alpha <= 0 or power <= 0 or margin < 0:
            raise ValueError(
                f"alpha {alpha:g} and power {power:g} must be positive, margin {margin:g} not negative"
            )
        self.grid, self.alpha, self.power = grid, float(alpha), float(power)
        self._extra = [math.ceil(margin / s) for s in grid.spacing[::-1]]
        self._shape = [n + e for n, e in zip(grid.shape, self._extra, strict=True)]
        squared = torch.zeros((1,) * grid.dimension, dtype=torch.float64)
        for axis, (n, s) in enumerate(zip(self._shape, grid.spacing[::-1], strict=True)):
            last = axis == grid.dimension - 1
            frequency = torch.fft.rfftfreq(n, dtype=torch.float64) if last else torch.fft.fftfreq(
                n, dtype=torch.float64
            )
            part = (2 - 2 * torch.cos(2 * math.pi * frequency)) / s**2
            squared = squared + part.reshape([-1 if k == axis else 1 for k in range(grid.dimension)])
        self._symbol = (1 + self.alpha * squared) ** self.power

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """K field: the u with (Id - alpha Laplacian)^s u = field."""
        return self._filtered(field, 1 / self._symbol)

    def apply_inverse(self, field: torch.Tensor) -> torch.Tensor:
        """L field = (Id - alpha Laplacian)^s field."""
        return self._filtered(field, self._symbol)

    def _filtered(self, field: torch.Tensor, symbol: torch.Tensor) -> torch.Tensor:
        axes = list(range(1, field.dim()))
        padded = F.pad(field, [k for e in reversed(self._extra) for k in (0, e)]) if any(self._extra) else field
        spectrum = torch.fft.rfftn(padded, dim=axes)
        spectrum = spectrum * symbol.to(field.device, field.dtype)
        out = torch.fft.irfftn(spectrum, s=self._shape, dim=axes)
        return out[(slice(None), *(slice(0, n) for n in self.grid.shape))]


def gaussian_matrix(
    count: int,
    spacing: float,
    width: float,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """(count, count) weights of a convolution with a Gaussian along an axis of `count` voxels.

    W_ij = g(i - j) / sum_k g(k),   g(k) = exp(-(k spacing)^2 / (2 width^2)),   k over all whole numbers

    `spacing` and `width` in one unit (mm). Symmetric; its rows sum to 1 far from the ends, where nothing outside the
    axis is missed. It becomes the identity for a width far below the spacing.
    """
    reach = max(1, math.ceil(_REACH * width / spacing))
    total = _gaussian(torch.arange(-reach, reach + 1, dtype=torch.float64), spacing, width).sum()
    i = torch.arange(count, dtype=torch.float64)
    weights = _gaussian(i[:, None] - i[None, :], spacing, width) / total
    return weights.to(device=device, dtype=dtype)


def along_axis(field: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """`matrix` (n, n) applied to every line of `field` along a tensor axis of n voxels; same shape."""
    shape = field.shape
    if axis == field.dim() - 1:
        return field @ matrix.T
    return (matrix @ field.reshape(math.prod(shape[:axis]), shape[axis], -1)).reshape(shape)


def inner_product(a: torch.Tensor, b: torch.Tensor, grid: Grid) -> torch.Tensor:
    """<a, b> = integral sum_c a_c b_c dx over the field of view, mm^d times the units of a and b; a scalar."""
    return (a * b).sum() * grid.voxel_volume


def _gaussian(offset: torch.Tensor, spacing: float, width: float) -> torch.Tensor:
    return torch.exp(-0.5 * (offset * (spacing / width)) ** 2)


def _along_axes(field: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Each matrix along its tensor axis of (C, [Z,] Y, X)."""
    for axis, matrix in enumerate(matrices, start=1):
        field = along_axis(field, matrix, axis)
    return field
