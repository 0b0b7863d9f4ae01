"""Volumes to and from raw NRRD files slab by slab, so that the application draws and answers in between.

A generator here does a little and yields a word on it; what it found is its return value (`yield from`).
"""

from __future__ import annotations

import contextlib
import sys
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError, OutputError
from ..jobs.outputs import writing_failed
from .places import RAS_TO_LPS

T = TypeVar("T")
#: work in steps: yields words, returns what it made
Steps = Generator[str, None, T]

#: s that one step is meant to take; the promise is 0.1
_STEP_SECONDS = 0.02
#: voxels of the first step of anything, before its speed is known, and of any step
_FIRST, _MOST = 1 << 16, 1 << 20

_TYPES = {
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long int",
    "uint64": "unsigned long long int",
    "float32": "float",
    "float64": "double",
}
# names the format knows besides those; ITK writes int8 as "signed char" and int64 as "longlong"
_ALSO = {
    "uchar": "uint8",
    "uint8_t": "uint8",
    "int16_t": "int16",
    "uint16_t": "uint16",
    "ushort": "uint16",
    "int32_t": "int32",
    "uint": "uint32",
    "uint32_t": "uint32",
    "longlong": "int64",
    "long long": "int64",
    "int64_t": "int64",
    "ulonglong": "uint64",
    "unsigned long long": "uint64",
    "uint64_t": "uint64",
    "int8_t": "int8",
}
_NUMPY = {text: name for name, text in _TYPES.items()} | {name: name for name in _TYPES} | _ALSO


class Pace:
    """How many voxels the next step takes on: as many as fit into its time, by the speed so far."""

    def __init__(self, first: int = _FIRST, most: int = _MOST, seconds: float = _STEP_SECONDS) -> None:
        self.amount = first
        self._most, self._seconds = most, seconds

    @contextlib.contextmanager
    def step(self, voxels: int) -> Iterator[None]:
        """Around the work on `voxels` voxels."""
        started = time.perf_counter()
        yield
        seconds = max(time.perf_counter() - started, 1e-6)
        # growing by no more than twice keeps one lucky measurement from a long step
        self.amount = int(max(1, min(voxels * self._seconds / seconds, 2 * self.amount, self._most)))


def blocks(size: tuple[int, int, int], pace: Pace) -> Iterator[tuple[slice, slice]]:
    """(z, y) slices that cover a volume of `size` (x, y, z) in the order of a file: some slices at once, or
    rows of one.
    """
    x, y, z = size
    k = j = 0
    while k < z:
        rows = max(1, pace.amount // max(x, 1))
        if j == 0 and rows >= y:
            more = min(rows // max(y, 1), z - k)
            yield slice(k, k + more), slice(0, y)
            k += more
        else:
            end = min(y, j + rows)
            yield slice(k, k + 1), slice(j, end)
            j, k = (0, k + 1) if end == y else (end, k)


def finish(steps: Generator[Any, None, T]) -> T:
    """Do all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            value: T = stop.value
            return value


class NrrdFile:
    """A raw NRRD file that is written piece by piece, in the order of its voxels.

    size        x, y, z
    matrix      index -> world, RAS; the file says it in LPS
    components  values a voxel
    header      further key/value pairs

    Raises OutputError where the file system refuses.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int, int],
        dtype: Any,
        matrix: NDArray[np.float64],
        components: int = 1,
        header: Mapping[str, str] | None = None,
    ) -> None:
        kind = np.dtype(dtype)
        self._dtype = np.dtype(np.uint8) if kind == np.bool_ else kind
        if self._dtype.name not in _TYPES:
            raise InputError(f"Voxels of the type {kind.name} cannot be written; convert the volume to another type.")
        self.path = path
        self._missing = int(np.prod(size)) * components
        self._head = _header(size, self._dtype, matrix, components, header or {})
        self._file: IO[bytes] | None = None

    def __enter__(self) -> NrrdFile:
        with self._failures():
            self._file = open(self.path, "wb")
            self._file.write(self._head)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with self._failures():
                self._file.close()
        if kind is None and self._missing != 0:
            raise OutputError(f"{str(self.path)!r} was not written in full; run again.")

    def append(self, values: NDArray[Any]) -> None:
        """The next values, in any shape."""
        assert self._file is not None, "inside `with` only"
        raw = np.ascontiguousarray(values, dtype=self._dtype)
        with self._failures():
            self._file.write(raw.data)
        self._missing -= raw.size

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise writing_failed(self.path, error) from error


