"""Arrays as PNG files, without another library."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_GREY, _RGB = 0, 2
#: each row is stored as its difference from the one above, which packs smooth pictures better
_UP = 2


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (H, W) grey or (H, W, 3) red, green, blue pixels, 8 bit."""
    height, width = pixels.shape[:2]
    kind = _GREY if pixels.ndim == 2 else _RGB
    rows = pixels.astype(np.uint8).reshape(height, -1)
    stored = np.empty((height, rows.shape[1] + 1), dtype=np.uint8)
    stored[:, 0] = _UP
    stored[0, 1:] = rows[0]
    stored[1:, 1:] = rows[1:] - rows[:-1]  # wraps around, as the format wants
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(stored.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
