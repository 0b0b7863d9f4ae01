"""A recipe small enough to test everything around a recipe: a network that learns by how much blobs were shifted.

RECIPE is not in training/recipes; tests list it under "blobs" (see conftest.py), `with_blobs.py` does so for a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.progress import Tick
from DeepRegistrationLib.core.spec import Choice, Help, Range
from DeepRegistrationLib.networks.catalogue import Prediction
from DeepRegistrationLib.ops.warp import index_grid, warp
from DeepRegistrationLib.training.batch import Batch, collated
from DeepRegistrationLib.training.cases import TrainingCases
from DeepRegistrationLib.training.recipe import Recipe, Stage, Validation

SIZE, REACH = 16, 3.0


@dataclass(frozen=True)
class Settings:
    channels: Annotated[int, Range(1, 64), Help("Of the convolution.")] = 4
    dropout: Annotated[float, Range(0, 0.9), Help("Share of the features left out.")] = 0.1
    norm: Annotated[bool, Help("Whether features are normalised over the batch.")] = True
    fail: Annotated[
        str, Choice({"no": "No", "nan": "Not a number", "memory": "Out of memory"}), Help("How to fail.")
    ] = "no"


class Shifts(nn.Module):
    """One displacement for the whole picture; `spare` is a parameter that no output depends on."""

    def __init__(self, channels: int, dropout: float, norm: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, channels, 5, padding=2)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(2 * channels, 2)
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: Any = None) -> Prediction:
        features = torch.relu(self.norm(self.first(torch.cat([fixed, moving], dim=1))))
        x = torch.linspace(-1, 1, SIZE, device=fixed.device)
        moments = [(features * x).mean(dim=(2, 3)), (features * x[:, None]).mean(dim=(2, 3))]
        shift = REACH * self.last(self.drop(torch.cat(moments, dim=1)))
        return Prediction(shift[:, :, None, None].expand(-1, -1, SIZE, SIZE))


class Blobs:
    """Learns from blobs, or, where there are cases, does not look at them either."""

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        self.settings = settings
        self.network = Shifts(settings.channels, settings.dropout, settings.norm)
        self.begun: list[str] = []
        self.entered: list[str] = []

    def begin(self, stage: Stage, tick: Tick) -> None:
        self.begun.append(stage.name)

    def enter(self, stage: Stage) -> None:
        self.entered.append(stage.name)
        self.network.first.requires_grad_(stage.name != "Head")

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        shift = REACH * (2 * torch.rand(2, generator=generator) - 1)
        centre = SIZE / 2 + 2 * torch.randn(2, generator=generator)
        points = index_grid((SIZE, SIZE), torch.zeros(1))

        def blob(at: torch.Tensor) -> torch.Tensor:
            return torch.exp(-(points - at).square().sum(dim=-1) / 8)[None, None].to(device)

        truth = shift.reshape(1, 2, 1, 1).expand(1, 2, SIZE, SIZE).to(device)
        return Batch(blob(centre), blob(centre + shift), torch.ones(2), displacement=truth)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        if self.settings.fail == "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")
        u = self.network(batch.fixed, batch.moving).displacement
        scale = float("nan") if self.settings.fail == "nan" else 1.0
        truth = batch.displacement
        assert truth is not None
        return {
            "image": (warp(batch.moving, u) - batch.fixed).square().mean() * 10,
            "shift": (u - truth).square().mean() * scale,
        }

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        assert not self.network.training and not torch.is_grad_enabled()
        cases = []
        for k in range(4):
            tick()
            cases.append(self.sample(torch.Generator().manual_seed(1000 + k), device))
        batch = collated(cases)
        u = self.network(batch.fixed, batch.moving).displacement
        error = float((u - batch.displacement).square().sum(dim=1).sqrt().mean())
        grid = Grid((SIZE, SIZE), (1.0, 1.0))
        pictures = {
            name: Image(data[:1, 0].cpu(), grid)
            for name, data in {
                "fixed": batch.fixed, "moving": batch.moving, "moved": warp(batch.moving, u)
            }.items()
        }  # fmt: skip
        return Validation(-error, {"Error (voxels)": error}, pictures)

    def card(self) -> Mapping[str, Any]:
        return {"network": {"channels": self.settings.channels, "dropout": self.settings.dropout}}


RECIPE = Recipe(
    id="blobs",
    title="Shifted blobs",
    description="Learns by how much blobs were shifted.",
    architecture="blobs",
    paper="None",
    doi="",
    settings=Settings,
    trainee=Blobs,
    stages=lambda settings: (Stage("Head", 0.4), Stage("All", 0.6)),
    steps=10,
    batch=2,
    learning_rate=0.02,
    validate_every=3,
)
