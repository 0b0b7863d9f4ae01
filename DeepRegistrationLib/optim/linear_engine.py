"""Descent of a similarity over the parameters of a linear transform at one working spacing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..core.grid import apply_matrix_torch
from ..core.sampling import sample_index
from ..core.transform import Transform
from ..transforms import Affine
from .linear_images import Scan
from .linear_lbfgs import Minimum, minimise
from .linear_model import LinearModel

#: (moved values (C, [Z,] Y, X), their weight (1, [Z,] Y, X)) on the fixed grid -> value to be made small
Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


#: power of the overlap in the score; small, because fields of view do differ
OVERLAP_REWARD = 0.3


@dataclass(frozen=True)
class Stage:
    """One working spacing: both scans and the objective that compares a moved image with the fixed one.

    fixed     cut to the part that is to be matched
    moving    whole
    start     T(x) = start(P(x)), P being the linear map searched for
    reward    power of the overlap in the score
    """

    fixed: Scan
    moving: Scan
    objective: Objective
    start: Transform
    reward: float = OVERLAP_REWARD

    def matched(self, linear: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Moving values and weight pulled back by start o linear; `linear` is (d+1, d+1) float64,
        differentiable."""
        grid, device = self.fixed.grid, self.fixed.values.device
        d = grid.dimension
        to_world = linear @ torch.as_tensor(grid.index_to_world)
        points = grid.index_points(device)
        if isinstance(self.start, Affine):
            m = torch.as_tensor(self.moving.grid.world_to_index @ self.start.homogeneous) @ to_world
            m = m.to(device, torch.float32)
            index = points @ m[:d, :d].T + m[:d, d]
        else:
            m = to_world.to(device)
            world = points.to(torch.float64) @ m[:d, :d].T + m[:d, d]
            world = self.start.apply(world.reshape(-1, d)).reshape(world.shape)
            index = apply_matrix_torch(self.moving.grid.world_to_index, world).to(torch.float32)
        both = torch.cat([self.moving.values, self.moving.weight])
        sampled = sample_index(both, index, outside=None)
        return sampled[:-1], sampled[-1:] * _inside(index, self.moving.grid.size)

    def score(self, linear: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1 - objective) * share ** reward, and share: the part of the fixed weight that meets
        moving data.

        The reward keeps a good match of a sliver from beating a fair match of everything.
        """
        moved, weight = self.matched(linear)
        share = (weight * self.fixed.weight).sum() / self.fixed.weight.sum().clamp_min(1e-6)
        return (1 - self.objective(moved, weight)) * share.clamp_min(1e-6) ** self.reward, share

    def overlap(self, linear: torch.Tensor) -> float:
        """Share of the fixed weight that meets moving data."""
        with torch.no_grad():
            _, weight = self.matched(linear)
            return float((weight * self.fixed.weight).sum() / self.fixed.weight.sum().clamp_min(1e-6))


def _inside(index: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """(1, ...) 1 inside the grid falling to 0 over the last voxel, so that the objective stays continuous."""
    last = torch.tensor(size, dtype=index.dtype, device=index.device)
    ramp = (index + 0.5).clamp(0, 1) * (last - 0.5 - index).clamp(0, 1)
    return ramp.prod(dim=-1)[None]


def descend(
    stage: Stage,
    model: LinearModel,
    parameters: np.ndarray,
    *,
    iterations: int,
    stiffness: float,
    least_overlap: float,
    each_iteration: Callable[[int], None] | None = None,
) -> Minimum:
    """Parameters that make 1 - score + stiffness * ||S||^2 smallest, from `parameters` downhill.

    least_overlap  share of the fixed weight that must keep meeting moving data; steps that go below are
                   rejected
    """
    spacing = float(np.mean(stage.fixed.grid.spacing))

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        p = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        score, share = stage.score(model.homogeneous(p))
        if float(share.detach()) < least_overlap:
            return float("inf"), np.zeros_like(x)
        value = 1 - score.to(torch.float64).cpu() + stiffness * model.stretch_penalty(p)
        (gradient,) = torch.autograd.grad(value, p)
        return float(value.detach()), gradient.numpy()

    return minimise(
        evaluate,
        parameters,
        iterations=iterations,
        first_step=0.5 * spacing,
        longest_step=3 * spacing,
        smallest_step=0.004 * spacing,
        each_iteration=each_iteration,
    )
