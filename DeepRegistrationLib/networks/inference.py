"""Running a network on one pair of scans: padded, in pieces where memory is short, in half precision on a GPU.

    whole:   u = network(fixed, moving)
    pieces:  u(x) = sum_p w_p(x) u_p(x) / sum_p w_p(x),   u_p = network(fixed, moving cut out around x)

w_p is 0 near a border of the piece that is none of the scans', where the network saw too little, and rises smoothly
further in: with a margin of at least the network's receptive field both are the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import DeviceMemoryError
from .catalogue import Correspondences, Prediction, TickingNetwork
from .footprint import Footprint

#: voxels over which one piece gives way to the next
BLEND = 16

Report = Callable[[float], None]


@torch.no_grad()
def predict(
    network: nn.Module,
    fixed: torch.Tensor,
    moving: torch.Tensor,
    region: torch.Tensor | None,
    *,
    multiple: int,
    tile: Sequence[int] | None = None,
    margin: int = 0,
    report: Report = lambda done: None,
) -> Prediction:
    """The network's displacement (and velocity) of one pair on its grid, float32, and its correspondences there;
    `details` are not kept.

    Of correspondences those count whose fixed point lies in the scan, and not in what it is padded with; of pieces,
    those that lie where theirs counts most.

    fixed, moving, region  ([Z,] Y, X) as the network was trained with; edge values are held where they are padded
    multiple               the network gets so many voxels, or a whole number of times that, along each axis
    tile                   edges of the pieces in voxels by tensor axes, multiples of `multiple`; None: all at once
    margin                 voxels at the inner borders of a piece that do not count
    report                 called with 0..1 after every layer, and within what takes long besides; may raise Cancelled
    """
    network.eval()
    values = _padded(torch.stack([fixed, moving]).to(torch.float32), multiple, "replicate")
    if region is not None:
        values = torch.cat([values, _padded(region[None].to(torch.float32), multiple, "constant")])
    values = values[:, None]

    def run(part: torch.Tensor, start: float, share: float) -> Prediction:
        images = [image[None] for image in part]
        with _told(network, lambda done: report(start + share * done)), _half(part.device):
            found: Prediction = network(images[0], images[1], images[2] if len(images) > 2 else None)
        return found

    shape = values.shape[2:]
    if tile is None or all(n <= edge for n, edge in zip(shape, tile, strict=True)):
        found = run(values, 0.0, 1.0)
    else:
        found = _tiled(run, values, tile, margin, multiple)
    crop = (slice(None), slice(None), *(slice(0, n) for n in fixed.shape))
    velocity = None if found.velocity is None else found.velocity.to(torch.float32)[crop]
    matched = [_chosen(c, _within(c.fixed, fixed.shape)) for c in found.correspondences]
    return Prediction(found.displacement.to(torch.float32)[crop], velocity, correspondences=matched)


def tile_that_fits(
    shape: Sequence[int], footprint: Footprint, available: int, multiple: int
) -> tuple[int, ...] | None:
    """Edges in voxels, by tensor axes, of pieces that `available` bytes can take and that overlap least altogether;
    None: the scans as a whole.

    Raises DeviceMemoryError where no piece fits, or the network has to see the scans whole.
    """
    most = available / footprint.bytes_per_voxel
    padded = [-(-n // multiple) * multiple for n in shape]
    if math.prod(padded) <= most:
        return None
    if footprint.margin is not None:
        counts = [_edges(n, footprint.margin, multiple) for n in padded]
        fitting = [t for t in itertools.product(*counts) if math.prod(t) <= most]
        if fitting:
            return min(fitting, key=lambda t: math.prod(e * c[e] for e, c in zip(t, counts, strict=True)))
    raise DeviceMemoryError(
        f"The network needs about {math.prod(shape) * footprint.bytes_per_voxel / 1024**3:.1f} GB for "
        f"{' x '.join(map(str, shape[::-1]))} voxels; crop the scans or free memory."
    )


def _edges(n: int, margin: int, multiple: int) -> dict[int, int]:
    """Edges that pieces may have along an axis of n voxels, the smallest for each number of pieces; and that number."""
    smallest = {}
    for edge in [n, *range((n - 1) // multiple * multiple, least_tile(margin, multiple) - 1, -multiple)]:
        smallest[len(_starts(n, edge, _overlap(margin), multiple))] = edge
    return dict(sorted((edge, count) for count, edge in smallest.items()))


def least_tile(margin: int, multiple: int) -> int:
    """Edge of the smallest pieces that still overlap by what is needed and go on."""
    return (-(-_overlap(margin) // multiple) + 1) * multiple


def _overlap(margin: int) -> int:
    """Voxels that two pieces share at least."""
    return 2 * margin + BLEND


def _tiled(
    run: Callable[[torch.Tensor, float, float], Prediction],
    values: torch.Tensor,
    tile: Sequence[int],
    margin: int,
    multiple: int,
) -> Prediction:
    """Put together from overlapping pieces of `values` (channels, 1, [Z,] Y, X)."""
    shape = values.shape[2:]
    starts = [_starts(n, edge, _overlap(margin), multiple) for n, edge in zip(shape, tile, strict=True)]
    places = list(itertools.product(*starts))
    sums: list[torch.Tensor | None] = [None, None]
    total = torch.zeros(shape, device=values.device)
    most, owner = torch.zeros_like(total), torch.full(shape, -1, device=values.device)
    matched: list[tuple[Correspondences, int]] = []
    for number, place in enumerate(places):
        cut = tuple(slice(s, min(s + edge, n)) for s, edge, n in zip(place, tile, shape, strict=True))
        found = run(values[(slice(None), slice(None), *cut)], number / len(places), 1 / len(places))
        weight = _weight(cut, shape, margin, values.device)
        total[cut] += weight
        owner[cut] = torch.where(weight > most[cut], number, owner[cut])
        most[cut] = torch.maximum(weight, most[cut])
        for k, piece in enumerate((found.displacement, found.velocity)):
            if piece is None:
                continue
            if sums[k] is None:
                sums[k] = torch.zeros((1, piece.shape[1], *shape), device=values.device)
            sums[k][(slice(None), slice(None), *cut)] += weight * piece.to(torch.float32)  # type: ignore[index]
        for one in found.correspondences:
            first = torch.tensor(place[::-1], device=values.device)
            matched.append((Correspondences(one.fixed + first, one.moving + first), number))
        del found
    displacement, velocity = (None if whole is None else whole / total for whole in sums)
    assert displacement is not None
    own = [_chosen(one, _at(owner, one.fixed) == number) for one, number in matched]
    return Prediction(displacement, velocity, correspondences=_joined(own))


def _joined(parts: Sequence[Correspondences]) -> list[Correspondences]:
    """The parts of one pair; none where there are none."""
    if not parts:
        return []
    return [Correspondences(torch.cat([p.fixed for p in parts]), torch.cat([p.moving for p in parts]))]


def _chosen(found: Correspondences, which: torch.Tensor) -> Correspondences:
    return Correspondences(found.fixed[which], found.moving[which])


def _within(points: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(N,) whether voxel coordinates (N, d) lie in the field of view of a scan of `shape` ([Z,] Y, X)."""
    size = torch.tensor(shape[::-1], device=points.device)
    return ((points > -0.5) & (points < size - 0.5)).all(dim=1)


