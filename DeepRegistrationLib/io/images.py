"""Images in NIfTI, NRRD, MetaImage, PNG, TIFF ... and DICOM folders, through SimpleITK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

from ..core.errors import InputError, OutputError
from ..core.image import Image, ImageKind
from .convert import from_sitk, to_sitk
from .integrity import Damaged, check_complete
from .paths import AnyPath, readable, reason, replacing, required_ending

_T = TypeVar("_T")

#: one file each, so that a write is all or nothing
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
PICTURE_ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".bmp")

_ALPHA_AFTER_COLOURS = 4
#: slices of a DICOM series may be this far (parts of their distance) from even spacing
_UNEVEN = 0.1


def read_image(path: AnyPath, kind: ImageKind = ImageKind.INTENSITY) -> Image:
    """The image in a file, or in a folder that holds one DICOM series; 2-D files give 2-D images.

    Colours become channels (an alpha channel is dropped); rescale slope and intercept are applied.
    Raises InputError for a missing, damaged or unreadable file, a series of volumes, and unusable geometry.
    """
    return described(path, lambda: from_sitk(read_sitk(path), kind))


def described(path: AnyPath, make: Callable[[], _T]) -> _T:
    """make(), with the name of the file put before the sentence of an InputError that does not have it."""
    try:
        return make()
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{str(path)!r} cannot be used: {text}") from error


def read_sitk(path: AnyPath) -> sitk.Image:
    """The SimpleITK image, checked for completeness; see `read_image` for what is raised."""
    place = Path(path).expanduser()
    if place.is_dir():
        return _read_dicom_folder(place)
    file = readable(place, "image")
    try:
        check_complete(file)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        _check_shape(file, reader)
        image = reader.Execute()
    except (RuntimeError, Damaged) as error:
        raise InputError(_unreadable(file, error)) from error
    components = image.GetNumberOfComponentsPerPixel()
    if file.suffix.lower() in PICTURE_ENDINGS and components == _ALPHA_AFTER_COLOURS:
        image = sitk.Compose([sitk.VectorIndexSelectionCast(image, k) for k in range(3)])
    return image


def write_image(image: Image, path: AnyPath) -> None:
    """Writes the image whole or not at all; the ending of the name chooses the format.

    Raises OutputError for an unknown ending, a place that cannot be written, and a full disk.
    """
    write_sitk(to_sitk(image), path)


def write_sitk(image: sitk.Image, path: AnyPath, compress: bool | None = None) -> None:
    """Like `write_image`. compress: None leaves .nrrd and .mha uncompressed, .nii.gz always is compressed."""
    suffix = required_ending(path, VOLUME_ENDINGS + PICTURE_ENDINGS, "image")
    if suffix in PICTURE_ENDINGS and image.GetDimension() != 2:
        raise OutputError(f"{str(path)!r} holds pictures, not volumes; end the name in .nii.gz or .nrrd.")
    with replacing(path, suffix) as temporary:
        sitk.WriteImage(image, str(temporary), bool(compress) or suffix == ".nii.gz")
        check_complete(temporary)
        if suffix in PICTURE_ENDINGS:
            sitk.ReadImage(str(temporary))  # a full disk goes unnoticed when pictures are written


def _check_shape(file: Path, reader: sitk.ImageFileReader) -> None:
    size = list(reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) > 3:
        raise InputError(
            f"{str(file)!r} is a series of {int(np.prod(size[3:]))} volumes ({' x '.join(map(str, size))}), "
            "but one volume is wanted; save the one to be registered as a file of its own."
        )


def _unreadable(file: Path, error: Exception) -> str:
    text = str(error)
    if isinstance(error, Damaged):
        return f"The image file {str(file)!r} is damaged, {text}; copy or download it again."
    if "orthonormal" in text:
        return (
            f"The axes in the header of {str(file)!r} are not at right angles (sheared); "
            "correct the header or resample the image first."
        )
    if "allocate memory" in text or "bad_alloc" in text:
        return (
            f"The image in {str(file)!r} does not fit into the memory of this computer; crop or resample it, "
            "or use a computer with more memory."
        )
    if "Unable to determine ImageIO" in text:
        return (
            f"The file {str(file)!r} is no image in a known format; give NIfTI, NRRD, MetaImage, PNG or "
            "DICOM."
        )
    return (
        f"The image file {str(file)!r} could not be read ({reason(error)}); it is damaged or of an unknown "
        "kind."
    )


def _read_dicom_folder(folder: Path) -> sitk.Image:
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(f"The folder {str(folder)!r} holds no DICOM series; give an image file.")
    if len(series) > 1:
        raise InputError(
            f"The folder {str(folder)!r} holds {len(series)} DICOM series; put the one wanted in a folder of "
            "its own."
        )
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    try:
        image = reader.Execute()
        # ITK marks even rounding as uneven, and SimpleITK does not hand out by how much
        uneven = image.HasMetaDataKey("ITK_non_uniform_sampling_deviation") and _unevenness(files) > _UNEVEN
    except RuntimeError as error:
        raise InputError(
            f"The DICOM series in {str(folder)!r} could not be read ({reason(error)})."
        ) from error
    if uneven:
        raise InputError(
            f"The slices of the DICOM series in {str(folder)!r} are not evenly spaced "
            "(a slice may be missing); load it in Slicer and save it as a volume."
        )
    return image


def _unevenness(files: Sequence[str]) -> float:
    """The largest deviation of the distances between slices, in parts of their median."""
    positions = []
    for file in files:
        reader = sitk.ImageFileReader()
        reader.SetFileName(file)
        reader.ReadImageInformation()
        normal = np.array(reader.GetDirection()).reshape(3, 3)[:, 2]
        positions.append(float(normal @ np.array(reader.GetOrigin())))
    gaps = np.abs(np.diff(positions))
    return float(np.abs(gaps - np.median(gaps)).max() / np.median(gaps))
