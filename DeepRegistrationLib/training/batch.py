"""What one training step looks at: pairs of scans on one working grid, and whatever is known of them.

Displacements are voxels of the working grid along its index axes x, y[, z], fixed to moving:

    moved(x) = moving(x + displacement(x))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch


@dataclass(frozen=True)
class Batch:
    """B pairs; whatever is not known is None, for all of them.

    fixed, moving                (B, 1, [Z,] Y, X) float32 as the network gets them
    spacing                      (d,) mm of a voxel along x, y[, z]
    fixed_labels, moving_labels  (B, S, [Z,] Y, X) float32 one-hot segments without background
    displacement                 (B, d, [Z,] Y, X) voxels: the truth
    region                       (B, 1, [Z,] Y, X) 0..1 weight of each fixed voxel in the losses
    fixed_points, moving_points  (B, N, d) index coordinates x, y[, z]; row i matches row i
    fixed_lesion, moving_lesion  (B, 1, [Z,] Y, X) 1 where that scan shows something that the other one lacks
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    spacing: torch.Tensor
    fixed_labels: torch.Tensor | None = None
    moving_labels: torch.Tensor | None = None
    displacement: torch.Tensor | None = None
    region: torch.Tensor | None = None
    fixed_points: torch.Tensor | None = None
    moving_points: torch.Tensor | None = None
    fixed_lesion: torch.Tensor | None = None
    moving_lesion: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: v.to(device) for name, v in values.items() if v is not None})


def collated(batches: Sequence[Batch]) -> Batch:
    """One batch of several. They are alike in size, and in what is known. Raises ValueError for what is not."""
    values: dict[str, torch.Tensor | None] = {}
    for f in fields(Batch):
        parts = [getattr(b, f.name) for b in batches]
        there = [p for p in parts if p is not None]
        if f.name == "spacing":
            values[f.name] = parts[0]
        elif not there:
            values[f.name] = None
        elif len(there) < len(parts):
            raise ValueError(f"{f.name} is known of {len(there)} of {len(parts)} pairs; a batch needs all or none")
        else:
            values[f.name] = torch.cat(there)
    return Batch(**values)  # type: ignore[arg-type]
