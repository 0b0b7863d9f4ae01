"""The Laplacian of a sampled image, solved exactly in the frequencies that diagonalise it.

    (Laplacian u)_i = sum_k (u_{i - e_k} - 2 u_i + u_{i + e_k}) / h_k^2          (h: spacing in mm)

    Laplacian = B^T diag(lambda) B,     lambda_m = -sum_k (2 sin(theta_k m_k) / h_k)^2 <= 0

What the neighbours outside the image are decides the frequencies B of each axis of n voxels:

    fixed     u = 0 one spacing beyond the outer voxels    sine transform (DST-I),     theta = pi / (2 (n + 1)), m >= 1
    free      the outer voxel is held (no flux)            cosine transform (DCT-II),  theta = pi / (2 n)
    periodic  the other end                                Fourier transform,          theta = pi / n

B is orthonormal, so that inner products of images are those of their frequencies. Any function of the Laplacian costs
one transform there and one back: Poisson problems, Green's operators (a - b Laplacian)^-s, smoothing, gradients in
Sobolev norms. Everything works on any device, one axis after the other, and is differentiable. Short axes are
multiplied with the matrix of their frequencies, which for them is several times faster than a Fourier transform.

Buzbee, Golub, Nielson: On direct methods for solving Poisson's equations, SIAM J. Numer. Anal. 7(4), 1970,
doi:10.1137/0707049. Strang: The discrete cosine transform, SIAM Review 41(1), 1999, doi:10.1137/S0036144598336745.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

FIXED, FREE, PERIODIC = "fixed", "free", "periodic"
BOUNDARIES = (FIXED, FREE, PERIODIC)

#: Fourier transforms are fast where the size is a product of these
_SMOOTH = (2, 3, 5)
#: longest axis that is transformed by a matrix
_MATRIX = 320


def laplacian(values: torch.Tensor, spacing: Sequence[float], boundary: str = FIXED) -> torch.Tensor:
    """Second differences of `values` (C, [Z,] Y, X), per mm^2; `spacing` mm along x, y[, z]."""
    total = torch.zeros_like(values)
    for axis, h in _axes(values, spacing):
        before, after = _neighbour(values, axis, -1, boundary), _neighbour(values, axis, 1, boundary)
        total = total + (before - 2 * values + after) / h**2
    return total


def solve_poisson(
    source: torch.Tensor,
    spacing: Sequence[float],
    boundary: str = FIXED,
    shift: float = 0.0,
    power: int = 1,
) -> torch.Tensor:
    """u with (Laplacian - shift)^power u = source, all (C, [Z,] Y, X).

    spacing  mm along x, y[, z]; shift >= 0 in 1 / mm^2

    Without a shift the free and the periodic Laplacian have no inverse on constants: the mean of the source is left
    out and that of u is 0.
    """
    if shift < 0 or power < 1:
        raise ValueError(f"shift={shift} must not be negative and power={power} at least 1")

    def inverse(eigenvalues: torch.Tensor) -> torch.Tensor:
        moved = eigenvalues - shift
        singular = moved > -1e-7 * float(eigenvalues.abs().max())
        return torch.where(singular, 0.0, torch.where(singular, 1.0, moved) ** -power)

    return apply_function(source, spacing, inverse, boundary)


def apply_function(
    values: torch.Tensor,
    spacing: Sequence[float],
    function: Callable[[torch.Tensor], torch.Tensor],
    boundary: str = FIXED,
) -> torch.Tensor:
    """function(Laplacian) on `values` (C, [Z,] Y, X); `function` is given the eigenvalues (<= 0, 1 / mm^2)."""
    factors = function(eigenvalues(values.shape[1:], spacing, boundary, values.device))
    return from_frequencies(to_frequencies(values, boundary) * factors.to(values.dtype), boundary)


def eigenvalues(
    shape: Sequence[int], spacing: Sequence[float], boundary: str = FIXED, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """lambda ([Z,] Y, X) in 1 / mm^2, float32, in the order of `to_frequencies`."""
    d = len(shape)
    total = torch.zeros(tuple(shape), device=device)
    for axis, n in enumerate(shape):
        m = torch.arange(n, dtype=torch.float64)
        if boundary == FIXED:
            angle = (m + 1) * math.pi / (2 * (n + 1))
        elif boundary == FREE:
            angle = m * math.pi / (2 * n)
        elif boundary == PERIODIC:
            # in pairs of a cosine and a sine: 0, 1, 1, 2, 2 ...
            angle = torch.div(m + 1, 2, rounding_mode="floor") * math.pi / n
        else:
            raise ValueError(f"boundary={boundary!r} is not one of {', '.join(BOUNDARIES)}")
        line = -((2 * torch.sin(angle) / spacing[d - 1 - axis]) ** 2)
        total += line.to(total).reshape([-1 if k == axis else 1 for k in range(d)])
    return total


def to_frequencies(values: torch.Tensor, boundary: str = FIXED) -> torch.Tensor:
    """B `values`: the orthonormal transform along every axis but the first, same shape; real for every boundary."""
    return _along_all(values, boundary, back=False)


def from_frequencies(values: torch.Tensor, boundary: str = FIXED) -> torch.Tensor:
    """B^T `values`, the inverse of `to_frequencies`."""
    return _along_all(values, boundary, back=True)


def fast_size(least: int, boundary: str = FIXED) -> int:
    """The smallest size >= `least` whose transforms are fast: any short one, else where n + 1 (fixed) or n is a product
    of 2, 3 and 5."""
    if least <= _MATRIX:
        return least
    more = 1 if boundary == FIXED else 0
    n = least
    while not _is_smooth(n + more):
        n += 1
    return n


def _is_smooth(n: int) -> bool:
    for prime in _SMOOTH:
        while n % prime == 0:
            n //= prime
    return n == 1


def _along_all(values: torch.Tensor, boundary: str, back: bool) -> torch.Tensor:
    for axis in range(1, values.dim()):
        if values.shape[axis] > _MATRIX:
            transform = _TRANSFORMS[boundary][1 if back else 0]
            values = torch.movedim(transform(torch.movedim(values, axis, -1)), -1, axis)
        else:
            values = _multiplied(values, axis, _matrix(values.shape[axis], boundary, values.dtype, values.device), back)
    return values


def _multiplied(values: torch.Tensor, axis: int, basis: torch.Tensor, back: bool) -> torch.Tensor:
    """`basis` (frequencies by positions), or its transpose, along one axis."""
    if back:
        basis = basis.T
    if axis == values.dim() - 1:
        return values @ basis.T
    lines = values.flatten(axis + 1)
    return (basis @ lines).reshape(values.shape)


@lru_cache(maxsize=64)
def _matrix(n: int, boundary: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(n, n) rows are frequencies; made once for every size."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(n, dtype=torch.float64)
        return _TRANSFORMS[boundary][0](unit).T.contiguous().to(device=device, dtype=dtype)


def _sine(x: torch.Tensor) -> torch.Tensor:
    """y_m = sqrt(2 / (n + 1)) sum_i x_i sin(pi (i + 1)(m + 1) / (n + 1)), its own inverse; by the odd extension."""
    n = x.shape[-1]
    edge = x.new_zeros((*x.shape[:-1], 1))
    odd = torch.cat([edge, x, edge, -x.flip(-1)], dim=-1)
    return torch.fft.rfft(odd).imag[..., 1 : n + 1] * (-1 / math.sqrt(2 * (n + 1)))


def _cosine(x: torch.Tensor) -> torch.Tensor:
    """y_m = c_m sum_i x_i cos(pi (i + 1/2) m / n), c_0 = sqrt(1 / n), else sqrt(2 / n); by the even extension."""
    n = x.shape[-1]
    twist, scale = _cosine_factors(n, x)
    spectrum = torch.fft.rfft(torch.cat([x, x.flip(-1)], dim=-1))[..., :n]
    return (spectrum * twist.conj()).real * scale / 2


def _cosine_back(y: torch.Tensor) -> torch.Tensor:
    n = y.shape[-1]
    twist, scale = _cosine_factors(n, y)
    half = torch.cat([2 * y / scale * twist, torch.zeros_like(y[..., :1])], dim=-1)
    return torch.fft.irfft(half, n=2 * n)[..., :n]


def _cosine_factors(n: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    angle = torch.arange(n, device=like.device, dtype=like.dtype) * (math.pi / (2 * n))
    scale = torch.full_like(angle, math.sqrt(2 / n))
    scale[0] = math.sqrt(1 / n)
    return torch.polar(torch.ones_like(angle), angle), scale


def _hartley_pairs(x: torch.Tensor) -> torch.Tensor:
    """The Fourier transform as real numbers: mean, cosine 1, sine 1, cosine 2 ..., orthonormal."""
    n = x.shape[-1]
    spectrum = torch.fft.rfft(x, norm="ortho")
    pairs = torch.stack([spectrum.real, -spectrum.imag], dim=-1) * math.sqrt(2)
    flat = pairs.flatten(-2)
    # the mean has no sine, nor has the fastest oscillation of an even axis
    flat = torch.cat([flat[..., :1] / math.sqrt(2), flat[..., 2 : n + 1]], dim=-1)
    if n % 2 == 0:
        flat = torch.cat([flat[..., :-1], flat[..., -1:] / math.sqrt(2)], dim=-1)
    return flat


def _hartley_pairs_back(y: torch.Tensor) -> torch.Tensor:
    n = y.shape[-1]
    zero = torch.zeros_like(y[..., :1])
    rest = y[..., 1:]
    if n % 2 == 0:
        rest = torch.cat([rest[..., :-1], rest[..., -1:] * math.sqrt(2), zero], dim=-1)
    pairs = torch.cat([y[..., :1] * math.sqrt(2), zero, rest], dim=-1).unflatten(-1, (-1, 2)) / math.sqrt(2)
    return torch.fft.irfft(torch.complex(pairs[..., 0], -pairs[..., 1]), n=n, norm="ortho")


#: boundary -> transform along the last axis, and back
_TRANSFORMS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]] = {
    FIXED: (_sine, _sine),
    FREE: (_cosine, _cosine_back),
    PERIODIC: (_hartley_pairs, _hartley_pairs_back),
}


def _axes(values: torch.Tensor, spacing: Sequence[float]) -> list[tuple[int, float]]:
    """(tensor axis, mm) of every axis but the first."""
    d = values.dim() - 1
    if len(spacing) != d:
        raise ValueError(f"{len(spacing)} spacings do not fit values of shape {tuple(values.shape)}")
    return [(d - k, float(h)) for k, h in enumerate(spacing)]


def _neighbour(values: torch.Tensor, axis: int, step: int, boundary: str) -> torch.Tensor:
    if boundary == PERIODIC:
        return torch.roll(values, -step, dims=axis)
    n = values.shape[axis]
    inside = values.narrow(axis, 1 if step > 0 else 0, n - 1)
    outer = values.narrow(axis, n - 1 if step > 0 else 0, 1)
    edge = outer if boundary == FREE else torch.zeros_like(outer)
    return torch.cat([inside, edge] if step > 0 else [edge, inside], dim=axis)
