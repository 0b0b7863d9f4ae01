"""Images, series of them, segmentations, surfaces, transforms and landmarks from and to files."""

from .convert import from_sitk, to_sitk
from .images import read_image, write_image
from .points import read_points, write_points
from .segmentations import read_segmentation, write_segmentation
from .series import read_series, write_series
from .surfaces import read_surfaces, write_surfaces
from .transforms import from_sitk_transform, read_transform, to_sitk_transform, write_transform

__all__ = [
    "from_sitk",
    "from_sitk_transform",
    "read_image",
    "read_points",
    "read_segmentation",
    "read_series",
    "read_surfaces",
    "read_transform",
    "to_sitk",
    "to_sitk_transform",
    "write_image",
    "write_points",
    "write_segmentation",
    "write_series",
    "write_surfaces",
    "write_transform",
]
