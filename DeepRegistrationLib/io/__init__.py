"""Images, series of them, segmentations, surfaces, transforms and landmarks from and to files.

Each name is loaded when it is first asked for: the cards of models (io/model_cards.py) are listed without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_FILES = {
    "from_sitk": "convert",
    "to_sitk": "convert",
    "from_sitk_transform": "transforms",
    "to_sitk_transform": "transforms",
    **{f"{act}_{what}": f"{what}s" for act in ("read", "write") for what in ("image", "segmentation", "transform")},
    **{f"{act}_{what}": what for act in ("read", "write") for what in ("points", "series", "surfaces")},
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_FILES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