def _at(values: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N,) values ([Z,] Y, X) of the voxels nearest to voxel coordinates (N, d)."""
    index = [points[:, k].round().long().clamp(0, n - 1) for k, n in enumerate(values.shape[::-1])]
    return values[tuple(reversed(index))]


def _starts(n: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """First voxels of the pieces along an axis of n voxels: at multiples, overlapping by at least `overlap`."""
    if n <= tile:
        return [0]
    step = (tile - overlap) // multiple * multiple
    return [*range(0, n - tile, max(step, multiple)), n - tile]


def _weight(cut: Sequence[slice], shape: Sequence[int], margin: int, device: torch.device) -> torch.Tensor:
    """How much a piece counts at each of its voxels: nothing within `margin` of an inner border, then rising."""
    total = torch.ones((), device=device)
    for axis, (part, n) in enumerate(zip(cut, shape, strict=True)):
        at = torch.arange(part.start, part.stop, device=device, dtype=torch.float32)
        inside = torch.full_like(at, math.inf)
        if part.start > 0:
            inside = torch.minimum(inside, at - part.start + 0.5)
        if part.stop < n:
            inside = torch.minimum(inside, part.stop - at - 0.5)
        rise = ((inside - margin) / BLEND).clamp(0, 1)
        along = torch.sin(rise * (math.pi / 2)).square()
        total = total[..., None] * along if axis else along
    return total


def _padded(values: torch.Tensor, multiple: int, mode: str) -> torch.Tensor:
    """(C, [Z,] Y, X) up to the next multiple along each axis, with the edge value held ("replicate") or 0."""
    missing = [-n % multiple for n in values.shape[1:]]
    if not any(missing):
        return values
    return F.pad(values[None], [k for m in reversed(missing) for k in (0, m)], mode=mode)[0]


def _half(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()


@contextmanager
def _told(network: nn.Module, report: Report) -> Iterator[None]:
    """Reports the share of the layers that have run, after each and when it ticks: a chance to cancel within a run."""
    layers = [m for m in network.modules() if not any(True for _ in m.children())]
    done = 0

    def tick() -> None:
        report(min(1.0, done / len(layers)))

    def after(*_: object) -> None:
        nonlocal done
        done += 1
        tick()

    hooks = [layer.register_forward_hook(after) for layer in layers]
    ticking = network if isinstance(network, TickingNetwork) else TickingNetwork()
    before, ticking.tick = ticking.tick, tick
    try:
        yield
    finally:
        ticking.tick = before
        for hook in hooks:
            hook.remove()
