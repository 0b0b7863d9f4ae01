"""The inverse of a deformation with a fixed boundary, by the principle that made the deformation.

    psi = argmin 1/2 integral |phi(psi(y)) - y|^2 dy,     Laplacian psi = F,   psi = id on the boundary

This is the registration of optimal_control.py with the coordinates for images: phi is the moving one, the identity the
fixed one. Its Newton step (equation 3 of the paper) has K = (grad phi)^T (grad phi), and as nothing but the equation
itself asks for smoothness the two Laplacians around K drop out, point by point:

    psi <- psi - (grad phi(psi))^-1 (phi(psi) - id),     which is   F <- F - Laplacian ((grad phi(psi))^-1 (...))

It converges quadratically where it starts near, and takes shorter steps where the error grew.

Zhou, Liao: Recent developments of an optimal control approach to nonrigid image registration, WBIR 2022, in
doi:10.1007/978-3-031-11203-4; Zhou, Liao: Construction of diffeomorphisms with prescribed Jacobian determinant and
curl, arXiv:2105.09302.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..core.grid import Grid
from ..core.sampling import BLOCK, sample_index
from ..ops.gradients import axis_derivative

#: a point has arrived where phi(psi(y)) is this close to y, in parts of the smallest spacing
_TOLERANCE = 1e-3
#: no step goes farther than this many voxels at once
_REACH = 2.0


def inverse_displacement(
    field: torch.Tensor,
    frame: Grid,
    start: torch.Tensor | None = None,
    steps: int = 30,
    report: Callable[[float], None] = lambda share: None,
) -> torch.Tensor:
    """v (d, [Z,] Y, X) with y + v(y) = psi(y), phi = id + `field`; both mm along the index axes of `frame`.

    start   where the search for v begins; -field where not given
    report  called with 0..1 as the work goes on; may raise Cancelled

    The outer voxels of `field` and of v are 0.
    """
    d = frame.dimension
    per_voxel = torch.tensor(frame.spacing, dtype=field.dtype, device=field.device)
    # in voxels, with the slopes d u_c / d x_k beside the displacement: (d + d d, ...)
    u = field / per_voxel.reshape(-1, *[1] * d)
    table = torch.cat([u, *(axis_derivative(u, d - k) for k in range(d))])
    begin = -u if start is None else start / per_voxel.reshape(-1, *[1] * d)
    out = torch.empty_like(field)
    for part, block in frame.blocks(BLOCK):
        report(part.start / frame.size[-1])
        y = block.index_points(field.device, field.dtype).reshape(-1, d)
        y[:, -1] += part.start
        v = _newton(table, y, begin[:, part].reshape(d, -1).T.contiguous(), steps)
        out[:, part] = (v * per_voxel).T.reshape(d, *block.shape)
    return out


def _newton(table: torch.Tensor, y: torch.Tensor, v: torch.Tensor, steps: int) -> torch.Tensor:
    """v (N, d) voxels with v + u(y + v) = 0; the best that was met where that is not reached."""
    d = y.shape[1]
    best, active = v.clone(), torch.arange(len(y), device=y.device)
    least = torch.full((len(y),), float("inf"), device=y.device, dtype=y.dtype)
    length = torch.ones_like(least)
    centre, move = v, torch.zeros_like(v)
    for _ in range(steps):
        sampled = sample_index(table, y + v, outside=None)
        error = v + sampled[:d].T
        size = error.norm(dim=1)
        better = size < least
        least = torch.where(better, size, least)
        best[active[better]] = v[better]
        going = torch.where(better, size, least) > _TOLERANCE
        if not bool(going.any()):
            break
        # columns of grad u by axis: (N, c, k)
        slopes = sampled[d:].reshape(d, d, -1).permute(2, 1, 0) + torch.eye(d, dtype=y.dtype, device=y.device)
        newton = _limited(-_solve(slopes, error))
        # a step that did not help is halved, from where it began
        length = torch.where(better, torch.ones_like(length), 0.5 * length)
        centre = torch.where(better[:, None], v, centre)
        move = torch.where(better[:, None], newton, move)
        v = centre + length[:, None] * move
        active, y, v, least, length = active[going], y[going], v[going], least[going], length[going]
        centre, move = centre[going], move[going]
    return best


def _limited(step: torch.Tensor) -> torch.Tensor:
    return step * (_REACH / step.norm(dim=1, keepdim=True).clamp(min=_REACH))


def _solve(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """matrix^-1 right by Cramer's rule, (N, d, d) and (N, d); where it is nearly singular, right itself."""
    if right.shape[1] == 2:
        (a, b), (c, d) = matrix[:, 0].unbind(1), matrix[:, 1].unbind(1)
        determinant = a * d - b * c
        top = torch.stack([d * right[:, 0] - b * right[:, 1], a * right[:, 1] - c * right[:, 0]], dim=1)
    else:
        x, y, z = matrix.unbind(dim=2)
        yz, zx, xy = torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)
        determinant = (x * yz).sum(dim=1)
        top = torch.stack([(right * w).sum(dim=1) for w in (yz, zx, xy)], dim=1)
    singular = determinant < 0.01
    return torch.where(singular[:, None], right, top / torch.where(singular, 1.0, determinant)[:, None])
