"""What mlVIRNET learns from: breathing chests, synthetic or real, level after level.

    loss_l = NGF(F_l, M_l o phi_l) + alpha C(u_l) + beta B(b_F, b_M o phi_l),     l = coarsest ... finest

F_l, M_l are the scans on level l, phi_l = id + u_l the composition of the deformations up to it, C the curvature in
voxels of the level, B the distance of the masks. Only level l learns; its weights begin as those of level l - 1.

Hering, van Ginneken, Heldmann: mlVIRNET, MICCAI 2019, doi:10.1007/978-3-030-32226-7_29. Differs from the paper: chests
that are drawn; alpha and beta, which it does not give, are ours; the masks are all segments there are, averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..core.image import Image
from ..core.progress import Tick
from ..losses.curvature import curvature
from ..losses.mask_distance import mask_distance
from ..losses.ngf import ngf_distance
from ..networks.catalogue import Prediction
from ..networks.mlvirnet import MlVirnet
from ..networks.working import WorkingSettings
from ..ops.gradients import spatial_gradient
from ..ops.ngf import edge_level
from ..ops.warp import warp
from .batch import Batch
from .case_pairs import Augmentation, CasePairs, pairs_of
from .cases import Case, Role, TrainingCases
from .measured import means, measured, pictures
from .recipe import Stage, Validation
from .recipes.mlvirnet import Settings, stages
from .synthetic.pairs import SyntheticPairs
from .synthetic.settings import SyntheticSettings

#: pairs that a validation looks at, and the seed of the synthetic ones
_PAIRS, _SEED = 6, 20191013
#: mm, of the synthetic breathing
_SMOOTHNESS = (24.0, 40.0)


class MlVirnetTraining:
    """The `Trainee` of the recipe."""

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        self.settings = settings
        dimension = (2 if settings.slices else 3) if cases is None else cases.cases[0].scan.dimension
        self._levels = MlVirnet(settings.levels, settings.filters, settings.stride, dimension)
        self.network: nn.Module = self._levels
        self.working = WorkingSettings(settings.spacing, settings.low, settings.high, self._levels.multiple)
        self.segments: list[str] = []
        self.pairs: CasePairs | SyntheticPairs
        self.validation: CasePairs | SyntheticPairs
        if cases is None:
            self.pairs = self.validation = SyntheticPairs(breathing(settings))
        else:
            self.segments = cases.segments() if settings.mask_weight > 0 else []
            self.pairs = self._case_pairs(cases.of(Role.TRAIN), pairs_of(cases, Role.TRAIN))
            own = cases.of(Role.VALIDATE)
            held = len(own) > 1
            self.validation = self._case_pairs(own, pairs_of(cases, Role.VALIDATE)) if held else self.pairs
        self._validated: list[Batch] = []
        self._drawn: dict[int, Batch] = {}

    def enter(self, stage: Stage) -> None:
        self._levels.learn(self._level(stage))

    def begin(self, stage: Stage, tick: Tick) -> None:
        level = self._level(stage)
        if level > 0 and self.settings.progressive:
            self._levels.start_from_coarser(level)

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        if not isinstance(self.pairs, SyntheticPairs):
            return self.pairs.draw(generator, Augmentation()).to(device)
        if self.settings.drawn == 0:
            return self.pairs.sample(generator, device)
        number = int(torch.randint(self.settings.drawn, (), generator=generator))
        if number not in self._drawn:
            self._drawn[number] = packed(
                self.pairs.sample(torch.Generator().manual_seed(number), torch.device("cpu"))
            )
        return unpacked(self._drawn[number].to(device), self.pairs.segments)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        found: Prediction = self.network(batch.fixed, batch.moving, batch.region)
        field, fixed, moving = found.details["levels"][-1], found.details["fixed"], found.details["moving"]
        region = None if batch.region is None else pooled(batch.region, fixed.shape)
        losses = {
            "edges": edge_distance(fixed, warp(moving, field), moving, region, self.settings.edges),
            "curvature": self.settings.curvature_weight * curvature(field),
        }
        if batch.fixed_labels is not None and batch.moving_labels is not None and self.settings.mask_weight > 0:
            ours, theirs = (pooled(labels, fixed.shape) for labels in (batch.fixed_labels, batch.moving_labels))
            apart = mask_distance(ours, warp(theirs, field), region)
            losses["masks"] = self.settings.mask_weight * apart
        return losses

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        rows: list[dict[str, float]] = []
        shown: dict[str, Image] = {}
        for batch in self._validation_batches(device):
            tick()
            displacement = self.network(batch.fixed, batch.moving, batch.region).displacement
            edges = edge_distance(batch.fixed, warp(batch.moving, displacement), batch.moving, batch.region, 1.0)
            rows.append({**measured(batch, displacement), "Edges alike (%)": 100 * (1 - float(edges))})
            shown = shown or pictures(batch, displacement)
        numbers = means(rows)
        score = -numbers["TRE (mm)"] if "TRE (mm)" in numbers else numbers["Edges alike (%)"]
        return Validation(score, numbers, shown)

    def card(self) -> Mapping[str, Any]:
        said = self.settings
        network = {"levels": said.levels, "filters": said.filters, "stride": said.stride}
        network["dimension"] = self._levels.dimension
        return {"network": network, "working": self.working.as_card(), "segments": self.segments}

    def _level(self, stage: Stage) -> int:
        return [s.name for s in stages(self.settings)].index(stage.name)

    def _case_pairs(self, cases: Sequence[Case], pairs: Sequence[tuple[str, str]]) -> CasePairs:
        return CasePairs(cases, pairs, self.segments, self.working, size(self.settings, self._levels.dimension))

    def _validation_batches(self, device: torch.device) -> list[Batch]:
        if not self._validated:
            if isinstance(self.validation, SyntheticPairs):
                several = [torch.Generator().manual_seed(_SEED + k) for k in range(_PAIRS)]
                self._validated = [self.validation.sample(g, torch.device("cpu")) for g in several]
            else:
                self._validated = [self.validation.pair(f, m) for f, m in self.validation.pairs[:_PAIRS]]
        return [batch.to(device) for batch in self._validated]


def packed(batch: Batch) -> Batch:
    """What losses need of a drawn pair, its segments as one map of bytes: an eighth of the memory."""

    def mapped(labels: torch.Tensor | None) -> torch.Tensor | None:
        if labels is None:
            return None
        numbers = torch.arange(1, labels.shape[1] + 1).reshape(-1, *(1,) * (labels.dim() - 2))
        return (labels * numbers).sum(dim=1, keepdim=True).to(torch.uint8)

    return Batch(
        batch.fixed, batch.moving, batch.spacing,
        fixed_labels=mapped(batch.fixed_labels), moving_labels=mapped(batch.moving_labels), region=batch.region,
    )  # fmt: skip


def unpacked(batch: Batch, segments: int) -> Batch:
    """The pair of `packed` as it is learned from: segments of drawn pairs do not overlap, so that nothing was lost."""

    def one_hot(labels: torch.Tensor | None) -> torch.Tensor | None:
        if labels is None:
            return None
        numbers = torch.arange(1, segments + 1, device=labels.device).reshape(-1, *(1,) * (labels.dim() - 2))
        return (labels == numbers).to(torch.float32)

    return replace(batch, fixed_labels=one_hot(batch.fixed_labels), moving_labels=one_hot(batch.moving_labels))


def size(settings: Settings, dimension: int) -> tuple[int, ...]:
    """Voxels of a sample along x, y[, z]; a slice is coronal."""
    return (settings.size,) * (dimension - 1) + (settings.length,)


def breathing(settings: Settings) -> SyntheticSettings:
    """Breathing chests on the working grid."""
    return SyntheticSettings(
        families=("lungs",), size=size(settings, 2 if settings.slices else 3), spacing=settings.spacing,
        motions=("breathing",), linear=("none", "aligned"), amplitude=(settings.motion / 3, settings.motion),
        smoothness=_SMOOTHNESS, contrast="typical", labels=settings.mask_weight > 0,
    )  # fmt: skip


def edge_distance(
    fixed: torch.Tensor, moved: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None, share: float
) -> torch.Tensor:
    """NGF distance of (B, 1, [Z,] Y, X), the mean over the pairs; edges count from `share` of each scan's mean on."""
    spacing = (1.0,) * (fixed.dim() - 2)
    distances = []
    for k in range(len(fixed)):
        with torch.no_grad():
            eta_fixed, eta_moved = (edge_level(spatial_gradient(v[k], spacing), share=share) for v in (fixed, moving))
        weight = None if region is None else region[k]
        distances.append(
            ngf_distance(fixed[k], moved[k], spacing, eta_fixed=eta_fixed, eta_moved=eta_moved, weight=weight)
        )
    return torch.stack(distances).mean()


def pooled(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(B, C, [Z,] Y, X) averaged over the blocks of a level that has `shape`."""
    pool = F.avg_pool2d if values.dim() == 4 else F.avg_pool3d
    return pool(values, values.shape[-1] // shape[-1])
