"""Segmentation nodes and label maps as label images with names, and label images back as segmentation
nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from ..core.errors import InputError
from .places import Place, vtk_matrix
from .volumes import image_from, image_matrix, resample, voxels, world_image

BINARY_LABELMAP = "Binary labelmap"


@dataclass(frozen=True)
class SegmentName:
    """One structure of a node: `key` is the segment ID, or the label value as text; `value` the label it
    has there.
    """

    key: str
    name: str
    value: int


def segments_of(node: slicer.vtkMRMLNode, role: str) -> list[SegmentName]:
    """The structures of a segmentation node or a label map. Raises InputError where there are none."""
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        found = []
        for k in range(segmentation.GetNumberOfSegments()):
            key = segmentation.GetNthSegmentID(k)
            found.append(SegmentName(key, segmentation.GetSegment(key).GetName() or key, k + 1))
    else:
        found = _labels_of(node)
    if not found:
        raise InputError(f"The {role} {node.GetName()!r} holds no segments; draw some, or choose none.")
    return found


def _labels_of(node: slicer.vtkMRMLLabelMapVolumeNode) -> list[SegmentName]:
    if node.GetImageData() is None:
        return []
    values = [int(v) for v in np.unique(voxels(node.GetImageData())) if v != 0]
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None

    def name(value: int) -> str:
        text = colours.GetColorName(value) if colours is not None else ""
        return text if text and text not in ("(none)", "invalid") else str(value)

    return [SegmentName(str(v), name(v), v) for v in values]


def label_values(*sides: Sequence[SegmentName]) -> dict[str, int]:
    """One label value per name, the same on every side, so that the same structure has the same number.

    The first side keeps its values; names that only a later side has keep theirs where it is free.
    """
    table: dict[str, int] = {}
    for side in sides:
        for segment in side:
            if segment.name in table:
                continue
            taken = set(table.values())
            free = segment.value if segment.value not in taken else max(taken) + 1
            table[segment.name] = free
    return table


def label_image(
    node: slicer.vtkMRMLNode,
    place: Place,
    grid: slicer.vtkOrientedImageData,
    table: Mapping[str, int],
    role: str,
) -> tuple[NDArray[Any], bool]:
    """((Z, Y, X) labels of `node` on `grid` (world), numbered by `table`; whether segments overlap).

    Where segments overlap the later one wins.
    """
    segments = segments_of(node, role)
    if node.IsA("vtkMRMLSegmentationNode"):
        return _merged(node, place, grid, [(s.key, table[s.name]) for s in segments], role)
    image, _ = world_image(node, place, linear_interpolation=False)
    if not _same_grid(image, grid):
        image = resample(image, grid, Place(np.eye(4), vtk.vtkTransform()), linear_interpolation=False)
    source = voxels(image)
    out = np.zeros(source.shape, dtype=np.int16)
    for segment in segments:
        out[source == segment.value] = table[segment.name]
    return out, False


def _merged(
    node: slicer.vtkMRMLSegmentationNode,
    place: Place,
    grid: slicer.vtkOrientedImageData,
    order: Sequence[tuple[str, int]],
    role: str,
) -> tuple[NDArray[Any], bool]:
    # on a copy: making the label map of a segmentation that has only surfaces would change the node
    copy = slicer.vtkMRMLSegmentationNode()
    segmentation = slicer.vtkSegmentation()
    segmentation.DeepCopy(node.GetSegmentation())
    copy.SetAndObserveSegmentation(segmentation)
    own_grid = _grid_in(place.matrix, grid) if place.matrix is not None else None
    if own_grid is not None:
        geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(own_grid)
        name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        segmentation.SetConversionParameter(name, geometry)
    if not segmentation.CreateRepresentation(BINARY_LABELMAP):
        raise InputError(f"The {role} {node.GetName()!r} cannot become a label map; check its segments.")
    merged = _merge(copy, own_grid, order, role)
    overlap = False
    if segmentation.GetNumberOfLayers() > 1:  # segments of one layer cannot overlap
        backwards = _merge(copy, own_grid, list(reversed(order)), role)
        overlap = bool((voxels(merged) != voxels(backwards)).any())
    if own_grid is None:
        merged = resample(merged, grid, place, linear_interpolation=False)
    return voxels(merged), overlap


def _merge(
    node: slicer.vtkMRMLSegmentationNode,
    grid: slicer.vtkOrientedImageData | None,
    order: Sequence[tuple[str, int]],
    role: str,
) -> slicer.vtkOrientedImageData:
    """(segment ID, label) painted one after the other, in the coordinates of the node."""
    keys, labels = vtk.vtkStringArray(), vtk.vtkIntArray()
    for key, value in order:
        keys.InsertNextValue(key)
        labels.InsertNextValue(value)
    merged = slicer.vtkOrientedImageData()
    mode = slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS_PADDED
    if not node.GenerateMergedLabelmapForAllSegments(merged, mode, grid, keys, labels):
        raise InputError(f"The segments of the {role} cannot be merged into one label map; check them.")
    return merged


def _grid_in(place: NDArray[np.float64], grid: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    """`grid` of the world in the coordinates of a node that lies at `place`."""
    out = slicer.vtkOrientedImageData()
    out.SetExtent(grid.GetExtent())
    out.SetImageToWorldMatrix(
        vtk_matrix(np.asarray(np.linalg.solve(place, image_matrix(grid)), dtype=np.float64))
    )
    return out


def _same_grid(a: slicer.vtkOrientedImageData, b: slicer.vtkOrientedImageData) -> bool:
    compare = slicer.vtkOrientedImageDataResample
    return bool(compare.DoGeometriesMatch(a, b) and compare.DoExtentsMatch(a, b))


def segment_header(table: Mapping[str, int], used: Sequence[str]) -> dict[str, str]:
    """The key/value pairs by which a .seg.nrrd file names its labels (one shared layer)."""
    header: dict[str, str] = {}
    for k, name in enumerate(used):
        header[f"Segment{k}_ID"] = f"Segment_{table[name]}"
        header[f"Segment{k}_Name"] = name
        header[f"Segment{k}_LabelValue"] = str(table[name])
        header[f"Segment{k}_Layer"] = "0"
    return header


# ---------------------------------------------------------------------- back into a node


def fill_segmentation(
    node: slicer.vtkMRMLSegmentationNode,
    source: slicer.vtkMRMLNode,
    labels: NDArray[Any],
    matrix: NDArray[np.float64],
    table: Mapping[str, int],
) -> None:
    """Put (Z, Y, X) `labels` on the grid `matrix` into `node`, each with the name, colour and terminology
    it has in `source` (a segmentation node or a label map).
    """
    image = image_from(labels.astype(np.int16), matrix)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    for known in segments_of(source, "segmentation"):
        segment = slicer.vtkSegment()
        if source.IsA("vtkMRMLSegmentationNode"):
            segment.DeepCopyMetadata(source.GetSegmentation().GetSegment(known.key))
        else:
            segment.SetName(known.name)
            segment.SetColor(_label_colour(source, known.value))
        segment.SetLabelValue(table[known.name])
        segment.AddRepresentation(BINARY_LABELMAP, image)
        segmentation.AddSegment(segment, known.key if source.IsA("vtkMRMLSegmentationNode") else known.name)
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(image)
    segmentation.SetConversionParameter(name, geometry)


def _label_colour(node: slicer.vtkMRMLLabelMapVolumeNode, value: int) -> tuple[float, float, float]:
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    rgba = [0.5, 0.5, 0.5, 1.0]
    if colours is not None:
        colours.GetColor(value, rgba)
    return (rgba[0], rgba[1], rgba[2])
