"""The nodes of one review, and their export into a job folder in steps that never keep the application waiting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import slicer

from ..core.errors import InputError
from ..jobs import JobFolder
from .export_steps import export_labels, export_volume, named_segments
from .inputs import ROLES, Exported, InputNodes
from .landmarks import write_landmarks
from .node_maps import map_of, write_map
from .places import METHOD_ATTRIBUTE, Place, place_of
from .results import PROVENANCE_ATTRIBUTE
from .segments import SegmentName, label_values, segment_header
from .slabs import Steps
from .volumes import check_volume

_SHARED = (
    "fixed",
    "moving",
    "fixed_mask",
    "fixed_segmentation",
    "moving_segmentation",
    "fixed_landmarks",
    "moving_landmarks",
)


@dataclass(frozen=True)
class ReviewNodes:
    """What is reviewed: a transform that maps fixed points to moving points in its *from parent*, and what
    it aligns. Masks and segmentations are segmentation nodes or label maps, landmarks are markups.

    inverse      a transform the other way, moving points to fixed points in its *from parent*
    uncertainty  a volume of millimetres that the method has made of its own uncertainty
    use_inverse  the transforms map the other way round, in their *to parent*
    """

    transform: slicer.vtkMRMLTransformNode
    fixed: slicer.vtkMRMLScalarVolumeNode
    moving: slicer.vtkMRMLScalarVolumeNode
    inverse: slicer.vtkMRMLTransformNode | None = None
    fixed_mask: slicer.vtkMRMLNode | None = None
    fixed_segmentation: slicer.vtkMRMLNode | None = None
    moving_segmentation: slicer.vtkMRMLNode | None = None
    fixed_landmarks: slicer.vtkMRMLMarkupsNode | None = None
    moving_landmarks: slicer.vtkMRMLMarkupsNode | None = None
    use_inverse: bool = False
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None

    def replaced(self, **chosen: Any) -> ReviewNodes:
        """The same with some fields as `chosen`. Raises InputError for a name that there is not."""
        known = list(self.__dataclass_fields__)
        for name in chosen:
            if name not in known:
                raise InputError(f"A review has no {name!r}; it has {', '.join(known)}.")
        return replace(self, **chosen)

    def check(self) -> None:
        """Raises InputError for the first thing that keeps this from being reviewed."""
        for role, node in (("transform", self.transform), ("inverse transform", self.inverse)):
            if node is None:
                if role == "transform":
                    raise InputError("Choose the transform to be reviewed.")
            elif not node.IsA("vtkMRMLTransformNode"):
                raise InputError(f"The {role} {node.GetName()!r} is no transform; choose one.")
            else:
                map_of(node, self.use_inverse)
        InputNodes(**{name: getattr(self, name) for name in _SHARED}).check()
        if self.uncertainty is not None:
            check_volume(self.uncertainty, "uncertainty")
        counts = [
            None if markups is None else placed_points(markups)
            for markups in (self.fixed_landmarks, self.moving_landmarks)
        ]
        if counts[0] != counts[1]:
            said = ["no" if n is None else str(n) for n in counts]
            raise InputError(
                f"There are {said[0]} fixed landmarks but {said[1]} moving landmarks; "
                "give both lists, point by point, or neither."
            )

    def alive(self) -> bool:
        """False once the transform, fixed or moving has left the scene."""
        return all(node.GetScene() is not None for node in (self.transform, self.fixed, self.moving))


def placed_points(markups: slicer.vtkMRMLMarkupsNode) -> int:
    """How many control points have a position."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    return sum(
        markups.GetNthControlPointPositionStatus(k) == defined for k in range(markups.GetNumberOfControlPoints())
    )


def review_nodes_of(transform: slicer.vtkMRMLTransformNode) -> ReviewNodes:
    """The nodes that a result of this extension names on its transform; None where it names none (any other
    transform node).
    """
    found: dict[str, Any] = {name: transform.GetNodeReference(f"DeepRegistration.{name}") for name in _SHARED}
    for name in ("inverse", "uncertainty"):
        found[name] = transform.GetNodeReference(f"DeepRegistration.output.{name}")
    return ReviewNodes(transform, **found)


