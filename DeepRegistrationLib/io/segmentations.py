"""Segmentations: label maps in any image format, and Slicer's .seg.nrrd with names, colours and terminology.

The keys of .seg.nrrd (Segment0_Name, Segment0_LabelValue, Segment0_Layer ...) are those of Slicer's
vtkMRMLSegmentationStorageNode.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch

from ..core.errors import InputError
from ..core.image import Image, ImageKind
from .convert import from_sitk, to_sitk
from .images import VOLUME_ENDINGS, described, read_sitk, write_sitk
from .paths import AnyPath, required_ending

_SEGMENT_KEY = re.compile(r"Segment(\d+)_(\w+)$")
_GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class _Segment:
    """One segment of a .seg.nrrd: where its voxels are, and what is said of it.

    label  value in the file's layer;  merged  value in the one label map that `read_segmentation` makes
    """

    name: str
    label: int
    layer: int
    merged: int
    said: Mapping[str, str] = field(default_factory=dict)


def read_segmentation(path: AnyPath) -> Image:
    """A label map (kind LABELS) with the names of its segments where the file has them.

    Segments that overlap, in several layers of a .seg.nrrd, are merged: where two cover a voxel the later
    segment of the file wins. Label values are those of the file unless two segments use the same one; then
    all are counted from 1 in the order of the file.
    Raises InputError as `read_image` does, and for values that are not whole numbers.
    """

    def make() -> Image:
        image = read_sitk(path)
        layers = from_sitk(image, ImageKind.LABELS)
        segments = _segments(image)
        names = {s.merged: s.name for s in segments}
        if segments:
            return Image(_merged(layers.data, segments), layers.grid, ImageKind.LABELS, names)
        if layers.channels > 1:
            raise InputError(
                f"It has {layers.channels} values a voxel, but a label map has one; save it as a label map."
            )
        return layers

    return described(path, make)


def write_segmentation(image: Image, path: AnyPath, like: AnyPath | None = None) -> None:
    """Writes a label map, in the smallest type that holds it, or Slicer's segmentation for .seg.nrrd.

    like  a .seg.nrrd whose colours, terminology and order of segments are taken over, for the label values
          that `read_segmentation` gives it

    Whole or not at all; raises OutputError as `write_image` does.
    """
    required_ending(path, VOLUME_ENDINGS, "segmentation")
    labels = image.data[:1].detach().cpu()
    itk = to_sitk(Image(labels.to(_smallest(labels)), image.grid, ImageKind.LABELS))
    if str(path).lower().endswith(".seg.nrrd"):
        source = _segments(described(like, lambda: read_sitk(like))) if like is not None else []
        for key, value in _header(image, labels[0].numpy(), source).items():
            itk.SetMetaData(key, value)
    # label maps shrink about a hundredfold
    write_sitk(itk, path, compress=True)


def _smallest(labels: torch.Tensor) -> torch.dtype:
    least, most = (int(v) for v in torch.aminmax(labels))
    if least >= 0 and most < 2**8:
        return torch.uint8
    return torch.int16 if max(-least - 1, most) < 2**15 else torch.int32


def _segments(image: sitk.Image) -> list[_Segment]:
    found: dict[int, dict[str, str]] = {}
    for key in image.GetMetaDataKeys():
        match = _SEGMENT_KEY.match(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = image.GetMetaData(key)
    said = [found[number] for number in sorted(found) if "ID" in found[number]]
    # before Slicer 4.11 each segment was a layer of its own with value 1
    places = [(int(s.get("Layer", k)), int(s.get("LabelValue", 1))) for k, s in enumerate(said)]
    labels = [label for _, label in places]
    distinct = len(set(labels)) == len(labels)
    return [
        _Segment(s.get("Name", s["ID"]), label, layer, label if distinct else k + 1, s)
        for k, (s, (layer, label)) in enumerate(zip(said, places, strict=True))
    ]


def _merged(layers: torch.Tensor, segments: Sequence[_Segment]) -> torch.Tensor:
    """(layers, Z, Y, X) -> (1, Z, Y, X)."""
    if layers.shape[0] == 1 and all(s.merged == s.label for s in segments):
        return layers
    small = torch.int16 if max(s.merged for s in segments) < 2**15 else torch.int32
    out = torch.zeros((1, *layers.shape[1:]), dtype=small)
    for s in segments:
        if s.layer >= layers.shape[0]:
            raise InputError(
                f"Segment {s.name!r} is said to be in layer {s.layer}, but there are {layers.shape[0]}."
            )
        out[0][layers[s.layer] == s.label] = s.merged
    return out


def _header(image: Image, labels: np.ndarray, source: Sequence[_Segment]) -> dict[str, str]:
    """The key/value pairs that make Slicer take a label map for a segmentation."""
    known = {s.merged: s for s in source}
    present = set(np.unique(labels).tolist()) - {0}
    order = [s.merged for s in source] + sorted((present | set(image.names)) - set(known) - {0})
    header = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": " ".join(["0"] * labels.ndim),
    }
    for k, value in enumerate(order):
        segment = known.get(value)
        name = image.names.get(value) or (segment.name if segment else f"Segment_{value}")
        said = {
            "ID": f"Segment_{value}",
            "Color": _colour(value),
            "Tags": "|",
            "NameAutoGenerated": "0",
            "ColorAutoGenerated": "0" if segment else "1",
            **(segment.said if segment else {}),
            "Name": name,
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": _extent(labels == value),
        }
        header.update({f"Segment{k}_{key}": text for key, text in said.items()})
    return header


def _extent(mask: np.ndarray) -> str:
    """First and last index along x, y, z; Slicer writes 0 -1 for nothing."""
    bounds = []
    for axis in reversed(range(mask.ndim)):
        other = tuple(a for a in range(mask.ndim) if a != axis)
        there = np.flatnonzero(mask.any(axis=other))
        bounds += [int(there[0]), int(there[-1])] if len(there) else [0, -1]
    return " ".join(map(str, bounds))


def _colour(value: int) -> str:
    # steps of the golden ratio keep the hues of neighbouring labels apart
    r, g, b = colorsys.hsv_to_rgb(value * _GOLDEN % 1.0, 0.6, 0.9)
    return f"{r:.6g} {g:.6g} {b:.6g}"
