"""One picture of a validation: a row for each plane through the middle, a column for each image, and a checkerboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .drawing import Pixels, Window, checkerboard, grey, window_of
from .png import encode_png
from .slices import centre_of, planes_through, sample

if TYPE_CHECKING:
    from ..core.image import Image

#: pixels between two pictures
_GAP = 4


def validation_png(pictures: Mapping[str, Image]) -> bytes:
    """A PNG of the images, which lie on one grid; the last column has fields of "fixed" and "moved" by turns, where
    both are there. At least one image is needed."""
    import SimpleITK as sitk

    from ..io import to_sitk

    volumes = {name: to_sitk(image) for name, image in pictures.items()}
    windows = {name: _window(sitk.GetArrayViewFromImage(v), pictures[name].discrete) for name, v in volumes.items()}
    first = next(iter(volumes.values()))
    rows = []
    for plane in planes_through(first, centre_of(first)):
        drawn = {
            name: grey(sample(v, plane, linear=not pictures[name].discrete), windows[name])
            for name, v in volumes.items()
        }
        cells = list(drawn.values())
        if {"fixed", "moved"} <= drawn.keys():
            cells.append(checkerboard(drawn["fixed"], drawn["moved"]))
        rows.append(_joined(cells, axis=1))
    return encode_png(_joined(rows, axis=0))


def _window(values: NDArray[np.generic], labels: bool) -> Window:
    """From the least value to the largest for labels, which may be many."""
    if not labels:
        return window_of(values)
    least, most = float(values.min()), float(values.max())
    return least, max(most, least + 1e-6)


def _joined(parts: list[Pixels], axis: int) -> Pixels:
    """Side by side (axis 1) or below each other (axis 0), black between them and where one is smaller."""
    other = 1 - axis
    most = max(p.shape[other] for p in parts)
    padded = []
    for part in parts:
        more = [(0, 0), (0, 0)]
        more[other] = (0, most - part.shape[other])
        more[axis] = (0, _GAP)
        padded.append(np.pad(part, more))
    joined: Pixels = np.concatenate(padded, axis=axis)
    return joined[:, :-_GAP] if axis == 1 else joined[:-_GAP]
