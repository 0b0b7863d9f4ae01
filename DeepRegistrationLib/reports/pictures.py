"""Pictures of a result from its files, for where there is no Slicer to draw them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from ..jobs.extras import is_extra
from ..metrics.map_kinds import MapKind, map_kind
from . import drawing, slices
from .palette import stops_of
from .picture import Legend, Picture
from .png import encode_png
from .slices import Plane

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..jobs.results import ResultFolder

#: outputs of a result that are no maps
_NO_MAPS = ("transform", "inverse", "moved", "segmentation", "metrics", "provenance")
#: correlation of grey values from which on a difference of two scans says something
_ONE_KIND = 0.6
_AIR_HU = -900
#: values looked at to compare two scans
_SAMPLE = 100_000


def result_pictures(folder: ResultFolder) -> tuple[list[Picture], list[str]]:
    """Slices of the two scans and of every map through the middle of the fixed segments, or else of the fixed scan.

    Pictures of what can be read, and a sentence on each thing that cannot. Loads SimpleITK, not torch.
    """
    notes: list[str] = []
    fixed = _input(folder, "fixed", notes)
    moved = _output(folder, "moved", notes)
    ground = fixed or moved
    if ground is None:
        return [], notes
    maps = _maps(folder, ground, notes)
    planes = slices.planes_through(ground, _place_that_matters(folder, ground))
    window = drawing.window_of(_array(ground))
    pictures: list[Picture] = []
    if fixed is not None:
        moving = _input(folder, "moving", notes)
        pictures += _Scans(fixed, moving, moved, window, planes, notes).pictures()
    for map_id, volume in maps.items():
        pictures += _map_pictures(map_id, volume, ground, window, planes)
    return pictures, notes


# ---------------------------------------------------------------------- what there is to draw


def _input(folder: ResultFolder, name: str, notes: list[str]) -> sitk.Image | None:
    path = folder.provenance.get("inputs", {}).get(name)
    if not path:
        notes.append(f"No file of the {name} scan is recorded with this result, so it is in no picture.")
        return None
    return _read(Path(path), f"the {name} scan", notes)


def _output(folder: ResultFolder, name: str, notes: list[str]) -> sitk.Image | None:
    try:
        path = folder.file(name)
    except InputError:
        notes.append(f"The result holds no {name} image, so it is in no picture.")
        return None
    return _read(path, f"the {name} image", notes)


def _read(path: Path, what: str, notes: list[str]) -> sitk.Image | None:
    try:
        return slices.read_volume(path)
    except InputError as error:
        notes.append(f"There is no picture of {what}: {error}")
        return None


def _maps(folder: ResultFolder, ground: sitk.Image, notes: list[str]) -> dict[str, sitk.Image]:
    found = {}
    for name in (name for name in folder.files if name not in _NO_MAPS and not is_extra(name)):
        volume = _read(folder.path / folder.files[name], f"the map {name!r}", notes)
        if volume is not None and volume.GetDimension() == ground.GetDimension():
            found[name] = volume
    return found


def _place_that_matters(folder: ResultFolder, ground: sitk.Image) -> tuple[float, ...]:
    inputs = folder.provenance.get("inputs", {})
    for name in ("fixed_segmentation", "fixed_mask"):
        labels = _read(Path(inputs[name]), name, []) if inputs.get(name) else None
        if labels is not None and labels.GetDimension() == ground.GetDimension():
            place = slices.centre_of_labels(labels)
            if place is not None and slices.contains(ground, place):
                return place
    return slices.centre_of(ground)


# ---------------------------------------------------------------------- the scans


class _Scans:
    """Fixed against moving where it lay at first, and against moved."""

    def __init__(
        self,
        fixed: sitk.Image,
        moving: sitk.Image | None,
        moved: sitk.Image | None,
        window: drawing.Window,
        planes: list[Plane],
        notes: list[str],
    ) -> None:
        # what has another number of axes than fixed was swapped since; it cannot be laid over it
        partners = {"moving": moving, "moved": moved}
        self._partners = {
            name: image
            for name, image in partners.items()
            if image is not None and image.GetDimension() == fixed.GetDimension()
        }
        self._fixed, self._planes, self._notes, self._window = fixed, planes, notes, window
        self._hounsfield = all(_is_ct(image) for image in (fixed, *self._partners.values()))

    def pictures(self) -> Iterator[Picture]:
        if not self._partners:
            for plane in self._planes:
                pixels = drawing.grey(slices.sample(self._fixed, plane), self._window)
                yield _picture(pixels, plane, "Fixed", "The fixed scan.", "Fixed scan")
            return
        for name, partner in self._partners.items():
            when = "Before" if name == "moving" else "After"
            yield from self._boards(when, name, partner)
        if self._one_kind():
            for name, partner in self._partners.items():
                yield from self._differences("Before" if name == "moving" else "After", name, partner)
        else:
            self._notes.append(
                "No difference of the scans is shown: their grey values do not go together, as in scans of "
                "different kinds, so a difference would not tell how well they are aligned."
            )

    def _greys(self, partner: sitk.Image) -> Iterator[tuple[Plane, drawing.Pixels, drawing.Pixels]]:
        # Hounsfield units mean the same in both scans, other grey values do not
        window = self._window if self._hounsfield else drawing.window_of(_array(partner))
        for plane in self._planes:
            fixed = drawing.grey(slices.sample(self._fixed, plane), self._window)
            yield plane, fixed, drawing.grey(slices.sample(partner, plane), window)

    def _boards(self, when: str, name: str, partner: sitk.Image) -> Iterator[Picture]:
        group = f"{when} the alignment: fixed and {name} by turns"
        caption = f"Checkerboard; the field in the upper left corner is fixed, its neighbours are {name}."
        for plane, fixed, other in self._greys(partner):
            yield _picture(drawing.checkerboard(fixed, other), plane, f"{when}, checkerboard", caption, group)

    def _differences(self, when: str, name: str, partner: sitk.Image) -> Iterator[Picture]:
        group = f"{when} the alignment: {name} minus fixed"
        caption = f"Middle grey: no difference. Brighter: {name} is the brighter one. Darker: fixed is."
        for plane, fixed, other in self._greys(partner):
            yield _picture(drawing.difference(fixed, other), plane, f"{when}, difference", caption, group)

    def _one_kind(self) -> bool:
        if self._hounsfield:
            return True
        moved = self._partners.get("moved")
        return moved is not None and likeness(self._fixed, moved) >= _ONE_KIND


def likeness(fixed: sitk.Image, moved: sitk.Image) -> float:
    """Correlation of grey values where either scan is brighter than its mean; 0 where it cannot be told.

    Background, which is dark in every kind of scan, would make all scans look alike. The scans share a grid.
    """
    if fixed.GetSize() != moved.GetSize():
        return 0.0
    step = max(1, fixed.GetNumberOfPixels() // _SAMPLE)
    a, b = (_array(image).ravel()[::step].astype(np.float64) for image in (fixed, moved))
    bright = (a > np.nanmean(a)) | (b > np.nanmean(b))
    bright &= np.isfinite(a) & np.isfinite(b)
    if np.count_nonzero(bright) < 2 or np.ptp(a[bright]) == 0 or np.ptp(b[bright]) == 0:
        return 0.0
    return float(np.corrcoef(a[bright], b[bright])[0, 1])


def _is_ct(image: sitk.Image) -> bool:
    values = _array(image)
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    return -4096 <= least <= _AIR_HU and 0 < most < 2**15


# ---------------------------------------------------------------------- maps


def _map_pictures(
    map_id: str, volume: sitk.Image, ground: sitk.Image, window: drawing.Window, planes: list[Plane]
) -> Iterator[Picture]:
    kind = map_kind(map_id)
    values = _array(volume)
    if not np.isfinite(values).any():
        return
    shown = shown_range(kind, values)
    legend = Legend(stops_of(map_id), *shown, kind.unit, kind.folded_below is not None)

    def draw(plane: Plane, title: str, caption: str, group: str) -> Picture:
        background = drawing.grey(slices.sample(ground, plane), window)
        # not interpolated: a single folded voxel must not be smoothed away
        found = slices.sample(volume, plane, linear=False)
        pixels = drawing.overlay(background, found, stops_of(map_id), shown, kind.folded_below)
        return _picture(pixels, plane, title, caption, group, legend)

    for plane in planes:
        yield draw(plane, kind.title, kind.help, kind.title)
    if kind.folded_below is not None and float(np.nanmin(values)) <= kind.folded_below:
        place = slices.place_of_smallest(volume)
        smallest = _at(volume, place)
        if smallest > kind.folded_below:  # only the border of the image folds, which is not counted anywhere
            return
        caption = f"Slices through the smallest value, {smallest:.2f}."
        for plane in slices.planes_through(ground, place):
            yield draw(plane, f"{kind.title}, worst place", caption, f"{kind.title} where it folds most")


def shown_range(kind: MapKind, values: np.ndarray) -> tuple[float, float]:
    """From which value to which the colours run: the kind's own range, else up to the 99th percentile."""
    if kind.range is not None:
        return kind.range
    known = values[np.isfinite(values)]
    if kind.diverging:
        centre = kind.centre or 0.0
        reach = float(np.percentile(np.abs(known - centre), 99)) or 1.0
        return centre - reach, centre + reach
    high = float(np.percentile(known, 99))
    return 0.0, high if high > 0 else 1.0


def _at(volume: sitk.Image, place: tuple[float, ...]) -> float:
    return float(volume.GetPixel(volume.TransformPhysicalPointToIndex(place)))


def _picture(
    pixels: drawing.Pixels, plane: Plane, title: str, caption: str, group: str, legend: Legend | None = None
) -> Picture:
    png = encode_png(drawing.with_letters(pixels, plane.letters))
    return Picture(f"{title}, {_place_in_words(plane)}", png, caption, group, legend)


def _place_in_words(plane: Plane) -> str:
    """ "axial, S 12 mm": where the slice lies along its normal, as viewers name it."""
    if not plane.letters:
        return plane.title
    normal = np.abs(np.cross(plane.right, plane.down))
    axis = int(normal.argmax())
    value = plane.origin[axis]
    return f"{plane.title}, {('LR', 'PA', 'SI')[axis][value < 0]} {abs(value):.0f} mm"


def _array(image: sitk.Image) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayViewFromImage(image)
