"""What RegNet learns from: displacements of synthetic fields, on synthetic anatomy or on real scans.

    MAE = mean over voxels of sum_k |u'_k - u_k|,    mm

Each step looks at one block of a pair: every second voxel along each axis of it is a pair of patches.

Sokooti et al., MICCAI 2017, doi:10.1007/978-3-319-66182-7_27: fields, error and Adam's first step of 0.001. Differs
from the paper: anatomy that is drawn where there are no cases; patches of a step are neighbours and share work, and lie
where motion is large more often; the last part of a training normalises as the finished network does; voxels of 2 mm
instead of 1 mm, so that patches see twice as far with as much work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..core.image import Image
from ..core.progress import Tick
from ..networks.regnet import LARGE, RegNet, RegNetSettings
from ..networks.working import WorkingSettings
from .batch import Batch
from .cases import Role, TrainingCases
from .deformed_scans import DeformedScans, FieldSettings
from .measured import pictures
from .recipe import Stage, Validation
from .recipes.regnet import SETTLED, Settings
from .synthetic.pairs import SyntheticPairs
from .synthetic.settings import SyntheticSettings

#: blocks a validation looks at, and the seed of the first
_BLOCKS, _SEED = 8, 20170910
#: mm, added to how far a keypoint moves where blocks are drawn by it
_STILL = 0.5


class RegNetTraining:
    """The `Trainee` of the recipe."""

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        self.settings = settings
        self._regnet = RegNet(
            RegNetSettings(settings.dimension, settings.scales, settings.late, settings.width, stride=2)
        )
        self.network: nn.Module = self._regnet
        self.working = WorkingSettings(settings.spacing, settings.low, settings.high, multiple=2)
        self.pairs: list[SyntheticPairs | DeformedScans]
        self.validation: list[SyntheticPairs | DeformedScans]
        if cases is None:
            self.pairs = self.validation = [SyntheticPairs(s) for s in synthetic(settings)]
        else:
            fields = FieldSettings(settings.amplitude)
            size = (settings.size,) * settings.dimension
            self.pairs = [DeformedScans(cases.of(Role.TRAIN), self.working, size, fields)]
            held = cases.of(Role.VALIDATE)
            self.validation = [DeformedScans(held, self.working, size, fields)] if held else self.pairs
        self._validated: list[Batch] = []
        self._settled = False

    def enter(self, stage: Stage) -> None:
        """Everything learns, at last with the normalisation that answers are given with."""
        self.network.requires_grad_(True)
        self._settled = stage.name == SETTLED

    def begin(self, stage: Stage, tick: Tick) -> None:
        pass

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        return self._block(self.pairs, generator, device)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        if self._settled:
            self._regnet.hold_normalisation()
        return {"mae": residual(self._regnet.block(batch.fixed, batch.moving), batch)}

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        found, before = [], []
        shown: dict[str, Image] = {}
        if not self._validated:
            several = [torch.Generator().manual_seed(_SEED + k) for k in range(_BLOCKS)]
            self._validated = [self._block(self.validation, g, torch.device("cpu")) for g in several]
        for batch in (b.to(device) for b in self._validated):
            tick()
            lattice = self._regnet.block(batch.fixed, batch.moving)
            found.append(float(residual(lattice, batch)))
            before.append(float(residual(torch.zeros_like(lattice), batch)))
            shown = shown or pictures(batch, _spread(lattice, batch))
        mean = sum(found) / len(found)
        return Validation(-mean, {"MAE (mm)": mean, "MAE before (mm)": sum(before) / len(before)}, shown)

    def card(self) -> Mapping[str, Any]:
        said = self.settings
        names = ("dimension", "scales", "late", "width")
        network = {**{name: getattr(said, name) for name in names}, "stride": 2}
        return {"network": network, "working": self.working.as_card(), "capture_range_mm": said.amplitude}

    def _block(
        self, pairs: list[SyntheticPairs | DeformedScans], generator: torch.Generator, device: torch.device
    ) -> Batch:
        """A block around one of a pair's keypoints, likelier one that moves far."""
        which = int(torch.randint(len(pairs), (), generator=generator))
        whole = pairs[which].sample(generator, device)
        assert whole.fixed_points is not None and whole.moving_points is not None
        far = ((whole.moving_points - whole.fixed_points) * whole.spacing).norm(dim=2)[0].cpu()
        chosen = int(torch.multinomial(far + _STILL, 1, generator=generator))
        return block_of(whole, whole.fixed_points[0, chosen], self.settings.block)


def synthetic(settings: Settings) -> list[SyntheticSettings]:
    """Chests as CT shows them, and anything else in any contrast."""
    common = SyntheticSettings(
        size=(settings.size,) * settings.dimension, spacing=settings.spacing, motions=("points",),
        amplitude=(settings.amplitude, settings.amplitude), variation=(settings.amplitude, settings.amplitude),
        noise=(0.0, 0.03), thickness=(1.0, 1.5), labels=False,
    )  # fmt: skip
    return [
        replace(common, families=("lungs",), contrast="typical"),
        replace(common, contrast="same"),
    ]


def block_of(whole: Batch, centre: torch.Tensor, edge: int) -> Batch:
    """The part of a pair that RegNet.block takes for `edge` voxels along each axis, around a voxel x, y[, z].

    Edge values are held; `region` is 0 besides the inner voxels, as is the displacement.
    """
    assert whole.displacement is not None and whole.region is not None
    shape = whole.fixed.shape[2:]
    before, behind = LARGE
    middle = [int(c) for c in centre.flip(0).tolist()]
    first = [max(0, min(m - edge // 2, n - edge)) for m, n in zip(middle, shape, strict=True)]
    cut = (slice(None), slice(None), *(slice(f, f + edge + before + behind) for f in first))
    inner = (slice(None), slice(None), *(slice(f, f + edge) for f in first))
    margins = (before, behind) * len(shape)
    fixed, moving = (F.pad(v, margins, mode="replicate")[cut] for v in (whole.fixed, whole.moving))
    displacement, region = (F.pad(v[inner], margins) for v in (whole.displacement, whole.region))
    return Batch(fixed, moving, whole.spacing, displacement=displacement, region=region)


def residual(lattice: torch.Tensor, batch: Batch) -> torch.Tensor:
    """MAE in mm of u' at the odd voxels of a block of `block_of`."""
    assert batch.displacement is not None and batch.region is not None
    odd = _odd(batch)
    truth, weight = batch.displacement[odd], batch.region[odd]
    spacing = batch.spacing.reshape(-1, *(1,) * (lattice.dim() - 2))
    apart = ((lattice.float() - truth).abs() * spacing).sum(dim=1, keepdim=True)
    return (apart * weight).sum() / weight.sum().clamp(min=1.0)


def _odd(batch: Batch) -> tuple[slice, ...]:
    before, behind = LARGE
    return (slice(None), slice(None), *(slice(before + 1, n - behind, 2) for n in batch.fixed.shape[2:]))


def _spread(lattice: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The displacement on the grid of the block, 0 besides the inner voxels; each value for its block of voxels."""
    before, behind = LARGE
    for axis in range(2, lattice.dim()):
        lattice = lattice.repeat_interleave(2, dim=axis)
    return F.pad(lattice.float(), (before, behind) * (lattice.dim() - 2))
