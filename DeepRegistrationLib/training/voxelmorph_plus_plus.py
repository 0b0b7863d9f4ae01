"""What VoxelMorph++ learns from: keypoints that a discrete search matched, or MIND features, or both.

    keypoints   mean_k |u_k - (y_k - x_k)|^2 / reach^2
    similarity  MIND under the heat maps (losses/nonlocal_mind.py), or warped MIND where the head regresses
    smoothness  alpha mean_(k, l) |u_k - u_l|^2 / reach^2   over the graph of seven nearest neighbours

x_k are keypoints of the fixed scan, y_k where optim/correspondences.py found them, or in drawn scans where they were
moved to; both are smooth already, so that the last term goes with the similarity only. Where segments are what matters
(lungs), keypoints lie in them and MIND features are 0 outside. A limited number of pairs is matched or drawn, each when
it is first needed; every step changes one of its two scans, and the points in it, by an affine map of its own.

Heinrich, Hansen: VoxelMorph++, WBIR 2022, doi:10.1007/978-3-031-11203-4_10. Differs from the paper: each step looks at
some of a pair's keypoints; chests that are drawn; the network sees whole scans, there lungs alone; features of MIND are
pooled once, not twice, for the network's grid is coarse already. The paper does not mention the affine maps; they
vary as in the published implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import InputError
from ..core.image import Image
from ..core.progress import Tick
from ..losses.nonlocal_mind import nonlocal_mind, warped_mind
from ..networks.voxelmorph_plus_plus import MULTIPLE, VoxelMorphPlusPlus
from ..networks.working import WorkingSettings
from ..ops.graph_laplacian import neighbour_graph
from ..ops.mind import mind_ssc
from .batch import Batch
from .case_pairs import Augmentation, CasePairs, pairs_of
from .cases import Role, TrainingCases
from .keypoint_lessons import FEW, SIGMA, match, mirrored, segments_only, shaken, truth, union, unmatched
from .measured import means, measured, pictures
from .recipe import Stage, Validation
from .recipes.voxelmorph_plus_plus import Settings
from .synthetic.anatomy import segments_of
from .synthetic.pairs import SyntheticPairs
from .synthetic.settings import SyntheticSettings

#: pairs that a validation looks at, and the seeds of the pairs learned from and of these
_PAIRS, _SEED, _VALIDATION_SEED = 8, 20220707, 20221111
#: so many pairs are drawn for one that has something to learn from
_TRIES = 20
#: of the graph of keypoints
_NEIGHBOURS = 7
#: blocks that MIND features are averaged over, voxels
_POOLED = 2
#: voxels, dilations of MIND by dimension: in a slice one has four channels only, of which a mixture of wrong
#: displacements makes anything
_DILATIONS = {2: (1, 2, 3), 3: (1,)}
#: mm of the drawn breathing: between knots of the small motion everywhere
_SMOOTHNESS = (24.0, 40.0)
#: shares of the window, and voxels, of the drawn scans' noise and resolution: on so coarse a grid there is little noise
_NOISE, _THICKNESS = (0.0, 0.02), (1.0, 1.5)
#: of `varied` chests: share of the largest motion, of the chest in view; contrast of the texture and voxels between its
#: knots. Lungs in CT have a standard deviation of about a twelfth of the window, much of it within a voxel or two
_AMPLITUDE, _VIEW, _TEXTURE, _GRAIN = (0.04, 1.0), (0.4, 1.0), (0.02, 0.2), (1.2, 6.0)
#: of the drawn chests' segments
_LUNGS = [k for k, name in enumerate(segments_of("lungs")) if name.endswith("lung")]


class KeypointTraining:
    """The `Trainee` of the recipe."""

    def __init__(self, settings: Settings, cases: TrainingCases | None) -> None:
        if settings.size % MULTIPLE:
            raise InputError(f"size={settings.size} is no multiple of {MULTIPLE}; give one.")
        self.settings = settings
        self.working = WorkingSettings(settings.spacing, settings.low, settings.high, MULTIPLE)
        dimension = (2 if settings.slices else 3) if cases is None else cases.cases[0].scan.dimension
        self.reach = settings.reach * settings.size / 2
        self.said = network_settings(settings, dimension)
        self._net = VoxelMorphPlusPlus(**self.said)
        self.network: nn.Module = self._net
        self.pairs: CasePairs | SyntheticPairs
        self.validation: CasePairs | SyntheticPairs
        if cases is None:
            self.pairs = self.validation = SyntheticPairs(breathing(settings))
            self.segments_only = settings.within
        else:
            own, size = cases.of(Role.VALIDATE), (settings.size,) * dimension
            named = cases.segments() if settings.within else []
            self.pairs = CasePairs(cases.of(Role.TRAIN), pairs_of(cases, Role.TRAIN), named, self.working, size)
            held = CasePairs(own, pairs_of(cases, Role.VALIDATE), named, self.working, size) if len(own) > 1 else None
            self.validation = held or self.pairs
            self.segments_only = bool(named)
        self._lessons: dict[int, Batch] = {}
        self._validated: list[Batch] = []

    # ------------------------------------------------------------------ Trainee

    def enter(self, stage: Stage) -> None:
        """Everything learns."""

    def begin(self, stage: Stage, tick: Tick) -> None:
        """Nothing."""

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        """A pair with so many of its keypoints, shaken, half of them mirrored."""
        said = self.settings
        pair = self.lesson(int(torch.randint(said.pairs, (), generator=generator)))
        pair = shaken(pair, said.shaking, generator)
        assert pair.fixed_points is not None and pair.moving_points is not None
        count = pair.fixed_points.shape[1]
        order = torch.randperm(count, generator=generator)
        chosen = order[torch.arange(said.points) % count]
        pair = replace(
            pair, fixed_points=pair.fixed_points[:, chosen], moving_points=pair.moving_points[:, chosen]
        )
        flip = said.mirror and bool(torch.rand((), generator=generator) < 0.5)
        return (mirrored(pair) if flip else pair).to(device)

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        said, points = self.settings, batch.fixed_points
        assert points is not None and batch.moving_points is not None
        features = self._net.features(batch.fixed, batch.moving)
        u, heat = self._net.displacements(self._net.at(features, points))
        losses: dict[str, torch.Tensor] = {}
        if said.learn_from != "similarity":
            error = (u - (batch.moving_points - points)) / self.reach
            losses["keypoints"] = error.square().sum(dim=2).mean()
        if said.learn_from != "keypoints":
            fixed, moving = mind(batch.fixed, batch.fixed_labels), mind(batch.moving, batch.moving_labels)
            here = (points + 0.5) / _POOLED - 0.5
            losses["similarity"] = (
                warped_mind(fixed, moving, here, u / _POOLED)
                if heat is None
                else nonlocal_mind(fixed, moving, here, heat, self._net.lattice / _POOLED)
            )
            losses["smoothness"] = said.smoothness * roughness(points, u / self.reach)
        return losses

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        rows: list[dict[str, float]] = []
        shown: dict[str, Image] = {}
        for k, batch in enumerate(self._validation_batches(tick)):
            tick()
            batch = batch.to(device)
            found = self.network(batch.fixed, batch.moving, batch.region)
            rows.append(measured(batch, found.displacement))
            if k == 0:
                shown = pictures(batch, found.displacement)
        numbers = means(rows)
        return Validation(-numbers["TRE (mm)"], numbers, shown)

    def card(self) -> Mapping[str, Any]:
        return {"network": self.said, "working": self.working.as_card(), "segments_only": self.segments_only}

    # ------------------------------------------------------------------ parts

    def lesson(self, number: int) -> Batch:
        """Pair `number` of those that are learned from, with its keypoints; drawn and matched once."""
        if number not in self._lessons:
            generator = torch.Generator().manual_seed(_SEED + number)
            self._lessons[number] = self._lesson(generator)
        return self._lessons[number]

    def _lesson(self, generator: torch.Generator) -> Batch:
        said = self.settings
        if said.learn_from == "similarity":
            told = unmatched
        elif said.known and isinstance(self.pairs, SyntheticPairs):
            told = truth
        else:
            told = match
        for _ in range(_TRIES):
            pair = told(self._drawn(generator), said)
            if pair.fixed_points is not None and pair.fixed_points.shape[1] >= FEW:
                return Batch(
                    pair.fixed, pair.moving, pair.spacing, pair.fixed_labels, pair.moving_labels,
                    fixed_points=pair.fixed_points, moving_points=pair.moving_points,
                )  # fmt: skip
        raise InputError("Hardly a point of these scans can be found again in the other one; give other cases.")

    def _drawn(self, generator: torch.Generator) -> Batch:
        if isinstance(self.pairs, SyntheticPairs):
            return drawn_chest(self.pairs, generator)
        return segments_only(self.pairs.draw(generator, Augmentation(mirror=0.0)))

    def _validation_batches(self, tick: Tick) -> list[Batch]:
        """Drawn pairs know the truth at points of their own; real ones are matched."""
        if not self._validated:
            if isinstance(self.validation, SyntheticPairs):
                several = [torch.Generator().manual_seed(_VALIDATION_SEED + k) for k in range(_PAIRS)]
                for generator in several:
                    tick()
                    self._validated.append(drawn_chest(self.validation, generator))
            else:
                for fixed, moving in self.validation.pairs[:_PAIRS]:
                    tick()
                    pair = segments_only(self.validation.pair(fixed, moving))
                    self._validated.append(match(pair, self.settings))
        return self._validated


def network_settings(settings: Settings, dimension: int = 3) -> dict[str, Any]:
    """What networks/voxelmorph_plus_plus.py builds the network from; channels other than 64 scale all layers."""
    said: dict[str, Any] = {
        "reach": [settings.reach * settings.size / 2] * dimension,
        "head": "heat map" if settings.heat_map else "regression",
        "keypoints": settings.keypoints, "sigma": SIGMA, "dimension": dimension,
    }  # fmt: skip
    if settings.channels != 64:
        share = settings.channels / 64
        said |= {
            "encoder": [max(1, round(share * c)) for c in (32, 48, 48, 48, 64)],
            "decoder": [[max(1, round(share * c)) for c in two] for two in ((48, 48), (48, 32), (64, 64))],
            "heat_map": [*(max(1, round(share * c)) for c in (16, 32, 32, 32, 32, 16)), 1],
        }
    return said


def breathing(settings: Settings) -> SyntheticSettings:
    """Chests whose lungs slide along the wall, in scans of one kind; about half of the points lie in the lungs."""
    least, largest = _AMPLITUDE if settings.varied else (0.3, 1.0)
    drawn = SyntheticSettings(
        families=("lungs",), size=(settings.size,) * (2 if settings.slices else 3), spacing=settings.spacing,
        motions=("breathing",), linear=("none", "aligned"),
        amplitude=(least * settings.amplitude, largest * settings.amplitude),
        smoothness=_SMOOTHNESS, contrast="typical", noise=_NOISE, thickness=_THICKNESS,
        points=512 if settings.within else 256, labels=settings.within,
    )  # fmt: skip
    return replace(drawn, view=_VIEW, texture=_TEXTURE, grain=_GRAIN) if settings.varied else drawn


def drawn_chest(pairs: SyntheticPairs, generator: torch.Generator) -> Batch:
    """One of `breathing` (B = 1); where it has segments, the lungs alone are of interest."""
    for _ in range(_TRIES):
        pair = pairs.sample(generator, torch.device("cpu"))
        if pair.fixed_labels is None or pair.moving_labels is None:
            return pair
        lungs = {name: getattr(pair, name)[:, _LUNGS] for name in ("fixed_labels", "moving_labels")}
        pair = segments_only(replace(pair, **lungs))
        assert pair.fixed_points is not None
        if pair.fixed_points.shape[1] >= FEW:
            break
    return pair


def roughness(points: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Mean of |u_k - u_l|^2 over the edges of each pair's graph of nearest neighbours; (B, K, d) both."""
    total = u.new_zeros(())
    for here, values in zip(points, u, strict=True):
        i, j = neighbour_graph(here, _NEIGHBOURS).edges
        total = total + (values[i] - values[j]).square().sum(dim=1).mean()
    return total / len(points)


def mind(scans: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """(B, 1, [Z,] Y, X) -> MIND (B, C, ...), 0 outside of the segments where there are any, averaged over blocks."""
    d = scans.dim() - 2
    pool = F.avg_pool2d if d == 2 else F.avg_pool3d
    found = torch.stack([torch.cat([mind_ssc(scan[0], dilation=n) for n in _DILATIONS[d]]) for scan in scans])
    return pool(found if labels is None else found * union(labels), _POOLED)
