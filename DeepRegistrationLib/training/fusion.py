"""Training of the feature fusion through the differentiable coupled convex optimisation.

    u     = soft_coupled_convex(N(fixed features), N(moving features))
    loss  = sum_c w_c mean_x k(x) (S_c(x) - T_c(x + u(x)))^2 / sum_c w_c,     w_c = frequency_c^(-1/2)

over pairs of cases that lie in one frame: N the network, S and T one-hot shares of the segments and the background in
the fixed and the moving case, k where both scans are known. Each step takes one pair and one block of cells around a
random cell of a random segment; the statistics of the instance norm are those of the whole case.

Siebert, Heinrich: Learn to fuse input features for large-deformation registration with differentiable
convex-discrete optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_13: loss, class weights, Adam with a first step
of 0.005. Differs from the paper: blocks instead of whole volumes, a step that decays, segmentations with errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.image import Image
from ..core.problem import RegistrationProblem
from ..core.progress import Progress
from ..core.sampling import crossings, sample_index
from ..core.transform import Transform
from ..io.weights import read_tensors, write_tensors
from ..networks.feature_fusion import FeatureFusion
from ..networks.fusion_settings import FusionSettings
from ..ops.mind import mind_ssc
from ..optim.convex_adam import STRIDE
from ..optim.soft_convex import SHARPNESS, soft_coupled_convex
from ..optim.working_pair import one_hot, pooled, prepare
from .contour_errors import with_contour_errors

#: one of so many cells along each axis gives the statistics of the instance norm while training
STATISTICS = 3


@dataclass(frozen=True)
class FusionCase:
    """One scan in the frame that all cases share; every tensor ([Z,] Y, X) cells, STRIDE working voxels wide.

    mind    (12, ...)
    known   0..1, where the scan has something
    seen    segments (S, ...) in 0..1 as the network gets them, in one or more versions with other contour errors
    truth   segments (S, ...) in 0..1 as they are
    """

    name: str
    mind: torch.Tensor
    known: torch.Tensor
    seen: Sequence[torch.Tensor]
    truth: torch.Tensor


@dataclass(frozen=True)
class FusionTraining:
    """half_width  largest displacement looked at, cells;  block  edge of the blocks, cells
    step        Adam's first step; the last is a tenth of it
    coupling    fewer than when aligning, for the sake of time, and up to the same strength
    """

    steps: int = 600
    seed: int = 0
    step: float = 0.005
    half_width: int = 3
    block: int = 16
    sharpness: float = SHARPNESS
    coupling: tuple[float, ...] = (0.01, 0.1, 1.0)
    checkpoint_every: int = 25


def fusion_case(
    name: str,
    scan: Image,
    segmentation: Image,
    frame: Grid,
    transform: Transform | None,
    settings: FusionSettings,
    values: Sequence[int],
    deviations: Sequence[float] = (0.0,),
    seed: int = 0,
) -> FusionCase:
    """A case from a scan and its segmentation, both in one world.

    frame       isotropic grid shared by all cases, at `settings.spacing` mm
    transform   frame to scan, LPS mm; None: the same world
    values      label value of each of the settings' segments
    deviations  mm of the contour errors, one for each version to be seen
    """
    low, high = settings.intensity_minimum, settings.intensity_maximum
    window = None if low is None and high is None else (
        -math.inf if low is None else low, math.inf if high is None else high,
    )  # fmt: skip
    # as the method itself prepares a moving scan
    pair = prepare(RegistrationProblem(scan, scan), frame, transform, window)
    mind = pooled(mind_ssc(pair.moving, settings.mind_radius, settings.mind_dilation, pair.known), STRIDE)
    generator = torch.Generator().manual_seed(seed)

    def shares(labels: Image) -> torch.Tensor:
        return one_hot(labels, frame, transform, list(values), STRIDE)

    seen = [shares(with_contour_errors(segmentation, d, generator)) for d in deviations]
    return FusionCase(name, mind, pooled(pair.known[None], STRIDE)[0], seen, shares(segmentation))


def class_weights(cases: Sequence[FusionCase]) -> torch.Tensor:
    """(S + 1,) inverse square roots of the frequencies of segments and background, sum 1."""
    frequency = torch.stack([_with_background(c.truth).flatten(1).mean(dim=1) for c in cases]).mean(dim=0)
    weights = frequency.clamp(min=1e-6).rsqrt()
    return weights / weights.sum()


def train_fusion(
    cases: Sequence[FusionCase],
    settings: FusionSettings,
    training: FusionTraining,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[FeatureFusion, list[float]]:
    """The trained network and the loss of every step.

    checkpoint  file (.safetensors) the state is written to, whole or not at all; where it is there already, training
                goes on from it, and ends as if it had never stopped
    Raises InputError for fewer than two cases, or a checkpoint of another training; Cancelled.
    """
    if len(cases) < 2:
        raise InputError(f"Training needs at least two cases to be aligned, but {len(cases)} came; add some.")
    progress = progress or Progress()
    device = cases[0].mind.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = FeatureFusion(len(settings.segments), settings.hidden, settings.fused).to(device)
    adam = torch.optim.Adam(network.parameters(), lr=training.step)
    weights = class_weights(cases)
    losses: list[float] = []
    own = {**settings.as_card(), "segments": settings.titles}  # what else a segment may be called does not matter
    said = json.dumps({"settings": own, "training": asdict(training), "cases": [c.name for c in cases]})
    if checkpoint is not None and checkpoint.exists():
        losses = _resume(network, adam, checkpoint, said)
    for step in range(len(losses), training.steps):
        progress.update(step / training.steps, f"Training, loss {losses[-1]:.5f}" if losses else "Training")
        adam.param_groups[0]["lr"] = training.step * (1 - 0.9 * step / training.steps)
        loss = _pair_loss(network, cases, weights, training, step)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        if checkpoint is not None and ((step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps):
            _save(network, adam, checkpoint, said, losses)
    progress.update(1.0, "Training")
    return network, losses


def _pair_loss(
    network: FeatureFusion, cases: Sequence[FusionCase], weights: torch.Tensor, training: FusionTraining, step: int
) -> torch.Tensor:
    """The loss of the step's pair, versions and block, which follow from the seed and the step alone."""
    generator = torch.Generator().manual_seed(training.seed * 1_000_003 + step)

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    first = draw(len(cases))
    fixed, moving = cases[first], cases[(first + 1 + draw(len(cases) - 1)) % len(cases)]
    start, size = _block(fixed.truth, training.block, draw)
    reach = training.half_width
    here = _cut(start, size)
    around = _cut([s - reach for s in start], [n + 2 * reach for n in size])
    field = soft_coupled_convex(
        _features(network, fixed, fixed.seen[draw(len(fixed.seen))], here),
        _features(network, moving, moving.seen[draw(len(moving.seen))], around),
        reach, _taken(moving.known, around, outside=0.0), fixed.known[here],
        training.coupling, training.sharpness, margin=True,
    )  # fmt: skip
    axes = [torch.arange(f, f + n, device=field.device, dtype=field.dtype) for f, n in zip(start, size, strict=True)]
    points = crossings(axes) + torch.movedim(field, 0, -1)
    there = sample_index(torch.cat([_with_background(moving.truth), moving.known[None]]), points, outside=None)
    trust = fixed.known[here] * there[-1].detach()
    error = (_with_background(fixed.truth)[(slice(None), *here)] - there[:-1]).square()
    per_class = (error * trust).flatten(1).sum(dim=1) / trust.sum().clamp(min=1.0)
    return (weights * per_class).sum()


