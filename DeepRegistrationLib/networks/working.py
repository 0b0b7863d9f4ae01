"""What a network has to be fed with: resolution, intensities, sizes. Part of every model's card ("working")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from ..core.errors import InputError


@dataclass(frozen=True)
class WorkingSettings:
    """spacing    mm of the isotropic working grid; None: that of the fixed scan
    low, high  intensities that become 0 and 1, beyond is clamped; None: the 1st and 99th percentile of each scan
    multiple   the network's grid is padded to a multiple of so many voxels along each axis
    """

    spacing: float | None = None
    low: float | None = None
    high: float | None = None
    multiple: int = 8

    @classmethod
    def from_card(cls, said: Mapping[str, Any]) -> WorkingSettings:
        """Raises InputError where that is not what a card says."""
        known = {f.name for f in fields(cls)}
        if not set(said) <= known:
            raise InputError(f"The model's card says {', '.join(sorted(set(said) - known))} of its working grid, "
                             "which this version does not know; update the extension.")
        return cls(**said)

    def as_card(self) -> dict[str, Any]:
        return asdict(self)

    def normalised(self, scan: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        """Intensities in 0..1; percentiles are those of the voxels where `known` is over 0.5."""
        low, high = self.low, self.high
        if low is None or high is None:
            values = scan if known is None or not bool((known > 0.5).any()) else scan[known > 0.5]
            values = values.flatten()[:: max(1, values.numel() // 1_000_000)].to(torch.float32)
            low = float(torch.quantile(values, 0.01)) if low is None else low
            high = float(torch.quantile(values, 0.99)) if high is None else high
        return ((scan.to(torch.float32) - low) / max(high - low, 1e-6)).clamp(0, 1)
