"""A small picture of which way a transform works: a slice of fixed, and arrows to where tissue goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from .direction import STILL_MM, Aligned, is_inside, movement, partner_map, through
from .places import place_of
from .volumes import image_matrix, oriented_image, voxels

_WIDTH, _HEIGHT, _STRIP = 260, 200, 34
_GROUND, _ARROW, _OUTLINE, _TEXT = (24, 24, 28), (255, 196, 40), (0, 0, 0), (230, 230, 235)
_BETWEEN = 24  # pixels from arrow to arrow
_HEAD, _THICK = 5.0, 0.9
# an arrow of the largest movement is between so many pixels long, and no arrow runs into the next one; true to scale
# where that is so by itself
_SHORTEST, _LONGEST = 7.0, 21.0
_LONGEST_NAME = 20


@dataclass(frozen=True)
class _Plane:
    """A view on the middle of a volume. right, up: unit vectors of the screen, RAS; letters: at its left, right, top,
    bottom."""

    right: tuple[float, float, float]
    up: tuple[float, float, float]
    letters: tuple[str, str, str, str]


_CORONAL = _Plane((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), ("R", "L", "S", "I"))
_AXIAL = _Plane((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), ("R", "L", "A", "P"))


def direction_picture(nodes: Aligned) -> NDArray[np.uint8]:
    """(200, 260, 3) a middle slice of fixed in grey, coronal or axial, whichever shows more of the movement.

    The arrows begin where tissue lies and end where the transform puts it; a label says whose. Raises InputError where
    the transform gives no finite places.
    """
    steps = movement(nodes).steps
    along = (steps**2).mean(axis=0)
    plane = _AXIAL if along[1] > along[2] else _CORONAL
    height = _HEIGHT - _STRIP
    frame = _Frame(nodes.fixed, plane, _WIDTH, height)
    picture = np.empty((_HEIGHT, _WIDTH, 3), np.float32)
    picture[:] = _GROUND
    picture[:height] = frame.grey()[..., None]
    scale = _draw_arrows(picture[:height], frame, nodes)
    _write_letters(picture[:height], plane)
    mover, ground = (nodes.fixed, nodes.fixed) if nodes.use_inverse else (nodes.moving, nodes.fixed)
    _write(picture, f"Grey: fixed, {_short(ground.GetName())}", 4, height + 3)
    whose = "fixed" if nodes.use_inverse else "moving"
    said = f"Arrows: where {whose}, {_short(mover.GetName())}, goes{scale}" if scale is not None else "Nothing moves"
    _write(picture, said, 4, height + 18)
    return picture.clip(0, 255).astype(np.uint8)


class _Frame:
    """The pixels of a plane through the middle of a volume, and where they lie in the world."""

    def __init__(self, volume: slicer.vtkMRMLVolumeNode, plane: _Plane, width: int, height: int) -> None:
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        low, high = np.array(bounds[::2]), np.array(bounds[1::2])
        self._volume = volume
        self.centre = (low + high) / 2
        self.right, self.up = np.array(plane.right), np.array(plane.up)
        self.size = (width, height)
        #: mm
        self.pixel = float(max(np.abs(self.right) @ (high - low) / width, np.abs(self.up) @ (high - low) / height))

    def world(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) RAS of pixels (column, row)."""
        across = (np.asarray(x) - (self.size[0] - 1) / 2)[:, None] * self.pixel * self.right
        up = ((self.size[1] - 1) / 2 - np.asarray(y))[:, None] * self.pixel * self.up
        return np.asarray(self.centre + across + up)

    def flat(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) columns and rows of movements, pixels."""
        return np.stack([steps @ self.right, -(steps @ self.up)], axis=1) / self.pixel

    def grey(self) -> NDArray[np.float32]:
        """(height, width) of the nearest voxels, 2nd to 98th percentile from dark to bright."""
        y, x = np.divmod(np.arange(self.size[0] * self.size[1]), self.size[0])
        image = oriented_image(self._volume)
        place = place_of(self._volume)
        world = self.world(x.astype(float), y.astype(float))
        if place.matrix is not None:
            own = world @ np.linalg.inv(place.matrix)[:3, :3].T + np.linalg.inv(place.matrix)[:3, 3]
        else:
            own = through(place.transform.GetInverse(), world)
        inverse = np.linalg.inv(image_matrix(image))
        index = np.rint(own @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        size = np.array(image.GetDimensions())
        inside = ((index >= 0) & (index < size)).all(axis=1)
        i, j, k = index.clip(0, size - 1).T
        values = voxels(image)[k, j, i].astype(np.float32)
        known = values[inside] if inside.any() else values
        low, high = np.percentile(known, (2, 98))
        grey = ((values - low) / max(float(high - low), 1e-6)).clip(0, 1) * 215.0 + 20.0
        return np.where(inside, grey, float(_GROUND[0])).reshape(self.size[1], self.size[0]).astype(np.float32)


def _draw_arrows(picture: NDArray[np.float32], frame: _Frame, nodes: Aligned) -> str | None:
    """Draws them, and says how their lengths relate to the picture's scale; None where there are none."""
    width, height = frame.size
    columns = np.arange(_BETWEEN / 2, width, _BETWEEN)
    rows = np.arange(_BETWEEN / 2, height, _BETWEEN)
    x, y = (a.ravel() for a in np.meshgrid(columns, rows))
    places = frame.world(x, y)
    partners = through(partner_map(nodes), places)
    shown = is_inside(nodes.fixed, places)
    partnered = is_inside(nodes.moving, partners, place_of(nodes.moving, nodes.transform))
    shown = shown & partnered if (shown & partnered).any() else shown
    steps = frame.flat(places - partners)[shown]
    if not len(steps) or np.linalg.norm(steps, axis=1).max() * frame.pixel < STILL_MM:
        return None
    largest = float(np.linalg.norm(steps, axis=1).max())
    factor = _SHORTEST / largest if largest < _SHORTEST else min(1.0, _LONGEST / largest)
    ends = np.stack([x, y], axis=1)[shown]
    starts = ends - factor * steps
    if nodes.use_inverse:  # the tissue of fixed lies at the pixel and goes to its partner
        starts, ends = ends, ends - factor * steps
    lines = [_strokes(a, b) for a, b in zip(starts, ends, strict=True)]
    for thickness, colour in ((_THICK + 1.1, _OUTLINE), (_THICK, _ARROW)):
        for strokes in lines:
            for a, b in strokes:
                _stroke(picture, a, b, thickness, colour)
    if factor == 1.0:
        return ""
    return f" (x {factor:.0f})" if factor >= 1.5 else f" (x {factor:.2g})"