def _features(
    network: FeatureFusion, case: FusionCase, seen: torch.Tensor, part: tuple[slice, ...]
) -> torch.Tensor:
    """The network's output on a part of the case, which may reach over its edge.

    Every STATISTICS-th cell of the whole case along each axis is in the instance norm, and the part is not: the
    numbers are nearly those of all cells, for a fraction of the work.
    """
    every = (slice(STATISTICS // 2, None, STATISTICS),) * case.known.dim()
    values = torch.cat([case.mind, seen])
    inside = _taken(values, part)
    cells = torch.cat([values[(slice(None), *every)].flatten(1), inside.flatten(1)], dim=1)
    weight = torch.cat([case.known[every].flatten(), torch.zeros_like(inside[0].flatten())])
    fused = network(cells[: len(case.mind)], cells[len(case.mind) :], weight)
    return fused[:, -inside[0].numel() :].reshape(-1, *inside.shape[1:])


def _taken(values: torch.Tensor, part: tuple[slice, ...], outside: float | None = None) -> torch.Tensor:
    """values[..., part]; beyond the edge the edge value, or `outside`."""
    d = len(part)
    for axis, cut in enumerate(part, start=values.dim() - d):
        index = torch.arange(cut.start, cut.stop, device=values.device)
        n = values.shape[axis]
        values = values.index_select(axis, index.clamp(0, n - 1))
        if outside is not None:
            beyond = ((index < 0) | (index >= n)).reshape([-1 if a == axis else 1 for a in range(values.dim())])
            values = values.masked_fill(beyond, outside)
    return values


def _with_background(shares: torch.Tensor) -> torch.Tensor:
    return torch.cat([shares, 1 - shares.sum(dim=0, keepdim=True)])


def _block(truth: torch.Tensor, edge: int, draw: Callable[[int], int]) -> tuple[list[int], list[int]]:
    """First cell and size of a block around a random cell of a random segment."""
    shape = truth.shape[1:]
    size = [min(edge, n) for n in shape]
    cells = torch.nonzero(truth[draw(len(truth))] > 0.5)
    if len(cells) == 0:
        centre = [n // 2 for n in shape]
    else:
        centre = cells[draw(len(cells))].tolist()
    start = [max(0, min(c - s // 2, n - s)) for c, s, n in zip(centre, size, shape, strict=True)]
    return start, size


def _cut(start: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(f, f + n) for f, n in zip(start, size, strict=True))


def _save(
    network: FeatureFusion, adam: torch.optim.Adam, checkpoint: Path, said: str, losses: Sequence[float]
) -> None:
    tensors = {f"network.{name}": t for name, t in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in adam.state[parameter].items():
            tensors[f"adam.{name}.{key}"] = torch.as_tensor(value)
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors["said"] = torch.frombuffer(bytearray(said.encode()), dtype=torch.uint8)
    write_tensors(checkpoint, tensors)


def _resume(network: FeatureFusion, adam: torch.optim.Adam, checkpoint: Path, said: str) -> list[float]:
    """Puts the state of the checkpoint in place; gives the losses so far."""
    tensors = read_tensors(checkpoint)
    if "said" not in tensors or bytes(tensors["said"].tolist()).decode() != said:
        raise InputError(
            f"The checkpoint {str(checkpoint)!r} belongs to a training with other cases or settings; "
            "remove it or give another file."
        )
    network.load_state_dict({name: tensors[f"network.{name}"] for name in network.state_dict()})
    for name, parameter in network.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        state = {key: tensors[f"adam.{name}.{key}"] for key in keys}
        # the count stays on the CPU, as Adam itself keeps it
        adam.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    return tensors["losses"].tolist()
