"""From a parameter node to a running job."""

from __future__ import annotations

import json
from typing import Any

from ..jobs import RunningJob, blocking
from ..mrml.inputs import InputNodes
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
    )


def start(parameters: Any) -> tuple[Order, RunningJob]:
    """Write the job folder and hand it to the worker. Raises InputError for what cannot be aligned."""
    order = write_order(
        input_nodes(parameters),
        known_method(parameters.method).id,
        preset=parameters.preset or None,
        values=json.loads(parameters.values or "{}"),
        device=parameters.device,
    )
    return order, blocking.shared_runner().submit(order.folder)