def _strokes(
    start: NDArray[np.float64], end: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Shaft and the two sides of the head."""
    length = float(np.linalg.norm(end - start))
    if length < 0.7:
        return [(end, end)]
    forward = (end - start) / length
    side = np.array([-forward[1], forward[0]])
    head = min(_HEAD, 0.6 * length)
    return [(start, end)] + [(end, end - head * forward + sign * 0.55 * head * side) for sign in (-1.0, 1.0)]


def _stroke(
    picture: NDArray[np.float32],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    thickness: float,
    colour: tuple[int, int, int],
) -> None:
    """A line with soft edges, `thickness` pixels to each side."""
    margin = thickness + 1.5
    x0, y0 = np.floor(np.minimum(a, b) - margin).astype(int).clip(0)
    x1, y1 = np.ceil(np.maximum(a, b) + margin).astype(int) + 1
    part = picture[y0:y1, x0:x1]
    if part.size == 0:
        return
    y, x = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
    along = b - a
    at = (((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max(float(along @ along), 1e-9)).clip(0, 1)
    distance = np.hypot(x - a[0] - at * along[0], y - a[1] - at * along[1])
    alpha = (thickness + 0.5 - distance).clip(0, 1)[..., None]
    part += alpha * (np.array(colour, np.float32) - part)


# ---------------------------------------------------------------------- letters


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def _write_letters(picture: NDArray[np.float32], plane: _Plane) -> None:
    height, width = picture.shape[:2]
    left, right, top, bottom = plane.letters
    _write(picture, left, 3, height // 2 - 6)
    _write(picture, right, width - 11, height // 2 - 6)
    _write(picture, top, width // 2 - 4, 2)
    _write(picture, bottom, width // 2 - 4, height - 14)


def _write(picture: NDArray[np.float32], text: str, left: int, top: int) -> None:
    """Text with a dark edge; what does not fit is cut."""
    letters = _letters(text)
    part = picture[top : top + letters.shape[0], left : left + letters.shape[1]]
    alpha = letters[: part.shape[0], : part.shape[1], None]
    part += alpha * (np.array(_TEXT, np.float32) - part)


def _letters(text: str) -> NDArray[np.float32]:
    """(H, W) coverage 0 to 1."""
    look = vtk.vtkTextProperty()
    look.SetFontFamilyToArial()
    look.SetFontSize(11)
    look.SetColor(1.0, 1.0, 1.0)
    image = vtk.vtkImageData()
    drawn = vtk.vtkTextRenderer.GetInstance().RenderString(look, text, image, [0, 0], 72)
    if not drawn or image.GetNumberOfPoints() == 0:
        return np.zeros((0, 0), np.float32)
    width, height, _ = image.GetDimensions()
    rgba = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    return rgba[::-1, :, -1].astype(np.float32) / 255.0
