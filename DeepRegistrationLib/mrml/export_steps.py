"""Volumes and segmentations into files for the worker, in steps; what is written is what inputs.py writes.

The nodes are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from ..core.errors import InputError
from .places import Place, is_orthogonal, vtk_matrix
from .segments import BINARY_LABELMAP, SegmentName, segments_of
from .slabs import NrrdFile, Pace, Steps, blocks, write_array
from .volumes import covering_grid, image_matrix, oriented_image, resample, voxels

#: a lattice that fits another one within this part of a voxel is the same lattice
_SAME_LATTICE = 0.01
#: voxels of the first step where nobody knows how slow a transform is
_FIRST_RESAMPLED = 2000


def export_volume(
    node: slicer.vtkMRMLVolumeNode, place: Place, path: Path
) -> Steps[tuple[slicer.vtkOrientedImageData, bool]]:
    """Write the volume where `place` puts it; returns its geometry in the world and whether it had to be
    resampled (see volumes.world_image).
    """
    image = oriented_image(node)
    own = image_matrix(image)
    if place.matrix is not None and is_orthogonal(place.matrix @ own):
        image.SetImageToWorldMatrix(vtk_matrix(place.matrix @ own))
        yield from write_array(voxels(image), path, first_voxel(image))
        return image, False
    grid = covering_grid(image, place)
    yield f"Resampling {node.GetName()}"
    background = yield from _lowest(voxels(image))
    size, pace = grid.GetDimensions(), Pace(first=_FIRST_RESAMPLED)
    with NrrdFile(path, size, voxels(image).dtype, first_voxel(grid)) as file:
        for slices, rows in blocks(size, pace):
            part = _part(grid, slices, rows)
            with pace.step(part.GetNumberOfPoints()):
                file.append(voxels(resample(image, part, place, True, background)))
            yield f"Resampling {node.GetName()}"
    return grid, True


def _lowest(array: NDArray[Any]) -> Steps[float]:
    """The lowest value there is, NaN passed over."""
    lowest, pace = np.inf, Pace()
    for slices, rows in blocks(array.shape[::-1], pace):  # type: ignore[arg-type]
        with pace.step(array[slices, rows].size):
            lowest = min(lowest, float(np.fmin.reduce(array[slices, rows], axis=None)))
        yield "Looking for the background"
    return lowest if np.isfinite(lowest) else 0.0


def first_voxel(image: slicer.vtkOrientedImageData) -> NDArray[np.float64]:
    """4x4 index -> world (RAS) that counts from the first voxel of the image, wherever its extent begins."""
    matrix = image_matrix(image)
    matrix[:3, 3] += matrix[:3, :3] @ np.array(image.GetExtent())[::2]
    return matrix


def _part(grid: slicer.vtkOrientedImageData, slices: slice, rows: slice) -> slicer.vtkOrientedImageData:
    """A block of `grid`, geometry only."""
    e = grid.GetExtent()
    part = slicer.vtkOrientedImageData()
    y, z = e[2], e[4]
    part.SetExtent(e[0], e[1], y + rows.start, y + rows.stop - 1, z + slices.start, z + slices.stop - 1)
    part.SetImageToWorldMatrix(vtk_matrix(image_matrix(grid)))
    return part


# ---------------------------------------------------------------------- segments


def named_segments(node: slicer.vtkMRMLNode, role: str) -> Steps[list[SegmentName]]:
    """What segments.segments_of gives, without keeping the application waiting for a large label map."""
    if node.IsA("vtkMRMLSegmentationNode"):
        return segments_of(node, role)
    found: set[int] = set()
    array = voxels(node.GetImageData()) if node.GetImageData() is not None else np.zeros((0, 0, 0))
    pace = Pace()
    for slices, rows in blocks(array.shape[::-1], pace):  # type: ignore[arg-type]
        piece = array[slices, rows]
        with pace.step(piece.size):
            found |= {int(v) for v in np.unique(piece)}
        yield f"Looking through {node.GetName()}"
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None

    def name(value: int) -> str:
        text = colours.GetColorName(value) if colours is not None else ""
        return text if text and text not in ("(none)", "invalid") else str(value)

    if not found - {0}:
        raise InputError(f"The {role} {node.GetName()!r} holds no segments; draw some, or choose none.")
    return [SegmentName(str(v), name(v), v) for v in sorted(found - {0})]


def export_labels(
    node: slicer.vtkMRMLNode,
    place: Place,
    grid: slicer.vtkOrientedImageData,
    segments: Sequence[SegmentName],
    table: Mapping[str, int],
    path: Path,
    header: Mapping[str, str] | None = None,
) -> Steps[bool]:
    """Write the `segments` of `node` on `grid` (world), numbered by `table`; returns whether any overlap.

    Where segments overlap the later one wins.
    """
    layers = yield from _layers(node, place, grid, segments)
    values = np.array([0, *(table[s.name] for s in segments)])
    values = values.astype(np.uint8 if values.max() < 2**8 else np.int32)
    size, pace, overlap = grid.GetDimensions(), Pace(first=_FIRST_RESAMPLED), False
    readers = [layer.reader(place, grid) for layer in layers]
    with NrrdFile(path, size, values.dtype, first_voxel(grid), header=header) as file:
        for slices, rows in blocks(size, pace):
            with pace.step(size[0] * (rows.stop - rows.start) * (slices.stop - slices.start)):
                # ranks count the segments from 1 in their order, so that the highest is the latest
                ranks = [r for r in (read(slices, rows) for read in readers) if r is not None]
                shape = (slices.stop - slices.start, rows.stop - rows.start, size[0])
                top = ranks[0] if ranks else np.zeros(shape, np.int16)
                for more in ranks[1:]:
                    overlap = overlap or bool(((top != 0) & (more != 0)).any())
                    top = np.maximum(top, more)
                file.append(values[top])
            yield f"Exporting {node.GetName()}"
    return overlap


@dataclass(frozen=True)
class _Layer:
    """Labels that share one array. ranks: label value -> place of its segment in the order, from 1."""

    image: slicer.vtkOrientedImageData
    ranks: Mapping[int, int]

    def reader(self, place: Place, grid: slicer.vtkOrientedImageData) -> Callable[[slice, slice], NDArray[Any] | None]:
        """Gives the ranks of a block of `grid`; None where there are none for sure."""
        array = voxels(self.image)
        ranked = _lookup(self.ranks, array.dtype)
        shift = self._shift(place, grid)
        if shift is None:
            return lambda slices, rows: ranked(
                voxels(resample(self.image, _part(grid, slices, rows), place, linear_interpolation=False))
            )
        dx, dy, dz = shift
        columns = grid.GetDimensions()[0]

        def copied(slices: slice, rows: slice) -> NDArray[Any] | None:
            (z, z_in), (y, y_in) = _shared(slices, dz, array.shape[0]), _shared(rows, dy, array.shape[1])
            x, x_in = _shared(slice(0, columns), dx, array.shape[2])
            if min(z.stop - z.start, y.stop - y.start, x.stop - x.start) <= 0:
                return None
            out = np.zeros((slices.stop - slices.start, rows.stop - rows.start, columns), np.int16)
            out[z, y, x] = ranked(array[z_in, y_in, x_in])
            return out

        return copied

    def _shift(self, place: Place, grid: slicer.vtkOrientedImageData) -> tuple[int, int, int] | None:
        """What turns an index of `grid` into one of the layer where both are the same lattice, else None."""
        if place.matrix is None:
            return None
        between = np.linalg.solve(place.matrix @ first_voxel(self.image), first_voxel(grid))
        drift = np.abs(between[:3, :3] - np.eye(3)).max() * max(grid.GetDimensions())
        shift = np.round(between[:3, 3])
        if drift > _SAME_LATTICE or np.abs(between[:3, 3] - shift).max() > _SAME_LATTICE:
            return None
        return int(shift[0]), int(shift[1]), int(shift[2])


def _shared(asked: slice, shift: int, length: int) -> tuple[slice, slice]:
    """The part of `asked` that an axis of `length` voxels holds: in the block that was asked for, in the axis."""
    first, last = max(asked.start + shift, 0), min(asked.stop + shift, length)
    begin = first - shift - asked.start
    return slice(begin, begin + last - first), slice(first, last)


def _lookup(ranks: Mapping[int, int], dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        # every value that the type knows has its place; negative ones count from the end
        table = np.zeros(256**dtype.itemsize, np.int16)
        limits = np.iinfo(dtype)
        for value, rank in ranks.items():
            if limits.min <= value <= limits.max:
                table[value] = rank
        unsigned = np.dtype(f"u{dtype.itemsize}")
        return lambda labels: table[labels.view(unsigned)]

    def searched(labels: NDArray[Any]) -> NDArray[Any]:
        out = np.zeros(labels.shape, np.int16)
        for value, rank in ranks.items():
            out[labels == value] = rank
        return out

    return searched


def _layers(
    node: slicer.vtkMRMLNode, place: Place, grid: slicer.vtkOrientedImageData, segments: Sequence[SegmentName]
) -> Steps[list[_Layer]]:
    if not node.IsA("vtkMRMLSegmentationNode"):
        return [_Layer(oriented_image(node), {s.value: k for k, s in enumerate(segments, 1)})]
    segmentation = node.GetSegmentation()
    ready = segmentation.ContainsRepresentation(BINARY_LABELMAP)
    shared: dict[str, tuple[slicer.vtkOrientedImageData, dict[int, int]]] = {}
    for k, segment in enumerate(segments, 1):
        source = segmentation
        if not ready:
            source = _converted(node, segment, place, grid)
            yield f"Exporting {node.GetName()}"
        image = source.GetSegmentRepresentation(segment.key, BINARY_LABELMAP)
        if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
            continue
        key = image.GetAddressAsString("")
        _, ranks = shared.setdefault(key, (image, {}))
        ranks[int(source.GetSegment(segment.key).GetLabelValue())] = k
    return [_Layer(image, ranks) for image, ranks in shared.values()]


def _converted(
    node: slicer.vtkMRMLSegmentationNode,
    segment: SegmentName,
    place: Place,
    grid: slicer.vtkOrientedImageData,
) -> slicer.vtkSegmentation:
    """One segment that is known by its surface only, as a label map in a segmentation of its own."""
    source, alone = node.GetSegmentation(), slicer.vtkSegmentation()
    alone.SetSourceRepresentationName(source.GetSourceRepresentationName())
    alone.CopySegmentFromSegmentation(source, segment.key)
    if place.matrix is not None:
        own = slicer.vtkOrientedImageData()
        own.SetExtent(grid.GetExtent())
        matrix = np.asarray(np.linalg.solve(place.matrix, image_matrix(grid)), dtype=np.float64)
        own.SetImageToWorldMatrix(vtk_matrix(matrix))
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        alone.SetConversionParameter(name, slicer.vtkSegmentationConverter.SerializeImageGeometry(own))
    if not alone.CreateRepresentation(BINARY_LABELMAP):
        raise InputError(f"The segment {segment.name!r} of {node.GetName()!r} cannot become a label map; check it.")
    return alone
