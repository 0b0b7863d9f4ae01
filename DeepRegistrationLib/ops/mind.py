"""MIND-SSC: self-similarity features that make scans of different contrast comparable.

For the pairs (p, q) of neighbour offsets at distance sqrt(2) * dilation (12 in 3-D, 4 in 2-D),

    S_pq(x) = box_radius[ (I(x + p) - I(x + q))^2 ]
    f_pq(x) = exp(-(S_pq(x) - min_pq S(x)) / V(x)),   V(x) = mean_pq(S - min S), clamped to [0.001, 1000] * mean_x V

Heinrich et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_24.

Differs from the paper: the box has the radius given here and the edge voxel is held outside the image. Two pairs
that are translations of each other share their box-filtered difference, which halves the work.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F


def mind_ssc(
    image: torch.Tensor, radius: int = 1, dilation: int = 2, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """`image` ([Z,] Y, X) -> features (12 or 4, [Z,] Y, X) in [0, 1], float32.

    radius    of the box over which squared differences are averaged, voxels
    dilation  distance of the compared patches from the centre along each axis, voxels
    counts    weight of each voxel in mean_x V, so that an artefact outside a mask does not set it; None: all alike
    """
    d = image.dim()
    image = image.to(torch.float32)
    margin = 2 * dilation
    wide = F.pad(image[None, None], (margin + radius,) * (2 * d), mode="replicate")[0, 0]
    out = torch.empty((len(_pairs(d)), *image.shape), dtype=torch.float32, device=image.device)
    # used over and over: blocks of this size are not given back by the system's allocator when they are freed
    room = torch.zeros(2, wide.numel(), dtype=torch.float32, device=image.device)
    for direction, members in _shared_directions(d):
        distance = _box_of_squared_difference(wide, [dilation * k for k in direction], radius, room)
        for channel, start in members:
            window = distance
            for axis in range(d):
                window = window.narrow(axis, margin + dilation * start[axis], image.shape[axis])
            out[channel] = window
    del wide, room, distance
    return _normalise(out, counts)


def _pairs(d: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of unit neighbours that are not opposite each other, tensor axes order."""
    units = []
    for axis in range(d):
        for sign in (-1, 1):
            units.append(tuple(sign if k == axis else 0 for k in range(d)))
    return [
        (p, q) for p, q in itertools.combinations(units, 2) if any(a + b for a, b in zip(p, q, strict=True))
    ]


def _shared_directions(d: int) -> list[tuple[tuple[int, ...], list[tuple[int, tuple[int, ...]]]]]:
    """Directions q - p up to sign, each with its (channel, first offset) members."""
    found: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for channel, (p, q) in enumerate(_pairs(d)):
        step = tuple(b - a for a, b in zip(p, q, strict=True))
        opposite = tuple(-s for s in step)
        if opposite in found:
            found[opposite].append((channel, q))
        else:
            found.setdefault(step, []).append((channel, p))
    return list(found.items())


def _box_of_squared_difference(
    wide: torch.Tensor, step: list[int], radius: int, room: torch.Tensor
) -> torch.Tensor:
    """box[(I(x) - I(x + step))^2] in `room` (2, voxels of wide), `radius` voxels shorter at every side than `wide`.

    Where x + step lies outside of `wide` it is meaningless; nothing looks there, for that is in the margin.
    """
    difference = room[0].view(wide.shape)
    here, there, to = wide, wide, difference
    for axis, s in enumerate(step):
        length = wide.shape[axis] - abs(s)
        here = here.narrow(axis, max(0, -s), length)
        there = there.narrow(axis, max(0, s), length)
        to = to.narrow(axis, max(0, -s), length)
    torch.sub(here, there, out=to)
    return _box(difference.square_(), radius, room)


def _box(image: torch.Tensor, radius: int, room: torch.Tensor) -> torch.Tensor:
    """Mean over (2 radius + 1)^d voxels, `radius` voxels shorter at every side; `image` lies in room[0]."""
    width = 2 * radius + 1
    for axis in range(image.dim()):
        shape = [n - 2 * radius * (k == axis) for k, n in enumerate(image.shape)]
        total = room[(axis + 1) % 2][: math.prod(shape)].view(shape)
        total.copy_(image.narrow(axis, 0, shape[axis]))
        for k in range(1, width):
            total += image.narrow(axis, k, shape[axis])
        image = total
    return image.div_(width ** image.dim())


def _normalise(distances: torch.Tensor, counts: torch.Tensor | None) -> torch.Tensor:
    distances -= distances.amin(dim=0, keepdim=True)
    variance = distances.mean(dim=0, keepdim=True)
    mean = variance.mean() if counts is None else (variance[0] * counts).sum() / counts.sum().clamp(min=1e-6)
    typical = float(mean)
    variance.clamp_(0.001 * typical, 1000 * typical).clamp_(min=1e-12)
    return distances.div_(variance).neg_().exp_()
