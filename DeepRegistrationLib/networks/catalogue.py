"""The published architectures by id, each built from the `settings` of a model's card.

A network maps a pair on one grid to a `Prediction`; it knows voxels, not millimetres:

    network(fixed, moving, region) -> Prediction,    moved(x) = moving(x + displacement(x))

    fixed, moving  (B, 1, [Z,] Y, X) float32, intensities as the card's `working` settings make them
    region         (B, 1, [Z,] Y, X) 0..1, where the fixed scan matters, or None

Who runs a network hears of it after each layer; one that takes long besides its layers is a `TickingNetwork`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..core.errors import InputError
from ..core.progress import Tick, no_tick

#: architecture -> file of this folder with `build(settings: Mapping) -> nn.Module`
FILES: Mapping[str, str] = {
    "lapirn": "lapirn",
    "regnet": "regnet",
    "mlvirnet": "mlvirnet",
    "displacement-embeddings": "displacement_embeddings",
    "voxelmorph-plus-plus": "voxelmorph_plus_plus",
}


class TickingNetwork(nn.Module):
    """Calls `tick`, which who runs it may set, now and then where its forward takes long besides its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tick: Tick = no_tick


@dataclass(frozen=True)
class Correspondences:
    """Points of one pair that a network matched, before it made a dense displacement of them.

    fixed, moving  (N, d) voxel coordinates x, y[, z] of the input grid; row i of both is the same place of the body
    """

    fixed: torch.Tensor
    moving: torch.Tensor


@dataclass(frozen=True)
class Prediction:
    """displacement     (B, d, [Z,] Y, X) voxels of the input grid, components x, y[, z]
    velocity         the stationary velocity whose flow the displacement is, in the same units, where there is one
    details          what the losses of its recipe look at besides: levels, heat maps ...
    correspondences  for each pair the points (perhaps none) that the network matched; empty for one that matches none
    """

    displacement: torch.Tensor
    velocity: torch.Tensor | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    correspondences: Sequence[Correspondences] = ()


def build(architecture: str, settings: Mapping[str, Any]) -> nn.Module:
    """The network with fresh weights (torch's global generator). `settings` is the card's "network".

    Raises InputError for an architecture or settings that are not known.
    """
    if architecture not in FILES:
        raise InputError(f"There is no architecture {architecture!r}; there are {', '.join(FILES)}.")
    module = importlib.import_module(f".{FILES[architecture]}", __package__)
    try:
        network: nn.Module = module.build(settings)
    except (TypeError, KeyError) as error:
        raise InputError(
            f"The settings in the model's card do not fit the architecture {architecture} ({error}); "
            "copy the model's folder again."
        ) from None
    return network
