"""What displacement embeddings learn from: synthetic anatomy of random contrast, or scans deformed by known fields.

    features    |f(I + noise) - MIND-SSC(I) at half resolution|^2                 the feature network learns
    embedding   components of the costs of many keypoints' displacements, and then
                -log softmax(-b c*(delta))  at the true displacement              a and b learn, features are held

c* are the costs after diffusion of strength a in the embedding; see networks/displacement_embeddings.py.

Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image registration using
displacement embeddings, MIDL 2020, arXiv:2005.13338. Differs from the paper: no real scans are needed; features see
noise that their targets do not have; how strongly the embedding is smoothed is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..core.device import with_doubles
from ..core.image import Image
from ..core.progress import Tick
from ..core.sampling import sample_batch, sample_index
from ..networks.catalogue import build
from ..networks.displacement_embeddings import STRIDE, DisplacementEmbeddings, centres
from ..networks.mind_unet import MULTIPLE
from ..networks.working import WorkingSettings
from ..ops.displacement_space import PatchStatistics
from ..ops.mind import mind_ssc
from ..ops.pyramid import block_average
from .batch import Batch
from .cases import Case, Role, TrainingCases
from .deformed_scans import DeformedScans, FieldSettings
from .measured import means, pictures
from .recipe import Stage, Validation
from .recipes.displacement_embeddings import EMBEDDING, Settings
from .synthetic import SyntheticPairs, SyntheticSettings

#: pairs that a validation looks at, and their seed
_PAIRS, _SEED = 4, 20200706

#: mm, largest motion while features are learned, and knots of the fields with large motion
_SMALL, _KNOTS = 8.0, (24.0, 56.0)

#: keypoints with less of their surroundings in the other scan do not count
_SEEN = 0.5


class EmbeddingTraining:
    """The `Trainee` of the recipe."""

    network: nn.Module

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        self.settings = settings
        self.working = WorkingSettings(settings.spacing, multiple=MULTIPLE)
        c = settings.channels
        self.said: dict[str, Any] = {
            "channels": [c, 2 * c, 4 * c, 6 * c], "components": settings.components, "stored": settings.components,
        }  # fmt: skip
        network = build("displacement-embeddings", self.said)
        assert isinstance(network, DisplacementEmbeddings)
        network.keypoints = settings.points  # samples are smaller than scans; the card says nothing of it
        self.network = self.net = network
        small = _synthetic(settings.size, settings.spacing, _SMALL)
        wide = _synthetic(settings.wide_size, settings.spacing, settings.amplitude)
        self.narrow: SyntheticPairs | DeformedScans = SyntheticPairs(small)
        self.wide: SyntheticPairs | DeformedScans = SyntheticPairs(wide)
        self.checked: SyntheticPairs | DeformedScans = self.wide
        if cases is not None:
            train = cases.of(Role.TRAIN)
            self.narrow = self._deformed(train, settings.size, _SMALL)
            self.wide = self._deformed(train, settings.wide_size, settings.amplitude)
            self.checked = self._deformed(cases.of(Role.VALIDATE) or train, settings.wide_size, settings.amplitude)
        self.embedding = False

    # ------------------------------------------------------------------ Trainee

    def enter(self, stage: Stage) -> None:
        """First the feature network learns, then the two numbers of the embedding."""
        self.embedding = stage.name == EMBEDDING
        self.net.requires_grad_(False)
        learning = [self.net.log_diffusion, self.net.log_sharpness]
        for parameter in learning if self.embedding else self.net.features.parameters():
            parameter.requires_grad_(True)

    def begin(self, stage: Stage, tick: Tick) -> None:
        """The components of the embedding, once the features are there."""
        if stage.name != EMBEDDING:
            return
        device = next(self.net.parameters()).device
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, (1,))))
        statistics = PatchStatistics(self.net.half_width, 3, with_doubles(device))
        with torch.no_grad():
            for _ in range(self.settings.pairs):
                tick()
                pair = self.wide.sample(generator, device)
                tick()
                costs, _ = self._compared(pair)
                statistics.add(costs, tick)
            self.net.learn_space(statistics.space(self.settings.components, tick))

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        return (self.wide if self.embedding else self.narrow).sample(generator, device)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        if not self.embedding:
            scans = torch.cat([batch.fixed, batch.moving])
            level = self.settings.noise * torch.rand((), device=scans.device)
            seen = scans + level * torch.randn_like(scans)
            return {"features": (self.net.features(seen) - mind_targets(scans)).square().mean()}
        parts = [self._surprise(_pair(batch, b)) for b in range(len(batch.fixed))]
        return {"surprise": torch.stack(parts).mean()}

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        rows: list[dict[str, float]] = []
        shown: dict[str, Image] = {}
        for k in range(_PAIRS):
            tick()
            source = self.checked if self.embedding else self.narrow
            batch = source.sample(torch.Generator().manual_seed(_SEED + k), device)
            scans = torch.cat([batch.fixed, batch.moving])
            error = (self.net.features(scans) - mind_targets(scans)).square().mean().sqrt()
            rows.append({"Feature error": float(error)})
            tick()
            if self.embedding:
                rows.append(self._measured(batch))
                if k == 0:
                    shown = pictures(batch, self.net(batch.fixed, batch.moving).displacement)
        numbers = means(rows)
        return Validation(-numbers["TRE (mm)" if self.embedding else "Feature error"], numbers, shown)

    def card(self) -> Mapping[str, Any]:
        return {"network": self.said, "working": self.working.as_card()}

    # ------------------------------------------------------------------ parts

    def _deformed(self, cases: Sequence[Case], size: int, amplitude: float) -> DeformedScans:
        return DeformedScans(cases, self.working, (size,) * 3, FieldSettings(amplitude))

    def _compared(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Costs (N, K) of one pair, and the cells (N, 3) they belong to."""
        network = self.net
        cells = network.cells(batch.fixed[0, 0], None)
        seen = torch.ones(len(cells), device=cells.device)
        if batch.region is not None:
            seen = sample_index(batch.region[0], centres(cells))[0]
        cells = cells[seen > _SEEN]
        return network.compared(batch.fixed, batch.moving, cells), cells

    def _surprise(self, batch: Batch) -> torch.Tensor:
        """Mean of -log p at the true displacement, linear between whole displacements."""
        network, r = self.net, self.net.half_width
        with torch.no_grad():
            costs, cells = self._compared(batch)
        assert batch.displacement is not None
        truth = sample_index(batch.displacement[0], centres(cells), outside=None).T / STRIDE
        within = (truth.abs() <= r).all(dim=1)
        log_p = torch.log_softmax(-network.sharpness * network.diffused(costs, cells), dim=1)
        maps = log_p[within].reshape(-1, 1, *(2 * r + 1,) * 3)
        found = sample_batch(maps, (truth[within] + r)[:, None])
        return -found.sum() / max(1, len(found))

    def _measured(self, batch: Batch) -> dict[str, float]:
        """Mean distance of known points before and after, mm; in the part of the fixed scan that the other shows."""
        assert batch.displacement is not None and batch.region is not None
        found = self.net(batch.fixed, batch.moving).displacement
        # where something is: the ground around an anatomy moves nowhere that could be seen
        where = (batch.region[0, 0] > _SEEN) & (batch.fixed[0, 0] > 0.05)
        off = (found - batch.displacement)[0].norm(dim=0)[where].mean() * batch.spacing[0]
        start = batch.displacement[0].norm(dim=0)[where].mean() * batch.spacing[0]
        return {"TRE (mm)": float(off), "TRE before (mm)": float(start)}


def mind_targets(scans: torch.Tensor) -> torch.Tensor:
    """(B, 12, Z / 2, Y / 2, X / 2): MIND-SSC of scans (B, 1, Z, Y, X), averaged over blocks of 2^3 voxels."""
    return torch.stack([block_average(mind_ssc(scan[0]), (STRIDE,) * 3) for scan in scans])


def _synthetic(size: int, spacing: float, amplitude: float) -> SyntheticSettings:
    return SyntheticSettings(
        size=(size,) * 3, spacing=spacing, motions=("diffeomorphic", "breathing"),
        amplitude=(0.2 * amplitude, amplitude), smoothness=_KNOTS, labels=False,
    )  # fmt: skip


def _pair(batch: Batch, number: int) -> Batch:
    """One pair of a batch."""
    there = {name: getattr(batch, name) for name in ("fixed", "moving", "displacement", "region")}
    return replace(batch, **{name: v[number : number + 1] for name, v in there.items() if v is not None})
