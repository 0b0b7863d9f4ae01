"""Points in the world: landmarks, surface vertices, correspondences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .errors import InputError
from .transform import Transform


@dataclass(frozen=True)
class PointSet:
    """`points` (N, d) LPS mm, float64, with optional labels, names and triangles.

    labels     one integer a point (the segment it belongs to), or None
    names      one string a point, or empty
    triangles  (M, 3) vertex numbers, or None

    Raises InputError where the lengths do not agree or a coordinate is not finite.
    """

    points: torch.Tensor
    labels: torch.Tensor | None = None
    names: Sequence[str] = ()
    triangles: torch.Tensor | None = None

    def __post_init__(self) -> None:
        p = torch.as_tensor(self.points, dtype=torch.float64)
        object.__setattr__(self, "points", p)
        if p.dim() != 2 or p.shape[1] not in (2, 3):
            raise InputError(
                f"Points must be N rows of 2 or 3 coordinates, but their shape is {tuple(p.shape)}."
            )
        if not bool(torch.isfinite(p).all()):
            bad = int((~torch.isfinite(p).all(dim=1)).nonzero()[0])
            raise InputError(f"Point {bad + 1} of {len(p)} has a coordinate that is not a finite number.")
        if self.labels is not None and len(self.labels) != len(p):
            raise InputError(f"{len(p)} points came with {len(self.labels)} labels; give one label a point.")
        if self.names and len(self.names) != len(p):
            raise InputError(f"{len(p)} points came with {len(self.names)} names; give one name a point.")

    def __len__(self) -> int:
        return int(self.points.shape[0])

    @property
    def dimension(self) -> int:
        return int(self.points.shape[1])

    @property
    def label_names(self) -> dict[int, str]:
        """Label -> name of its points, in the order in which they come; empty without labels or names."""
        if self.labels is None or not self.names:
            return {}
        return dict(zip(torch.as_tensor(self.labels).tolist(), self.names, strict=True))

    def to(self, device: torch.device | str) -> PointSet:
        """The same points on `device`."""

        def moved(values: torch.Tensor | None) -> torch.Tensor | None:
            return None if values is None else torch.as_tensor(values).to(device)

        return replace(
            self, points=self.points.to(device), labels=moved(self.labels), triangles=moved(self.triangles)
        )

    def mapped(self, transform: Transform) -> PointSet:
        """Fixed-space points moved to moving space: p -> T(p)."""
        return PointSet(transform.apply(self.points), self.labels, self.names, self.triangles)
