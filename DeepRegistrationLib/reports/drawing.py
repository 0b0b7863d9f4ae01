"""Pixels of slices: grey values, checkerboards, differences, maps laid over a scan. (H, W[, 3]) uint8 arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import palette

Window = tuple[float, float]
Pixels = NDArray[np.uint8]

#: fields of a checkerboard along the longer side
_FIELDS = 7
#: values looked at for a window
_SAMPLE = 200_000
#: share of the grey values, from the lowest, that counts as background
_BACKGROUND = 0.05
#: how strongly a map covers the scan below it
_OPACITY = 0.6

# seven rows of five dots each
_LETTERS = {
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "A": (".111.", "1...1", "1...1", "11111", "1...1", "1...1", "1...1"),
    "P": ("1111.", "1...1", "1...1", "1111.", "1....", "1....", "1...."),
    "S": (".1111", "1....", "1....", ".111.", "....1", "....1", "1111."),
    "I": (".111.", "..1..", "..1..", "..1..", "..1..", "..1..", ".111."),
}
_DOT = 2
#: pixels around a picture that has letters
FRAME = 20


def window_of(volume: NDArray[np.generic]) -> Window:
    """Grey values shown as black and as white: 1st and 99th percentile of what is not background. Where that is of one
    value, as in a mask, the background is black and the value white."""
    flat = volume.ravel()
    values = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    least, most = float(values.min()), float(np.percentile(values, 99.5))
    shown = values[values > least + _BACKGROUND * (most - least)]
    low, high = np.percentile(shown if shown.size else values, [1, 99])
    if low == high and least < low:
        low = least
    return float(low), float(high if high > low else low + 1.0)


def grey(values: NDArray[np.float32], window: Window) -> Pixels:
    """Black where there is no value (NaN)."""
    low, high = window
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def checkerboard(first: Pixels, second: Pixels) -> Pixels:
    """Fields of both by turns; the field in the upper left corner is of `first`."""
    return np.where(fields(first.shape), first, second)


def fields(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) True where a checkerboard shows the first of its pictures."""
    side = max(1, round(max(shape) / _FIELDS))
    row, column = np.arange(shape[0]) // side, np.arange(shape[1]) // side
    return (row[:, None] + column) % 2 == 0


def difference(first: Pixels, second: Pixels) -> Pixels:
    """second - first: middle grey where they agree, brighter where `second` is the brighter one."""
    return ((second.astype(np.int16) - first.astype(np.int16) + 256) // 2).clip(0, 255).astype(np.uint8)


def overlay(
    background: Pixels,
    values: NDArray[np.float32],
    stops: Sequence[palette.Stop],
    shown: Window,
    folded_below: float | None = None,
) -> Pixels:
    """A map over a grey picture; what is at or below `folded_below` is opaque in the colour of folding.

    The picture stays bare where the map has no value (NaN).
    """
    base = np.repeat(background[..., None] / 255.0, 3, axis=-1)
    known = np.isfinite(values)
    laid = palette.colours(np.where(known, values, shown[0]), stops, *shown)
    mixed = np.where(known[..., None], (1 - _OPACITY) * base + _OPACITY * laid, base)
    if folded_below is not None:
        mixed[known & (values <= folded_below)] = palette.FOLDED
    return np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def with_letters(pixels: Pixels, letters: str) -> Pixels:
    """The picture in a black frame of `FRAME` pixels, where letters at the left, right, top and bottom say which
    side of the body that is; without letters the picture as it is."""
    if not letters:
        return pixels
    high, wide = 7 * _DOT, 5 * _DOT
    sides = ((FRAME, FRAME), (FRAME, FRAME), (0, 0))[: pixels.ndim]
    out = np.pad(pixels, sides)
    height, width = out.shape[:2]
    middle_row, middle_column = (height - high) // 2, (width - wide) // 2
    across, along = (FRAME - high) // 2, (FRAME - wide) // 2
    places = (
        (middle_row, along),
        (middle_row, width - wide - along),
        (across, middle_column),
        (height - high - across, middle_column),
    )
    for letter, (row, column) in zip(letters, places, strict=True):
        dots = np.array([[dot == "1" for dot in line] for line in _LETTERS[letter]])
        out[row : row + high, column : column + wide][np.kron(dots, np.ones((_DOT, _DOT), dtype=bool))] = 255
    return out
