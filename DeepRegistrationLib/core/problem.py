"""What is to be registered: two images and whatever helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .image import Image
from .points import PointSet
from .transform import Transform

IMAGE_NAMES = (
    "fixed",
    "moving",
    "fixed_mask",
    "moving_mask",
    "fixed_segmentation",
    "moving_segmentation",
)


@dataclass(frozen=True)
class RegistrationProblem:
    """Find T with moving(T(x)) like fixed(x).

    Masks and segmentations may lie on grids of their own; landmarks are LPS mm, row i of fixed matching row i
    of moving. Surfaces are points with the label and the name of the structure each belongs to, and triangles;
    a structure has the same name on both sides. `initial_transform` maps fixed to moving and is what
    `initialisation = given` starts from.
    """

    fixed: Image
    moving: Image
    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    fixed_segmentation: Image | None = None
    moving_segmentation: Image | None = None
    fixed_landmarks: PointSet | None = None
    moving_landmarks: PointSet | None = None
    fixed_surfaces: PointSet | None = None
    moving_surfaces: PointSet | None = None
    initial_transform: Transform | None = None

    @property
    def dimension(self) -> int:
        return self.fixed.dimension

    def images(self) -> Iterator[tuple[str, Image]]:
        """(name, image) of every image that was given."""
        for name in IMAGE_NAMES:
            image = getattr(self, name)
            if image is not None:
                yield name, image

    def to(self, device: torch.device | str) -> RegistrationProblem:
        def moved(value: Transform | PointSet | None) -> Transform | PointSet | None:
            return None if value is None else value.to(device)

        return RegistrationProblem(
            **{name: image.to(device) for name, image in self.images()},
            fixed_landmarks=self.fixed_landmarks,
            moving_landmarks=self.moving_landmarks,
            fixed_surfaces=moved(self.fixed_surfaces),  # type: ignore[arg-type]
            moving_surfaces=moved(self.moving_surfaces),  # type: ignore[arg-type]
            initial_transform=moved(self.initial_transform),  # type: ignore[arg-type]
        )
