"""Whether a NIfTI, NRRD or transform file holds all the values it announces.

ITK reads a NIfTI file that was cut short without an error, the missing slices full of zeros, and a text
transform that was cut short as the identity. To a full disk it writes NIfTI, compressed NRRD and text
transforms without an error. None of it may go unnoticed into a registration.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

_CHUNK = 1 << 20

#: bytes of a number by the kind of a MATLAB 4 matrix: double and single, by columns and by rows
_MAT_BYTES = {0: 8, 10: 4, 100: 8, 110: 4}


class Damaged(OSError):
    """The file is cut short or its compressed stream is broken; the text says which."""


def check_complete(path: Path) -> None:
    """Raises Damaged where `path` lacks values: .nii, .nii.gz, gzip-compressed .nrrd, .tfm, .txt and .mat."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path, compressed=name.endswith(".gz"))
    elif name.endswith(".nrrd"):
        _check_nrrd(path)
    elif name.endswith((".tfm", ".txt")):
        _check_transform_text(path)
    elif name.endswith(".mat"):
        _check_transform_mat(path)


def _check_nifti(path: Path, compressed: bool) -> None:
    if not compressed:
        with path.open("rb") as file:
            expected = _nifti_bytes(file.read(540))
        _compare(path.stat().st_size, expected)
        return
    with path.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            return  # a plain file with a misleading name: ITK decides
    with gzip.open(path) as file:
        expected, held = _count(file)
    _compare(held, expected)


def _count(file: gzip.GzipFile) -> tuple[int, int]:
    """(bytes announced by the NIfTI header, bytes held); the checksum is verified on the way."""
    try:
        header = file.read(540)
        held = len(header)
        while block := file.read(_CHUNK):
            held += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(f"its compressed data are broken: {error}") from None
    return _nifti_bytes(header), held


def _nifti_bytes(header: bytes) -> int:
    """Length of the file that a NIfTI-1 or NIfTI-2 header announces; 0 where it is neither."""
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(order + "i", header)[0] == 348:
            dim = struct.unpack_from(order + "8h", header, 40)
            bits = struct.unpack_from(order + "h", header, 72)[0]
            start = int(struct.unpack_from(order + "f", header, 108)[0])
        elif len(header) >= 540 and struct.unpack_from(order + "i", header)[0] == 540:
            dim = struct.unpack_from(order + "8q", header, 16)
            bits = struct.unpack_from(order + "h", header, 14)[0]
            start = struct.unpack_from(order + "q", header, 168)[0]
        else:
            continue
        if not 1 <= dim[0] <= 7:
            return 0
        return int(start) + math.prod(max(1, n) for n in dim[1 : dim[0] + 1]) * bits // 8
    return 0


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as file:
        header = b""
        while b"\n\n" not in header and b"\r\n\r\n" not in header:
            line = file.readline()
            if not line:
                if b"data file:" in header:
                    return  # the values lie in another file, which ITK opens
                raise Damaged("it ends within its header")
            header += line
        if b"encoding: gz" not in header:
            return  # ITK itself complains about short raw data
        try:
            with gzip.GzipFile(fileobj=file) as data:
                while data.read(_CHUNK):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"its compressed data are broken: {error}") from None


def _compare(held: int, expected: int) -> None:
    if held < expected:
        raise Damaged(f"it holds {held} of {expected} bytes")


def _check_transform_text(path: Path) -> None:
    """Every transform but a composite has a line of parameters and one of fixed parameters."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    transforms = [x for x in lines if x.startswith("Transform:") and "CompositeTransform" not in x]
    for key in ("Parameters:", "FixedParameters:"):
        found = sum(x.startswith(key) for x in lines)
        if found < len(transforms):
            raise Damaged(f"it has {found} lines {key[:-1]!r} for {len(transforms)} transforms")


def _check_transform_mat(path: Path) -> None:
    """A MATLAB 4 file: for each transform a matrix of parameters and one of fixed parameters."""
    content = path.read_bytes()
    place = count = 0
    while place < len(content):
        if len(content) - place < 20:
            raise Damaged("it ends within a header")
        kind, rows, columns, _, name = struct.unpack_from("<5i", content, place)
        if kind not in _MAT_BYTES or min(rows, columns, name) < 0:
            return  # something else, which ITK refuses
        place += 20 + name + rows * columns * _MAT_BYTES[kind]
        count += 1
    if place > len(content) or count % 2:
        raise Damaged(f"it ends after {len(content)} of at least {place} bytes")