def export_review(
    nodes: ReviewNodes,
    folder: JobFolder,
    *,
    maps: Iterable[str] | None = None,
    ensemble: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Steps[Exported]:
    """Write the job of a review into `folder`: everything in world coordinates (LPS), then problem.json.

    A generator of short steps that yields a word on each and returns what was written. Moving, and whatever
    else lies under the reviewed transform, is taken where it is before that transform acts. The scene is not
    touched. Raises InputError for what cannot be reviewed and OutputError where it cannot be written.
    """
    nodes.check()
    yield "Writing the volumes"
    exported = yield from _Export(nodes, folder.path).run()
    folder.write_problem(
        {
            "task": "review",
            "inputs": dict(exported.files),
            "maps": None if maps is None else list(maps),
            "ensemble": None if ensemble is None else dict(ensemble),
            "device": device,
            "threads": threads,
            "provenance": _provenance(nodes.transform),
        }
    )
    return exported


def _provenance(transform: slicer.vtkMRMLTransformNode) -> dict[str, Any]:
    if not transform.GetAttribute(METHOD_ATTRIBUTE):
        return {}
    found: dict[str, Any] = json.loads(transform.GetAttribute(PROVENANCE_ATTRIBUTE) or "{}")
    return found


class _Export:
    def __init__(self, nodes: ReviewNodes, folder: Path) -> None:
        self._nodes = nodes
        self._folder = folder
        self._files: dict[str, str] = {}
        self._messages: list[str] = []

    def run(self) -> Steps[Exported]:
        nodes = self._nodes
        grids = {}
        for side in ("fixed", "moving"):
            grids[side] = yield from self._volume(side)
        for name, node, side in (
            ("transform", nodes.transform, "fixed"),
            ("inverse", nodes.inverse, "moving"),
        ):
            if node is not None:
                self._files[name] = yield from write_map(node, self._folder, name, grids[side], nodes.use_inverse)
        named: dict[str, list[SegmentName]] = {}
        for field in fields(nodes):
            node = getattr(nodes, field.name)
            if node is not None and field.name.endswith(("mask", "segmentation")):
                named[field.name] = yield from named_segments(node, ROLES[field.name])
        order = ("moving_segmentation", "fixed_segmentation")
        table = label_values(*(named[name] for name in order if name in named))
        for name, segments in named.items():
            yield from self._labels(name, segments, grids[name.split("_")[0]], table)
        for name in ("fixed_landmarks", "moving_landmarks"):
            self._landmarks(name)
        if nodes.uncertainty is not None:
            yield from self._volume("uncertainty")
        return Exported(self._files, table, tuple(self._messages))

    def _place(self, node: slicer.vtkMRMLTransformableNode) -> Place:
        return place_of(node, self._nodes.transform)

    def _volume(self, name: str) -> Steps[slicer.vtkOrientedImageData]:
        node = getattr(self._nodes, name)
        path = self._folder / f"{name}.nrrd"
        grid, resampled = yield from export_volume(node, self._place(node), path)
        if resampled:
            self._messages.append(
                f"The {name} volume {node.GetName()!r} lies under a transform that bends or shears it; "
                "it was resampled for the review."
            )
        self._files[name] = path.name
        return grid

    def _labels(
        self,
        name: str,
        segments: list[SegmentName],
        grid: slicer.vtkOrientedImageData,
        table: Mapping[str, int],
    ) -> Steps[None]:
        node = getattr(self._nodes, name)
        is_mask = name.endswith("mask")
        path = self._folder / (f"{name}.nrrd" if is_mask else f"{name}.seg.nrrd")
        values = {s.name: 1 for s in segments} if is_mask else table
        header = None if is_mask else segment_header(table, [s.name for s in segments])
        overlap = yield from export_labels(node, self._place(node), grid, segments, values, path, header)
        if overlap and not is_mask:
            self._messages.append(f"Where segments of {node.GetName()!r} overlap, the later one counts.")
        self._files[name] = path.name

    def _landmarks(self, name: str) -> None:
        node = getattr(self._nodes, name)
        if node is None:
            return
        write_landmarks(node, self._place(node), self._folder / f"{name}.mrk.json", ROLES[name])
        self._files[name] = f"{name}.mrk.json"
