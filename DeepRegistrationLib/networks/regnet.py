"""RegNet: the displacement at the centre of two patches, evaluated for all voxels at once.

    u(x) = net(patches of n = 29 voxels and of 54 -> 27 voxels around x, of the fixed and of the moving scan)

Layers of 3^d convolutions without padding, batch normalisation and ReLU; sizes along one axis:

    patch of 29, full resolution  three layers for each scan -> 23, joined, two layers -> 19, maximum of pairs -> 9
    patch of 54, mean of pairs    three layers for each scan -> 21, joined, six layers                         -> 9
    both joined                   four layers -> 1, two fully connected layers (1^d) -> u

The small patch of x is x - 14 .. x + 14, the large one x - 27 .. x + 26, so that the pairs of both are the voxels
(x - 1, x) + 2 k. Pooling sees every second shift alike: all voxels of one parity along each axis come from one pass
over padded scans (`stride` 2), and 2^d passes, whose full-resolution layers are shared, give every voxel (`stride` 1).
Both equal the patch by patch evaluation; with stride 2 the voxels between are interpolated.

Sokooti et al.: Nonrigid image registration using multi-scale 3D convolutional neural networks, MICCAI 2017,
doi:10.1007/978-3-319-66182-7_27. Channels are those of the published implementation (16; 25, 30; 25 x 3, 30 x 3; 60,
70, 75, 150; 150). Differs from the paper: the large patch is reduced by means of pairs, and the three layers are the
same for both scans. It leaves both open; with layers of their own scans are hard to compare at first (MAE after 1500
steps of Testing/claims/regnet.py 2.03 mm, with the same ones 1.77 mm).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..core.progress import Tick, no_tick
from ..core.sampling import sample_batch
from ..ops.warp import index_grid
from .catalogue import Prediction, TickingNetwork
from .deepened import deepened

#: voxels of the patches before and behind their centre
SMALL = (14, 14)
LARGE = (27, 26)

#: batch and channels, when a part is cut out
_ALL = (slice(None), slice(None))

#: numbers that come out of a slab: a fraction of a second of one core, in memory that the next slab uses again
_AT_ONCE = 4 * 10**6
#: slices of a slab at least: of few slices, a convolution takes several times as long for each
_THICK = 16

#: how far an answer sees, for evaluation in pieces
MARGIN = 28


@dataclass(frozen=True)
class RegNetSettings:
    """dimension  of the scans, 2 or 3
    scales     2: both patches; 1: the small one alone
    late       whether each scan passes three layers by itself; else both are channels of the first layer, and these
               layers are as much work
    width      channels of every layer relative to the published ones
    stride     2: every second voxel along each axis is evaluated; 1: all of them
    """

    dimension: int = 3
    scales: int = 2
    late: bool = True
    width: float = 1.0
    stride: int = 2

    def __post_init__(self) -> None:
        if self.dimension not in (2, 3) or self.scales not in (1, 2) or self.stride not in (1, 2) or self.width <= 0:
            raise ValueError(f"these are no settings of RegNet: {asdict(self)}")

    def channels(self, *published: int) -> tuple[int, ...]:
        return tuple(max(2, round(self.width * n)) for n in published)


def build(settings: Mapping[str, Any]) -> RegNet:
    """Raises KeyError for a setting that is not known."""
    known = {f.name for f in fields(RegNetSettings)}
    for name in settings:
        if name not in known:
            raise KeyError(name)
    return RegNet(RegNetSettings(**settings))


class RegNet(TickingNetwork):
    """See the module's docstring. Displacements are voxels, components x, y[, z], fixed to moving."""

    #: what losses call instead of the whole (training/precision.py)
    learns_through = ("block",)

    def __init__(self, settings: RegNetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or RegNetSettings()
        d = settings.dimension
        small = settings.channels(25, 30)
        large = settings.channels(25, 25, 25, 30, 30, 30)
        together = settings.channels(60, 70, 75, 150)
        self.small = _Pipeline(settings, small)
        self.large = _Pipeline(settings, large) if settings.scales == 2 else None
        joined = small[-1] + (large[-1] if settings.scales == 2 else 0)
        self.together = _layers(d, (joined, *together))
        (hidden,) = settings.channels(150)
        self.hidden = _layers(d, (together[-1], hidden), size=1)
        self.out = _CONVOLUTIONS[d](hidden, d, 1)
        # so that it begins with small displacements
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            if self.out.bias is not None:
                self.out.bias.zero_()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Weights of a network for slices fit one for volumes, too: it then looks at the middle slice of every patch
        as that one does, finds no motion across it, and can learn the rest."""
        flat = state_dict.get("out.bias")
        if self.settings.dimension == 3 and flat is not None and len(flat) == 2:
            state_dict = {name: _deepened(name, value) for name, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict, assign)

    # ------------------------------------------------------------------ patch by patch

    def patches(
        self, fixed: torch.Tensor, moving: torch.Tensor, fixed_large: torch.Tensor, moving_large: torch.Tensor
    ) -> torch.Tensor:
        """(B, 1, 29 ...) and (B, 1, 54 ...) -> (B, d), the displacement at voxel 14 of the small patches."""
        large = self._large(fixed_large, moving_large)
        return self._joined(self._pooled(self.small(fixed, moving)), large).flatten(1)

    # ------------------------------------------------------------------ all voxels

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor, region: torch.Tensor | None = None) -> Prediction:
        """As networks/catalogue.py says, for even sizes; `details`: "lattice" (B, d, ...) as evaluated, "start" its
        first voxel and "step", along every axis."""
        for module in self.modules():
            if isinstance(module, _Layers):
                module.tick = self.tick
        step = self.settings.stride
        start = step - 1
        values = self.lattice(fixed, moving)
        details = {"lattice": values, "start": start, "step": step}
        if step == 1:
            return Prediction(values, details=details)
        points = (index_grid(fixed.shape[2:], fixed) - start) / step
        return Prediction(sample_batch(values, points[None].expand(len(values), *points.shape)), details=details)

    def lattice(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        """u at every voxel (stride 1), or at those whose indices are odd (stride 2)."""
        return self._evaluated([_held(image, (SMALL[0], SMALL[1])) for image in (fixed, moving)],
                               [_held(image, (LARGE[0], LARGE[1])) for image in (fixed, moving)])  # fmt: skip

    def block(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        """The same for the inner voxels of scans that reach LARGE voxels further along each axis."""
        d = self.settings.dimension
        inner = (*_ALL, *(slice(LARGE[0] - SMALL[0], n - LARGE[1] + SMALL[1]) for n in fixed.shape[-d:]))
        return self._evaluated([fixed[inner], moving[inner]], [fixed, moving])

    def _evaluated(self, small: Sequence[torch.Tensor], large: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of voxels 0 .. N - 1, even; small, large: fixed and moving from -14 to N + 13, and from -27 to N + 25."""
        d = self.settings.dimension
        shape = [n - sum(SMALL) for n in small[0].shape[-d:]]
        if any(n % 2 for n in shape):
            raise ValueError(f"RegNet takes even sizes, not {shape}")
        features = self.small(*small)

        def one(parity: Sequence[int]) -> torch.Tensor:
            """u at voxels parity, parity + 2 ..., by tensor axes."""
            part = features[(*_ALL, *(slice(p, p + n + 16) for p, n in zip(parity, shape, strict=True)))]
            cut = (*_ALL, *(slice(p, p + n + 52) for p, n in zip(parity, shape, strict=True)))
            return self._joined(self._pooled(part), self._large(*(image[cut] for image in large)))

        if self.settings.stride == 2:
            return one((1,) * d)
        out = torch.zeros(len(features), d, *shape, device=features.device)
        for parity in itertools.product((0, 1), repeat=d):
            out[(*_ALL, *(slice(p, None, 2) for p in parity))] = one(parity).to(out.dtype)
        return out

    def hold_normalisation(self) -> None:
        """Batch normalisation with the means over what was seen so far, also while the network learns, until its next
        `train()`: the patches of one block are too much alike to stand for all."""
        for module in self.modules():
            if isinstance(module, tuple(_NORMS.values())):
                module.eval()

    # ------------------------------------------------------------------ parts

    def _large(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor | None:
        if self.large is None:
            return None
        mean = F.avg_pool3d if self.settings.dimension == 3 else F.avg_pool2d
        found: torch.Tensor = self.large(mean(fixed, 2), mean(moving, 2))
        return found

    def _pooled(self, features: torch.Tensor) -> torch.Tensor:
        pool = F.max_pool3d if self.settings.dimension == 3 else F.max_pool2d
        if torch.is_grad_enabled() or self.settings.dimension == 2:
            return pool(features, 2)
        parts = []
        for first in range(0, features.shape[2] - 1, _THICK):
            parts.append(pool(features[:, :, first : first + _THICK], 2))
            self.tick()
        return torch.cat(parts, dim=2)

    def _joined(self, small: torch.Tensor, large: torch.Tensor | None) -> torch.Tensor:
        if large is not None:
            small = torch.cat([small, large], dim=1)
        found: torch.Tensor = self.out(self.hidden(self.together(small)))
        return found


class _Pipeline(nn.Module):
    """Layers of one resolution: three of each scan (or of both as channels), then those named."""

    def __init__(self, settings: RegNetSettings, then: Sequence[int]) -> None:
        super().__init__()
        d, (own,) = settings.dimension, settings.channels(16)
        if settings.late:
            self.own: nn.Module | None = _layers(d, (1, own, own, own))
            first = 2 * own
        else:
            # two passes through layers of n -> n are as much work as one through sqrt(2) n -> sqrt(2) n
            (first,) = settings.channels(23)
            self.own = None
        self.both = _layers(d, (first, *then) if settings.late else (2, first, first, first, *then))

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        if self.own is not None:
            fixed, moving = self.own(fixed), self.own(moving)
        found: torch.Tensor = self.both(torch.cat([fixed, moving], dim=1))
        return found


class _Layers(nn.Sequential):
    """Convolution, normalisation and ReLU in turn. In use, volumes pass slab by slab, so that what is computed on the
    way stays small, with a chance to cancel in between: one layer takes seconds."""

    tick: Tick = staticmethod(no_tick)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or self.training or input.dim() != 5:
            found: torch.Tensor = super().forward(input)
            return found
        input = input.contiguous(memory_format=torch.channels_last_3d)
        for k in range(0, len(self), 3):
            input = self._layer(input, self[k], self[k + 1])
        return input

    def _layer(self, input: torch.Tensor, convolution: nn.Module, norm: nn.Module) -> torch.Tensor:
        """The normalisation is part of the convolution, as its numbers are fixed."""
        assert isinstance(convolution, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d)
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        weight, bias = fuse_conv_bn_weights(convolution.weight, None, mean, variance, norm.eps, norm.weight, norm.bias)
        reach = weight.shape[2] - 1
        depth, *plane = (n - reach for n in input.shape[2:])
        thick = max(_THICK, _AT_ONCE // (math.prod(plane) * len(weight)))
        out: torch.Tensor | None = None
        for first in range(0, depth, thick):
            slab = F.conv3d(input[:, :, first : first + thick + reach], weight, bias).relu_()
            if out is None:
                shape = (*slab.shape[:2], depth, *plane)
                out = torch.empty(shape, dtype=slab.dtype, device=slab.device, memory_format=torch.channels_last_3d)
            out[:, :, first : first + thick] = slab
            self.tick()
        assert out is not None
        return out


_CONVOLUTIONS: Mapping[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: Mapping[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def _layers(d: int, channels: Sequence[int], size: int = 3) -> _Layers:
    parts: list[nn.Module] = []
    for n, m in itertools.pairwise(channels):
        parts += [_CONVOLUTIONS[d](n, m, size, bias=False), _NORMS[d](m, momentum=0.05), nn.ReLU(inplace=True)]
    return _Layers(*parts)


def _deepened(name: str, value: torch.Tensor) -> torch.Tensor:
    """What a network for slices has by that name, as one for volumes has it: kernels at the middle of the new axis, and
    an answer of 0 along it."""
    if value.dim() == 4:
        value = deepened(value, 0)
    return torch.cat([value, torch.zeros_like(value[:1])]) if name.startswith("out.") else value


def _held(image: torch.Tensor, margins: tuple[int, int]) -> torch.Tensor:
    """Padded along every axis with the edge value."""
    return F.pad(image, margins * (image.dim() - 2), mode="replicate")
