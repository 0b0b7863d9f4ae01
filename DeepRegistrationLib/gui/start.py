"""From a parameter node to a running job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..core.segment_settings import SegmentMatrix, only_known
from ..core.spec import MethodSpec, parameters_of
from ..jobs import RunningJob, blocking
from ..mrml.inputs import InputNodes, names_in, segment_names
from ..mrml.order import Order, write_order
from .choices import known_method


def input_nodes(parameters: Any) -> InputNodes:
    """The nodes that a parameter node names."""
    return InputNodes(
        fixed=parameters.fixed,
        moving=parameters.moving,
        fixed_mask=parameters.fixedMask,
        moving_mask=parameters.movingMask,
        fixed_segmentation=parameters.fixedSegmentation,
        moving_segmentation=parameters.movingSegmentation,
        fixed_landmarks=parameters.fixedLandmarks,
        moving_landmarks=parameters.movingLandmarks,
        initial_transform=parameters.initialTransform,
        fixed_surfaces=tuple(node for node in parameters.fixedModels if node is not None),
        moving_surfaces=tuple(node for node in parameters.movingModels if node is not None),
    )


class SegmentNames:
    """The segments that settings of a method can be made for. The voxels of a label map are looked at only once, as
    long as they stay the same."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}

    def of(self, nodes: InputNodes, spec: MethodSpec) -> tuple[str, ...]:
        """None where the method has no such settings."""
        if not any(p.segments for p in parameters_of(spec.parameters)):
            return ()
        return segment_names(nodes, self._names_in)

    def _names_in(self, node: Any) -> list[str]:
        if not node.IsA("vtkMRMLLabelMapVolumeNode") or node.GetImageData() is None:
            return names_in(node)
        # voxels that are written anew may change the time of any of the three
        image = node.GetImageData()
        scalars = image.GetPointData().GetScalars()
        time = max(node.GetMTime(), image.GetMTime(), 0 if scalars is None else scalars.GetMTime())
        if self._found.get(node.GetID(), (None,))[0] != time:
            # one for each side is enough
            others = [item for item in self._found.items() if item[0] != node.GetID()]
            self._found = dict([(node.GetID(), (time, names_in(node))), *others[:1]])
        return self._found[node.GetID()][1]


def _for_segments(values: Mapping[str, Any], nodes: InputNodes, spec: MethodSpec) -> dict[str, Any]:
    """The values without what was set for segments that are not there any more."""
    kept = dict(values)
    for parameter in parameters_of(spec.parameters):
        if parameter.segments is not None and kept.get(parameter.name) is not None:
            pairs = isinstance(parameter.segments, SegmentMatrix)
            settings = parameter.parse(kept[parameter.name])
            kept[parameter.name] = only_known(settings, segment_names(nodes), pairs=pairs)
    return kept


def start(parameters: Any) -> tuple[Order, RunningJob]:
    """Write the job folder and hand it to the worker. Raises InputError for what cannot be aligned."""
    nodes, spec = input_nodes(parameters), known_method(parameters.method)
    order = write_order(
        nodes,
        spec.id,
        preset=parameters.preset or None,
        values=_for_segments(json.loads(parameters.values or "{}"), nodes, spec),
        device=parameters.device,
    )
    return order, blocking.shared_runner().submit(order.folder)
