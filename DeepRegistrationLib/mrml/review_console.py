"""Reviewing a transform node from the console: waits for the worker and gives back what it added to the scene."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import slicer

from ..core.progress import ProgressReport
from ..jobs import JobFolder, blocking
from .review_inputs import export_review, review_nodes_of
from .review_results import ReviewOutputs, load_review


def review_node(
    transform: slicer.vtkMRMLTransformNode,
    *,
    ensemble: Mapping[str, Any] | None = None,
    progress: Callable[[ProgressReport], None] | None = None,
    **chosen: Any,
) -> ReviewOutputs:
    """Measure `transform` and put maps, tables and plots into the scene.

    chosen    fields of ReviewNodes (fixed, moving, fixed_segmentation ...); a result of this extension fills in
              those that are not given
    ensemble  see jobs.review; None: no estimate of uncertainty

    Raises InputError for what cannot be reviewed; the scene is then as it was.
    """
    nodes = review_nodes_of(transform).replaced(**{k: v for k, v in chosen.items() if v is not None})
    nodes.check()
    folder = JobFolder.create()
    try:
        exported = _finished(export_review(nodes, folder, maps=None, ensemble=ensemble))
        event = blocking.wait(blocking.shared_runner().submit(folder), progress)
        outputs: ReviewOutputs = _finished(load_review(nodes, event.data, exported.labels, exported.messages))
        return outputs
    finally:
        folder.remove()


def _finished(work: Generator[str, None, Any]) -> Any:
    """What a generator returns, all its steps done."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
