"""Series of images on one grid as one .seq.nrrd file, which Slicer opens as a sequence.

The axis of the series comes last ("domain domain domain list"), so each image lies in one piece. Slicer's
vtkITKImageSequenceReader takes any axis of the kind "list"; SimpleITK makes one component of each image.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from ..core.errors import InputError, OutputError
from ..core.grid import Grid
from ..core.image import Image, ImageKind
from .convert import grid_of
from .integrity import Damaged, check_complete
from .paths import AnyPath, readable, reason, replacing, required_ending

ENDING = ".seq.nrrd"

_SPACES = {2: "", 3: "space: left-posterior-superior\n"}
_TYPES = {"u1": "uint8", "i1": "int8", "i2": "int16", "u2": "uint16", "i4": "int32", "f4": "float"}
# the level at which writing takes no longer than computing
_EFFORT = 3


def write_series(images: Sequence[Image], path: AnyPath, *, compressed: bool = True) -> None:
    """Writes images of one channel on one grid, first to last, whole or not at all.

    Images of whole numbers keep their type where all have the same; all others are written as float32.
    Raises OutputError for images that do not belong together, another ending and failures of writing.
    """
    required_ending(path, (ENDING,), "series of images")
    if not images:
        raise OutputError(f"A series without images was to be written as {str(path)!r}; give at least one image.")
    grid = images[0].grid
    if any(image.channels != 1 or not image.grid.same_as(grid) for image in images):
        raise OutputError(f"The images of the series {str(path)!r} do not lie on one grid with one value a voxel.")
    arrays = [_array(image) for image in images]
    if len({a.dtype for a in arrays}) > 1:
        arrays = [a.astype("<f4") for a in arrays]
    with replacing(path, ENDING) as temporary, temporary.open("wb") as file:
        file.write(_header(arrays[0].dtype, grid, len(images), compressed).encode("ascii"))
        packer = zlib.compressobj(_EFFORT, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        for array in arrays:
            data = array.reshape(-1).view(np.uint8).data
            file.write(packer.compress(data) if compressed else data)
        if compressed:
            file.write(packer.flush())


def read_series(path: AnyPath) -> list[Image]:
    """The images of a file that `write_series` wrote. Raises InputError where it cannot be read."""
    file = readable(path, "series")
    try:
        check_complete(file)
        image = sitk.ReadImage(str(file))
        values = sitk.GetArrayFromImage(image)
    except (RuntimeError, Damaged) as error:
        raise InputError(
            f"The series of images {str(file)!r} could not be read ({reason(error)}); run the registration again."
        ) from error
    grid = grid_of(image)
    if values.ndim == grid.dimension:
        values = values[..., None]
    parts = [np.ascontiguousarray(values[..., k]) for k in range(values.shape[-1])]
    return [Image(torch.from_numpy(part)[None], grid, ImageKind.INTENSITY) for part in parts]


def _array(image: Image) -> NDArray:
    data = image.data[0].detach().cpu()
    array = (data.float() if data.is_floating_point() else data).numpy()
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    known = array.dtype.str[1:] in _TYPES
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<") if known else "<f4")


def _header(dtype: np.dtype, grid: Grid, count: int, compressed: bool) -> str:
    d = grid.dimension
    axes = np.asarray(grid.direction) * np.asarray(grid.spacing)  # columns
    vectors = ["(" + ",".join(repr(float(v)) for v in axes[:, k]) + ")" for k in range(d)]
    empty = '"" ' * d
    space = _SPACES[d] or f"space dimension: {d}\n"
    return (
        "NRRD0004\n"
        f"type: {_TYPES[dtype.str[1:]]}\n"
        f"dimension: {d + 1}\n"
        f"{space}"
        f"sizes: {' '.join(map(str, grid.size))} {count}\n"
        f"space directions: {' '.join(vectors)} none\n"
        f"kinds: {'domain ' * d}list\n"
        f"labels: {empty}\"step\"\n"
        "endian: little\n"
        f"encoding: {'gzip' if compressed else 'raw'}\n"
        f"space origin: ({','.join(repr(float(v)) for v in grid.origin)})\n"
        f"axis {d} index type:=numeric\n"
        f"axis {d} index values:={' '.join(map(str, range(count)))}\n"
        "\n"
    )
