"""A network that says what its weights say, a method of it, and two scans it is right or wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.spec import MethodSpec
from DeepRegistrationLib.io.weights import write_model
from DeepRegistrationLib.methods.network_inference import learned_spec
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.networks.catalogue import Prediction
from DeepRegistrationLib.networks.footprint import Footprint
from DeepRegistrationLib.ops.box import box_mean
from DeepRegistrationLib.transforms import Affine

GRID = Grid((30, 34, 28), (3.0, 3.0, 3.0), (-45.0, 20.0, 7.0))
PLAIN = {"initialisation": "none", "refine": False}
LATER = {"coarse_iterations": 10, "iterations": 10}
QUICK = {"initialisation": "none", "coarse_iterations": 10, "iterations": 10}


def smooth_noise(shape: Sequence[int], size: float) -> torch.Tensor:
    """(1, 3, Z, Y, X) of that standard deviation, waves of 15 voxels and more; the same on every grid."""
    draws = torch.Generator().manual_seed(5)
    index = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    speeds = 0.4 * (2 * torch.rand(3, 6, 3, generator=draws) - 1)
    turns = torch.einsum("ckd,dzyx->ckzyx", speeds, index) + 6.3 * torch.rand(3, 6, 1, 1, 1, generator=draws)
    return size * turns.cos().mean(dim=1)[None] * 12**0.5


class Told(nn.Module):
    """Answers with a velocity of its weights' choosing, in voxels of its grid, and keeps what it was shown.

    nonsense  voxels, of a smooth field that comes to it
    """

    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]

    def __init__(self, diffeomorphic: bool = False, nonsense: float = 0.0) -> None:
        super().__init__()
        self.nonsense = nonsense
        self.shift = nn.Parameter(torch.zeros(3))
        self.slope = nn.Parameter(torch.zeros(3))
        self.diffeomorphic, self.seen = diffeomorphic, []

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        self.seen.append((fixed, moving, region))
        along_z = torch.linspace(-1, 1, fixed.shape[2]).reshape(1, 1, -1, 1, 1)
        field = self.shift.reshape(1, 3, 1, 1, 1) + self.slope.reshape(1, 3, 1, 1, 1) * along_z
        field = field.expand(1, 3, *fixed.shape[2:]).clone()
        if self.nonsense:
            field += smooth_noise(fixed.shape[2:], self.nonsense)
        return Prediction(field, field.clone() if self.diffeomorphic else None)


SPEC = learned_spec(
    "told", title="Told", description="For tests.", paper="None", doi="", footprint=Footprint(100, 4)
)


class Models:
    """A user's folder of models, and the networks that were made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, []

    def add(self, name: str = "told", *, shift=(0.0, 0.0, 0.0), slope=(0.0, 0.0, 0.0), **settings: Any) -> str:
        working = {"spacing": 3.0, "low": -300.0, "high": 300.0, "multiple": 8, **settings.pop("working", {})}
        card = {
            "id": name, "title": name.capitalize(), "architecture": "told", "results": {},
            "settings": {"network": settings, "working": working},
            "training": {"command": "python x.py", "data": "none", "seed": 0, "steps": 0},
        }  # fmt: skip
        return write_model(
            self.folder / name, {"shift": torch.tensor(shift), "slope": torch.tensor(slope)}, card
        ).sha256

    def build(self, architecture: str, settings: Any) -> nn.Module:
        self.made.append(Told(**settings))
        return self.made[-1]


def texture(grid: Grid, seed: int) -> Image:
    data = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    data = box_mean(box_mean(data[None], 1), 1)
    return Image(100 * data / data.std(), grid)


@cache
def shifted() -> RegistrationProblem:
    """moving(x + (6, -3, 9) mm) = fixed(x)"""
    moving = texture(GRID, 1)
    return RegistrationProblem(moving.resampled(GRID, Affine.from_translation([6.0, -3.0, 9.0])), moving)


TRUTH = torch.tensor([6.0, -3.0, 9.0], dtype=torch.float64)


def run(problem: RegistrationProblem, spec: MethodSpec = SPEC, **values: Any) -> RegistrationResult:
    return register_problem(problem, spec, values=values, context=Context(torch.device("cpu")))


def inner(grid: Grid = GRID, margin: int = 6) -> torch.Tensor:
    points = grid.world_points(dtype=torch.float64)
    return points[tuple(slice(margin, n - margin) for n in grid.shape)].reshape(-1, grid.dimension)


def error(result: RegistrationResult) -> float:
    return float((result.transform.apply(inner()) - inner() - TRUTH).norm(dim=1).mean())
