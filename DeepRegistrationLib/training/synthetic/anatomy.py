"""What a family of anatomies draws, and the families by name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .draws import Draws


@dataclass(frozen=True)
class Tissue:
    """typical  intensity 0..1 it has in CT or MR;  texture  how much of the texture shows in it
    segment  1.. of the segment it belongs to, 0: none
    """

    typical: float
    texture: float = 1.0
    segment: int = 0


@dataclass(frozen=True)
class Anatomy:
    """tissues  ([Z,] Y, X) uint8, index into `kinds`; 0 is what lies outside
    wall     ([Z,] Y, X) below 0 inside of what slides along the wall of the body, growing outward by about one a
             voxel, or None
    """

    tissues: torch.Tensor
    kinds: Sequence[Tissue]
    wall: torch.Tensor | None = None


def draw_anatomy(family: str, shape: Sequence[int], draws: Draws) -> Anatomy:
    """A random member of the family, [Z,] Y, X voxels."""
    module = importlib.import_module(f".{family}", __package__)
    anatomy: Anatomy = module.draw(tuple(shape), draws)
    return anatomy


def segments_of(family: str) -> tuple[str, ...]:
    """Names of the segments of a family, in the order of their numbers."""
    names: tuple[str, ...] = importlib.import_module(f".{family}", __package__).SEGMENTS
    return names


def tissue_table(anatomy: Anatomy, name: str, device: torch.device) -> torch.Tensor:
    """A property of the tissues as (kinds,) float32."""
    return torch.tensor([float(getattr(k, name)) for k in anatomy.kinds], device=device)
