"""What LapIRN learns from: pairs of real cases with each other, or synthetic anatomy.

    loss_p = S_p(F_p, M_p o phi_p) + w Dice(F_p, M_p o phi_p) + lambda |grad phi_p|^2,     p = 1 ... levels

F_p, M_p are the scans (in Dice: their segments) at the resolution of level p, phi_p the field of that level (in the
last term its velocity, in the diffeomorphic form). The levels learn one after the other, each with the coarser ones
held for a while at first.

Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks, 2021,
doi:10.1007/978-3-030-71827-5_7. Differs from the paper: parts of the scans around the organs; half of the pairs are
mirrored left to right, and their pre-alignment is a little off; the ranges of the affine augmentation are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..core.image import Image
from ..core.progress import Tick
from ..losses.overlap import dice_distance
from ..losses.regularity import diffusion
from ..losses.similarity_pyramid import similarity_pyramid
from ..networks.catalogue import Prediction, build
from ..networks.working import WorkingSettings
from ..ops.warp import resized, warp
from .batch import Batch
from .case_pairs import Augmentation, CasePairs, pairs_of
from .cases import Case, Role, TrainingCases
from .measured import dice, folding, means, pictures
from .recipe import Stage, Validation
from .recipes.lapirn import Part, Settings, parts
from .synthetic.pairs import SyntheticPairs
from .synthetic.settings import SyntheticSettings

#: pairs that a validation looks at, at most, and of cases it learns from where there are no others
_PAIRS, _OWN_PAIRS = 8, 3
#: seed of the synthetic pairs of a validation
_SEED = 20210223


class LapIRNTraining:
    """The `Trainee` of the recipe. Real cases are aligned and sampled when they are first needed."""

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        self.settings = settings
        self.segments: list[str] = []
        self.working = WorkingSettings(settings.spacing, settings.low, settings.high, 2**settings.levels)
        self.pairs: CasePairs | SyntheticPairs
        self.validation: CasePairs | SyntheticPairs
        if cases is None:
            self.dimension = 3
            self.pairs = self.validation = SyntheticPairs(_synthetic(settings))
        else:
            self.dimension = cases.cases[0].scan.dimension
            self.segments = cases.segments() if settings.overlap_weight > 0 else []
            self.pairs = self._pairs(cases.of(Role.TRAIN), pairs_of(cases, Role.TRAIN))
            self.validation = self._validation(cases)
        self.said = {
            "dimension": self.dimension, "levels": settings.levels, "channels": settings.channels,
            "reach": settings.reach, "diffeomorphic": settings.diffeomorphic, "units": "voxels",
        }  # fmt: skip
        self.network = build("lapirn", self.said)
        self.part: Part = parts(settings)[-1]
        self.validated: list[Batch] = []
        self.augmentation = Augmentation(settings.augmentation, mirror=0.5 if settings.mirror else 0.0)

    # ------------------------------------------------------------------ Trainee

    def enter(self, stage: Stage) -> None:
        """The blocks up to the stage's level take part; the last, or all of them, learn."""
        self.part = next(p for p in parts(self.settings) if p.stage.name == stage.name)
        for level, block in enumerate(self.network.blocks, start=1):  # type: ignore[arg-type]
            learns = level == self.part.level or (level < self.part.level and not self.part.held)
            block.requires_grad_(learns)

    def begin(self, stage: Stage, tick: Tick) -> None:
        """Nothing: the blocks of coarser levels are where they were."""

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        if isinstance(self.pairs, SyntheticPairs):
            return self.pairs.sample(generator, device)
        return self.pairs.draw(generator, self.augmentation).to(device)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        level = self.part.level
        fixed, moving, region, fixed_labels, moving_labels = (
            None if v is None else self._halved(v)
            for v in (batch.fixed, batch.moving, batch.region, batch.fixed_labels, batch.moving_labels)
        )
        assert fixed is not None and moving is not None
        found: Prediction = self.network(fixed, moving, levels=level)
        overlap = fixed_labels is not None and moving_labels is not None and self.settings.overlap_weight > 0
        both = torch.cat([moving, moving_labels], dim=1) if overlap and moving_labels is not None else moving
        moved = warp(both, found.displacement)
        losses = {"similarity": similarity_pyramid(fixed, moved[:, :1], level, region)}
        if overlap and fixed_labels is not None:
            losses["overlap"] = self.settings.overlap_weight * dice_distance(fixed_labels, moved[:, 1:], region)
        field = found.displacement if found.velocity is None else found.velocity
        losses["smoothness"] = self.settings.smoothness * diffusion(field)
        return losses

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        rows: list[dict[str, float]] = []
        shown: dict[str, Image] = {}
        for k, batch in enumerate(self._validation_batches(device)):
            tick()
            fixed, moving = self._halved(batch.fixed), self._halved(batch.moving)
            found: Prediction = self.network(fixed, moving, levels=self.part.level)
            displacement = resized(found.displacement, batch.fixed.shape[2:])
            rows.append(_measured(batch, displacement))
            if k == 0:
                shown = pictures(batch, displacement)
        numbers = means(rows)
        return Validation(numbers["Dice" if "Dice" in numbers else "Local correlation"], numbers, shown)

    def card(self) -> Mapping[str, Any]:
        return {"network": self.said, "working": self.working.as_card(), "segments": self.segments}

    # ------------------------------------------------------------------ parts

    def _halved(self, values: torch.Tensor) -> torch.Tensor:
        """At the resolution of the level that learns."""
        pool = F.avg_pool2d if values.dim() == 4 else F.avg_pool3d
        for _ in range(self.settings.levels - self.part.level):
            values = pool(values, 2)
        return values

    def _size(self) -> tuple[int, ...]:
        return (self.settings.size,) * (self.dimension - 1) + (self.settings.length,)

    def _pairs(self, cases: Sequence[Case], pairs: Sequence[tuple[str, str]]) -> CasePairs:
        return CasePairs(cases, pairs, self.segments, self.working, self._size())

    def _validation(self, cases: TrainingCases) -> CasePairs:
        """Pairs of the cases for validation, each with the next; with one alone, it with one to learn from."""
        own, train = cases.of(Role.VALIDATE), cases.of(Role.TRAIN)
        named = pairs_of(cases, Role.VALIDATE)
        if named:
            return self._pairs(own, named[:_PAIRS])
        if len(own) == 1:
            return self._pairs([*own, train[0]], [(own[0].name, train[0].name)])
        if not own:
            own = train[: _OWN_PAIRS]
        round_about = [(a.name, b.name) for a, b in zip(own, [*own[1:], own[0]], strict=True)]
        return self._pairs(own, round_about[:_PAIRS])

    def _validation_batches(self, device: torch.device) -> list[Batch]:
        if isinstance(self.validation, SyntheticPairs):
            several = [torch.Generator().manual_seed(_SEED + k) for k in range(_PAIRS)]
            return [self.validation.sample(g, device) for g in several]
        if not self.validated:
            self.validated = [self.validation.pair(f, m) for f, m in self.validation.pairs]
        return [batch.to(device) for batch in self.validated]


def _synthetic(settings: Settings) -> SyntheticSettings:
    """Organs that move apart, in scans of one contrast."""
    size = (settings.size, settings.size, settings.length)
    reach = settings.reach * settings.spacing
    return SyntheticSettings(
        size=size, spacing=settings.spacing, amplitude=(reach, 2 * reach), labels=settings.overlap_weight > 0
    )


def _measured(batch: Batch, displacement: torch.Tensor) -> dict[str, float]:
    """Dice before and after where there are segments, local correlation, and folding, of one pair."""
    numbers: dict[str, float] = {}
    if batch.fixed_labels is not None and batch.moving_labels is not None:
        numbers["Dice"] = dice(batch.fixed_labels, warp(batch.moving_labels, displacement))
        numbers["Dice before"] = dice(batch.fixed_labels, batch.moving_labels)
    unlike = similarity_pyramid(batch.fixed, warp(batch.moving, displacement), 1, batch.region)
    numbers["Local correlation"] = 1 - float(unlike)
    if batch.displacement is not None:
        error = (displacement - batch.displacement).square().sum(dim=1).sqrt().mean()
        numbers["Error (mm)"] = float(error * batch.spacing[0])
    numbers["Folding (%)"] = folding(displacement)
    return numbers
