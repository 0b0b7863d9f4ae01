"""The nodes of one alignment, and their export into a job folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import slicer

from ..core.errors import InputError
from .landmarks import write_landmarks
from .models import write_models
from .places import Place, earlier_result, is_under, place_of
from .segments import label_image, label_values, segment_header, segments_of
from .transforms import write_transform
from .volumes import check_volume, world_image, write_image

#: what a user calls each input
ROLES = {
    "fixed": "fixed",
    "moving": "moving",
    "fixed_mask": "mask of the fixed volume",
    "moving_mask": "mask of the moving volume",
    "fixed_segmentation": "segmentation of the fixed volume",
    "moving_segmentation": "segmentation of the moving volume",
    "fixed_landmarks": "landmarks of the fixed volume",
    "moving_landmarks": "landmarks of the moving volume",
    "fixed_surfaces": "models of the fixed volume",
    "moving_surfaces": "models of the moving volume",
    "initial_transform": "initial transform",
}

_KINDS = {
    "fixed": ("vtkMRMLScalarVolumeNode",),
    "moving": ("vtkMRMLScalarVolumeNode",),
    "mask": ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"),
    "segmentation": ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"),
    "landmarks": ("vtkMRMLMarkupsNode",),
    "surfaces": ("vtkMRMLModelNode",),
    "transform": ("vtkMRMLTransformNode",),
}


@dataclass(frozen=True)
class InputNodes:
    """What goes into one alignment. Masks and segmentations are segmentation nodes or label maps, landmarks
    are markups, the initial transform is any transform node that would bring moving about onto fixed. Surfaces are
    models, one a structure, with the same name on both sides.
    """

    fixed: slicer.vtkMRMLScalarVolumeNode
    moving: slicer.vtkMRMLScalarVolumeNode
    fixed_mask: slicer.vtkMRMLNode | None = None
    moving_mask: slicer.vtkMRMLNode | None = None
    fixed_segmentation: slicer.vtkMRMLNode | None = None
    moving_segmentation: slicer.vtkMRMLNode | None = None
    fixed_landmarks: slicer.vtkMRMLMarkupsNode | None = None
    moving_landmarks: slicer.vtkMRMLMarkupsNode | None = None
    initial_transform: slicer.vtkMRMLTransformNode | None = None
    fixed_surfaces: tuple[slicer.vtkMRMLModelNode, ...] = ()
    moving_surfaces: tuple[slicer.vtkMRMLModelNode, ...] = ()

    def given(self) -> Iterator[tuple[str, slicer.vtkMRMLNode]]:
        """(name of the input, node); each model by itself."""
        for f in fields(self):
            value = getattr(self, f.name)
            for node in value if isinstance(value, tuple) else (value,):
                if node is not None:
                    yield f.name, node

    def check(self) -> None:
        """Raises InputError where a node is missing, of the wrong kind, empty, or where both volumes are
        the same.
        """
        for side in ("fixed", "moving"):
            if getattr(self, side) is None:
                raise InputError(f"Choose the {side} volume.")
        for name, node in self.given():
            kinds = _KINDS[name.rsplit("_", 1)[-1]]
            if not any(node.IsA(kind) for kind in kinds):
                raise InputError(
                    f"The {ROLES[name]} {node.GetName()!r} is a {_plain(node.GetClassName())}; "
                    f"choose a {' or a '.join(_plain(kind) for kind in kinds)}."
                )
        if self.fixed is self.moving:
            name = self.fixed.GetName()
            raise InputError(f"The fixed and the moving volume are both {name!r}; choose two volumes.")
        check_volume(self.fixed, "fixed")
        check_volume(self.moving, "moving")

    def set_aside(self) -> slicer.vtkMRMLTransformNode | None:
        """The transform that moving lies under but whose effect does not count as where moving lies: the
        initial transform, which would act twice, or an earlier result of this very pair.
        """
        if self.initial_transform is not None and is_under(self.moving, self.initial_transform):
            return self.initial_transform
        return earlier_result(self.fixed, self.moving)

    def alive(self) -> bool:
        """False once fixed or moving has left the scene."""
        return self.fixed.GetScene() is not None and self.moving.GetScene() is not None


def names_in(node: slicer.vtkMRMLNode) -> list[str]:
    """Names of the segments of a segmentation or a label map, whose voxels are all looked at; [] where it is empty."""
    try:
        return [segment.name for segment in segments_of(node, "segmentation")]
    except InputError:
        return []


def segment_names(
    nodes: InputNodes, names_of: Callable[[slicer.vtkMRMLNode], list[str]] = names_in
) -> tuple[str, ...]:
    """Names of the structures that both sides have, by models or else segments; or of the only side that has any."""
    sides = []
    for side in ("fixed", "moving"):
        models, node = getattr(nodes, f"{side}_surfaces"), getattr(nodes, f"{side}_segmentation")
        if models:
            sides.append([model.GetName() for model in models])
        elif node is not None:
            sides.append(names_of(node))
    first, *others = sides or [[]]
    return tuple(dict.fromkeys(name for name in first if all(name in other for other in others)))


def _plain(class_name: str) -> str:
    return class_name.removeprefix("vtkMRML").removesuffix("Node")


@dataclass(frozen=True)
class Exported:
    """What was written: input name -> file name in the folder, the label table, sentences for the user."""

    files: Mapping[str, str]
    labels: Mapping[str, int]
    messages: tuple[str, ...]


def export_inputs(nodes: InputNodes, folder: Path) -> Exported:
    """Write the nodes into `folder`, in world coordinates (LPS), uncompressed. The scene is not touched.

    An earlier result of the very same pair that moving lies under is set aside: the new one starts from
    where moving was before it. Raises InputError for what cannot be aligned.
    """
    nodes.check()
    return _Export(nodes, folder).run()


class _Export:
    def __init__(self, nodes: InputNodes, folder: Path) -> None:
        self._nodes = nodes
        self._folder = folder
        self._files: dict[str, str] = {}
        self._messages: list[str] = []
        self._aside = nodes.set_aside()

    def run(self) -> Exported:
        if self._aside is not None and self._aside is not self._nodes.initial_transform:
            self._messages.append(
                f"The earlier result {self._aside.GetName()!r} was set aside; "
                "to start from it, choose it as initial transform."
            )
        grids = {side: self._volume(side) for side in ("fixed", "moving")}
        table = self._table()
        for side, grid in grids.items():
            self._mask(f"{side}_mask", grid)
            self._segmentation(f"{side}_segmentation", grid, table)
            self._landmarks(f"{side}_landmarks")
            self._surfaces(f"{side}_surfaces")
        initial = self._nodes.initial_transform
        if initial is not None:
            self._files["initial_transform"] = write_transform(
                initial, self._folder, "initial_transform", grids["fixed"]
            ).name
        return Exported(self._files, table, tuple(self._messages))

    def _place(self, node: slicer.vtkMRMLTransformableNode) -> Place:
        return place_of(node, self._aside)

    def _volume(self, side: str) -> slicer.vtkOrientedImageData:
        node = getattr(self._nodes, side)
        image, resampled = world_image(node, self._place(node), linear_interpolation=True)
        if resampled:
            self._messages.append(
                f"The {side} volume {node.GetName()!r} lies under a transform that bends or shears it; "
                "it was resampled before the alignment."
            )
        write_image(image, self._folder / f"{side}.nrrd")
        self._files[side] = f"{side}.nrrd"
        return image

    def _table(self) -> dict[str, int]:
        given = (self._nodes.moving_segmentation, self._nodes.fixed_segmentation)
        return label_values(*(segments_of(n, "segmentation") for n in given if n is not None))

    def _mask(self, name: str, grid: slicer.vtkOrientedImageData) -> None:
        node = getattr(self._nodes, name)
        if node is None:
            return
        table = {s.name: 1 for s in segments_of(node, ROLES[name])}
        labels, _ = label_image(node, self._place(node), grid, table, ROLES[name])
        write_image(grid, self._folder / f"{name}.nrrd", (labels != 0).astype(np.uint8))
        self._files[name] = f"{name}.nrrd"

    def _segmentation(self, name: str, grid: slicer.vtkOrientedImageData, table: Mapping[str, int]) -> None:
        node = getattr(self._nodes, name)
        if node is None:
            return
        labels, overlap = label_image(node, self._place(node), grid, table, ROLES[name])
        if overlap:
            self._messages.append(f"Where segments of {node.GetName()!r} overlap, the later one counts.")
        header = segment_header(table, [s.name for s in segments_of(node, ROLES[name])])
        write_image(grid, self._folder / f"{name}.seg.nrrd", labels, header)
        self._files[name] = f"{name}.seg.nrrd"

    def _landmarks(self, name: str) -> None:
        node = getattr(self._nodes, name)
        if node is None:
            return
        write_landmarks(node, self._place(node), self._folder / f"{name}.mrk.json", ROLES[name])
        self._files[name] = f"{name}.mrk.json"

    def _surfaces(self, name: str) -> None:
        models = getattr(self._nodes, name)
        if models:
            places = [(model, self._place(model)) for model in models]
            write_models(places, self._folder / f"{name}.ply", ROLES[name])
            self._files[name] = f"{name}.ply"
