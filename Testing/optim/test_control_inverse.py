"""The inverse of a deformation with a fixed boundary, against known inverses."""

from __future__ import annotations

import math

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.sampling import sample_displaced
from DeepRegistrationLib.optim.control_inverse import inverse_displacement
from DeepRegistrationLib.transforms.inverse import inverse_residual

FRAMES = {2: Grid((64, 52), (0.7, 1.1)), 3: Grid((26, 24, 28), (1.5, 1.0, 1.2))}


def window(frame: Grid) -> torch.Tensor:
    """1 in the middle, 0 on the outer voxels; ([Z,] Y, X)."""
    out = torch.ones(())
    for n in frame.shape:
        out = out[..., None] * torch.sin(torch.linspace(0, math.pi, n)) ** 2
    return out


def swirl(frame: Grid, turn: float) -> torch.Tensor:
    """A turn by up to `turn` radians about the middle that fades to the boundary, (d, ...) mm."""
    x = frame.world_points() - torch.from_numpy(frame.centre).float()
    angle = turn * window(frame)
    c, s = torch.cos(angle), torch.sin(angle)
    moved = x.clone()
    moved[..., 0] = c * x[..., 0] - s * x[..., 1]
    moved[..., 1] = s * x[..., 0] + c * x[..., 1]
    u = torch.movedim(moved - x, -1, 0).contiguous()
    u[window(frame).expand_as(u) < 1e-6] = 0
    return u


@pytest.mark.parametrize("d", [2, 3])
def test_small_turn_is_undone(d: int) -> None:
    frame = FRAMES[d]
    u = swirl(frame, 0.5)
    v = inverse_displacement(u, frame)
    assert float((v + sample_displaced(u, v, frame)).norm(dim=0).max()) < 2e-3 * min(frame.spacing)
    assert inverse_residual(u, v, frame) < 0.06 * min(frame.spacing)
    for axis in range(1, d + 1):
        assert float(v.narrow(axis, 0, 1).abs().max()) < 1e-4


def test_shift_along_one_axis_has_a_closed_form() -> None:
    """x + a sin(pi x / L) ^ 2 along x only: bisection tells the inverse."""
    frame = Grid((81, 5), (0.5, 2.0))
    x = torch.arange(81, dtype=torch.float64) * 0.5
    length, a = 40.0, 6.0

    def phi(t: torch.Tensor) -> torch.Tensor:
        return t + a * torch.sin(math.pi * t / length) ** 2

    low, high = torch.zeros_like(x), torch.full_like(x, length)
    for _ in range(60):
        middle = (low + high) / 2
        below = phi(middle) < x
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    u = torch.stack([(phi(x) - x).expand(5, 81), torch.zeros(5, 81)]).float()
    v = inverse_displacement(u, frame)
    assert torch.allclose(v[0], (low - x).float().expand(5, 81), atol=0.01)
    assert float(v[1].abs().max()) < 1e-6


def test_a_turn_too_far_for_a_fixed_point_is_undone_from_a_good_start() -> None:
    """By 2 radians the displacement is no contraction; the inverse of a part of it leads there."""
    frame = FRAMES[2]
    u = swirl(frame, 2.0)
    v = inverse_displacement(u, frame, -u)
    far = (v + sample_displaced(u, v, frame)).norm(dim=0)
    start = inverse_displacement(swirl(frame, 1.0), frame)
    both = start + sample_displaced(start, start, frame)
    near = inverse_displacement(u, frame, both)
    left = (near + sample_displaced(u, near, frame)).norm(dim=0)
    assert float(left.quantile(0.999)) < 0.01
    assert float(left.max()) <= float(far.max()) + 1e-6


def test_nothing_stays_nothing_and_inputs_stay() -> None:
    frame = FRAMES[3]
    zero = torch.zeros(3, *frame.shape)
    assert not bool(inverse_displacement(zero, frame).any())
    u = swirl(frame, 0.3)
    before = u.clone()
    inverse_displacement(u, frame, torch.zeros_like(u))
    assert torch.equal(u, before)


def test_cancel_is_heard() -> None:
    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        inverse_displacement(swirl(FRAMES[2], 0.3), FRAMES[2], report=stop)
