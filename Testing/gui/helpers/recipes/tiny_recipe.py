"""A recipe for tests of the panel: a network so small that a step takes a moment. It learns from pairs of real cases,
or from noise where there are none, and fails as it is told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.spec import Advanced, Choice, Help, Range, Title, Unit
from DeepRegistrationLib.training.recipe import Recipe, Stage, Validation

SIZE = 12


@dataclass(frozen=True)
class Settings:
    channels: Annotated[int, Range(1, 16), Title("Channels"), Help("Of the network.")] = 2
    pause: Annotated[float, Range(0, 5), Unit("s"), Title("Pause"), Help("After every step."), Advanced()] = 0.0
    slices: Annotated[bool, Title("Slices"), Help("Whether its pictures are slices."), Advanced()] = False
    end: Annotated[
        str, Choice({"well": "Well", "killed": "Killed", "input": "Bad input"}), Title("End"), Advanced()
    ] = "well"


def trainee(settings: Settings, cases: Any) -> Any:
    import torch
    import torch.nn.functional as F
    from torch import nn

    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.image import Image
    from DeepRegistrationLib.networks.catalogue import Prediction
    from DeepRegistrationLib.ops.warp import warp
    from DeepRegistrationLib.training.batch import Batch
    from DeepRegistrationLib.training.cases import Role

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv3d(2, settings.channels, 3, padding=1)
            self.last = nn.Conv3d(settings.channels, 3, 3, padding=1)

        def forward(self, fixed: Any, moving: Any, region: Any = None) -> Prediction:
            return Prediction(self.last(torch.relu(self.first(torch.cat([fixed, moving], 1)))))

    class Tiny:
        def __init__(self) -> None:
            self.network = Network()
            self.step = 0
            self.learned = [self._small(c.scan) for c in cases.of(Role.TRAIN)] if cases is not None else []
            self.segments = cases.segments() if cases is not None else []
            if settings.end == "input":
                raise InputError("The cases are of no use; choose others.")

        @staticmethod
        def _small(scan: Any) -> Any:
            small = F.interpolate(scan.data[None, :1].float(), (SIZE,) * 3, mode="trilinear", align_corners=True)
            return (small - small.mean()) / small.std().clamp(min=1e-6)

        def enter(self, stage: Stage) -> None: ...

        def begin(self, stage: Stage, tick: Callable[[], None]) -> None: ...

        def sample(self, generator: Any, device: Any) -> Batch:
            if settings.pause:
                time.sleep(settings.pause)
            self.step += 1
            if settings.end == "killed" and self.step > 4:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.learned:
                k = int(torch.randint(len(self.learned), (1,), generator=generator))
                pair = self.learned[k], self.learned[(k + 1) % len(self.learned)]
            else:
                pair = tuple(torch.randn(1, 1, *(SIZE,) * 3, generator=generator) for _ in range(2))
            return Batch(*(p.to(device) for p in pair), torch.ones(3))

        def losses(self, batch: Batch, stage: Stage) -> Mapping[str, Any]:
            u = self.network(batch.fixed, batch.moving).displacement
            image = (warp(batch.moving, u) - batch.fixed).square().mean()
            return {"image": image, "smoothness": 0.1 * u.square().mean()}

        def validate(self, device: Any, tick: Callable[[], None]) -> Validation:
            tick()
            batch = self.sample(torch.Generator().manual_seed(1), device)
            moved = warp(batch.moving, self.network(batch.fixed, batch.moving).displacement)
            error = float((moved - batch.fixed).square().mean())
            d = 2 if settings.slices else 3
            grid = Grid((SIZE,) * d, (4.0,) * d)
            pictures = {"fixed": batch.fixed, "moving": batch.moving, "moved": moved}
            if settings.slices:
                pictures = {name: values[:, :, SIZE // 2] for name, values in pictures.items()}
            images = {name: Image(values[0].cpu(), grid) for name, values in pictures.items()}
            return Validation(-error, {"Squared error": error}, images)

        def card(self) -> Mapping[str, Any]:
            return {"network": {"channels": settings.channels}, "segments": self.segments}

    return Tiny()


RECIPE = Recipe(
    id="tiny-for-tests",
    title="Tiny (tests)",
    description="Learns hardly anything, but soon.",
    architecture="tiny-for-tests",
    paper="None",
    doi="",
    settings=Settings,
    trainee=trainee,
    steps=60,
    learning_rate=0.01,
    validate_every=10,
)