def _header(
    size: tuple[int, int, int],
    dtype: np.dtype[Any],
    matrix: NDArray[np.float64],
    components: int,
    header: Mapping[str, str],
) -> bytes:
    lps = RAS_TO_LPS @ matrix
    several = components > 1
    directions = [_vector(lps[:3, k]) for k in range(3)]
    lines = [
        "NRRD0004",
        f"type: {_TYPES[dtype.name]}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in ([components] if several else []) + list(size)),
        "space directions: " + " ".join((["none"] if several else []) + directions),
        "kinds: " + " ".join((["vector"] if several else []) + ["domain"] * 3),
        f"endian: {sys.byteorder}",
        "encoding: raw",
        f"space origin: {_vector(lps[:3, 3])}",
        *(f"{key}:={value}" for key, value in header.items()),
    ]
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _vector(values: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"


def write_array(
    array: NDArray[Any],
    path: Path,
    matrix: NDArray[np.float64],
    *,
    change: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    dtype: Any = None,
) -> Steps[None]:
    """Write a (Z, Y, X[, C]) array; `matrix` index -> world in RAS; `change` is done to every piece."""
    z, y, x = array.shape[:3]
    components = array.shape[3] if array.ndim == 4 else 1
    pace = Pace(most=_MOST // components)
    with NrrdFile(path, (x, y, z), dtype or array.dtype, matrix, components) as file:
        for slices, rows in blocks((x, y, z), pace):
            piece = array[slices, rows]
            with pace.step(piece.size // components):
                file.append(piece if change is None else change(piece))
            yield "Writing"


# ---------------------------------------------------------------------- reading


def read_nrrd(path: Path) -> Steps[tuple[NDArray[Any], NDArray[np.float64]]]:
    """((Z, Y, X[, C]) array, index -> world in RAS) of a NRRD file with raw or gzip voxels inside it.

    The array owns its memory and is C-contiguous. Raises InputError where the file is anything else.
    """
    try:
        with open(path, "rb") as file:
            fields = _fields(file)
            shape, dtype, matrix = _layout(fields)
            array = np.empty(shape, dtype)
            yield from _fill(file, array, fields.get("encoding", "").lower())
    except OSError as error:
        raise InputError(
            f"The result file {str(path)!r} cannot be read ({error.strerror or error}); run the review again."
        ) from error
    except (ValueError, KeyError, zlib.error) as error:
        raise InputError(f"The result file {str(path)!r} is damaged ({error}); run the review again.") from error
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array, matrix


def _fields(file: IO[bytes]) -> dict[str, str]:
    if not file.readline().startswith(b"NRRD000"):
        raise ValueError("it is no NRRD file")
    fields: dict[str, str] = {}
    while True:
        line = file.readline()
        if not line:
            raise ValueError("its header has no end")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            return fields
        name, separator, value = text.partition(": ")
        if separator and ":=" not in name and not text.startswith("#"):
            fields[name.strip().lower()] = value.strip()


def _layout(fields: Mapping[str, str]) -> tuple[tuple[int, ...], np.dtype[Any], NDArray[np.float64]]:
    sizes = [int(word) for word in fields["sizes"].split()]
    vectors = fields["space directions"].replace(", ", ",").split()
    if len(vectors) != len(sizes) or len(sizes) not in (3, 4) or "data file" in fields:
        raise ValueError("it is no volume in one file")
    if len(sizes) == 4 and vectors[0] != "none":
        raise ValueError("its values do not come first")
    dtype = np.dtype(_NUMPY[fields["type"]])
    if fields.get("endian", sys.byteorder) != sys.byteorder:
        dtype = dtype.newbyteorder()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([_numbers(v) for v in vectors if v != "none"]).T
    matrix[:3, 3] = _numbers(fields["space origin"])
    spaces = {"left-posterior-superior": RAS_TO_LPS, "lps": RAS_TO_LPS}
    spaces |= {"right-anterior-superior": np.eye(4), "ras": np.eye(4)}
    return tuple(reversed(sizes)), dtype, spaces[fields["space"].lower()] @ matrix


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.strip("()").split(",")]


def _fill(file: IO[bytes], array: NDArray[Any], encoding: str) -> Iterator[str]:
    if encoding not in ("raw", "gzip", "gz"):
        raise ValueError(f"its encoding is {encoding or 'not said'}")
    # 31: a gzip header is expected
    unpack = None if encoding == "raw" else zlib.decompressobj(31)
    into = array.reshape(-1).view(np.uint8)
    at, pace = 0, Pace(first=1 << 20, most=1 << 23)
    while at < len(into):
        wanted = min(pace.amount, len(into) - at)
        with pace.step(wanted):
            if unpack is None:
                piece = file.read(wanted)
            else:
                piece = unpack.decompress(unpack.unconsumed_tail or file.read(1 << 18), wanted)
            into[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        if not piece and (unpack is None or unpack.eof or not unpack.unconsumed_tail):
            raise ValueError("it ends too early")
        at += len(piece)
        yield "Reading"
