"""The picture of a validation: its rows, its columns, and what is in them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.reports.validation_picture import _GAP, validation_png

GRID = Grid((20, 16, 12), (4.0, 4.0, 4.0), (5.0, 6.0, 7.0), np.diag([-1.0, 1.0, 1.0]))


def pixels(png: bytes) -> np.ndarray:
    """(H, W) grey values; every row is stored as the difference from the one above."""
    file = io.BytesIO(png)
    assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    data, width, height = b"", 0, 0
    while True:
        length, name = struct.unpack(">I4s", file.read(8))
        content = file.read(length)
        file.read(4)
        if name == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
        elif name == b"IDAT":
            data += content
        elif name == b"IEND":
            rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, width + 1)[:, 1:]
            return np.cumsum(rows.astype(np.int64), axis=0) % 256


def half(axis: int, kind: ImageKind = ImageKind.INTENSITY) -> Image:
    """1 in the half that is on the patient's left (axis 0), behind (1), or on top (2)."""
    x = GRID.world_points()[..., axis]
    return Image((x > float(GRID.centre[axis])).float()[None], GRID, kind)


def test_a_row_a_plane_and_a_column_an_image() -> None:
    picture = pixels(validation_png({"fixed": half(0), "moved": half(1), "labels": half(2, ImageKind.LABELS)}))
    height, width = picture.shape
    column = (width + _GAP) // 4
    assert column * 4 - _GAP == width and height > 3 * 100
    axial = picture[: 16 * column // 20]
    fixed, moved, labels, board = (axial[:, k * column : k * column + column - _GAP] for k in range(4))
    wide = fixed.shape[1]
    # the patient's left is on the right of the picture, the back at its bottom
    assert fixed[10, wide // 4] == 0 and fixed[10, 3 * wide // 4] == 255
    assert moved[5, wide // 2] == 0 and moved[-10, wide // 2] == 255
    assert len(np.unique(labels)) <= 2
    assert ((board == fixed) | (board == moved)).all() and (board != fixed).any() and (board != moved).any()


def test_pictures_in_the_plane_are_one_row() -> None:
    grid = Grid((16, 8), (1.0, 1.0))
    picture = pixels(validation_png({"fixed": Image(torch.rand(1, 8, 16), grid)}))
    assert picture.shape == (128, 256)
