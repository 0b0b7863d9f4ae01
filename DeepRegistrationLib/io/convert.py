"""Image <-> SimpleITK image.

Number types: torch has no full set of unsigned types, so unsigned 16 and 32 bit become the smallest signed
type that holds the values; 64-bit floats become 32-bit ones, all others stay as they are, to save memory.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.image import Image, ImageKind

_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a 2-D or 3-D SimpleITK image. Raises InputError where its geometry is not usable."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def from_sitk(image: sitk.Image, kind: ImageKind = ImageKind.INTENSITY) -> Image:
    """Channels first, on the same grid. Labels become whole numbers, masks 0 and 1 (uint8).

    Raises InputError for a dimension other than 2 or 3, for complex values, and for broken labels.
    """
    image = _without_empty_axes(image)
    if image.GetDimension() not in (2, 3):
        raise InputError(
            f"An image of 2 or 3 dimensions is wanted, but this one has {image.GetDimension()}: size "
            f"{' x '.join(map(str, image.GetSize()))}; save the one volume to be registered as a file of its "
            "own."
        )
    if image.GetPixelID() in _COMPLEX:
        raise InputError("The image holds complex numbers; save its magnitude and give that.")
    values = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    else:
        values = values[None]
    grid = grid_of(image)
    if kind is ImageKind.MASK:
        return Image(torch.from_numpy(_finite(values, "mask") != 0).to(torch.uint8), grid, kind)
    if kind is ImageKind.LABELS:
        values = _whole(values)
    return Image(torch.from_numpy(_supported(values)), grid, kind)


def to_sitk(image: Image) -> sitk.Image:
    """The same voxels and geometry; several channels become a vector image."""
    data = image.data.detach().cpu()
    if data.dtype == torch.bool:
        data = data.to(torch.uint8)
    elif data.dtype in (torch.float16, torch.bfloat16):
        data = data.to(torch.float32)
    values = data.numpy()
    if image.channels == 1:
        out = sitk.GetImageFromArray(values[0])
    else:
        out = sitk.GetImageFromArray(np.moveaxis(values, 0, -1), isVector=True)
    return with_geometry(out, image.grid)


def with_geometry(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Puts the grid's spacing, origin and direction on `image`, in place, and returns it."""
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection([v for row in grid.direction for v in row])
    return image


def _without_empty_axes(image: sitk.Image) -> sitk.Image:
    """A series of one volume is that volume."""
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = sitk.Extract(image, (*image.GetSize()[:-1], 0), [0] * image.GetDimension())
    return image


def _finite(values: NDArray, what: str) -> NDArray:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"The {what} holds values that are not finite numbers; save it as whole numbers.")
    return values


def _whole(values: NDArray) -> NDArray:
    if values.dtype.kind != "f":
        return values
    rounded = np.rint(_finite(values, "label map"))
    wrong = rounded != values
    if wrong.any():
        raise InputError(
            f"The label map holds {float(values[wrong][0]):.6g}, but labels are whole numbers; "
            "give a label map that was not interpolated."
        )
    return rounded.astype(np.int16 if np.abs(rounded).max(initial=0) < 2**15 else np.int32)


def _supported(values: NDArray) -> NDArray:
    if values.dtype == np.uint16:
        return values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32)
    if values.dtype in (np.uint32, np.uint64):
        return values.astype(np.int32 if values.max(initial=0) < 2**31 else np.int64)
    if values.dtype == np.float64:
        return values.astype(np.float32)
    return values
