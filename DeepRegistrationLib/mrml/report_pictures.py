"""The pictures of a report: what a review shows in the slice views, one overlay after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import slicer

from ..metrics.map_kinds import map_kind
from ..reports.picture import Picture
from . import map_nodes
from .capture import capture_slice, shown_slices
from .comparison import Comparison
from .review_results import ReviewOutputs
from .views import SavedViews

#: way of comparing -> heading in the report
_COMPARISONS = {
    "fade": "Fixed and moved, half each",
    "checkerboard": "Fixed and moved in squares",
    "difference": "Fixed minus moved",
}
#: maps that a report shows where they were measured
_MAPS: Sequence[str] = ("jacobian", "displacement", "uncertainty", "inverse-consistency")
_OPACITY = 0.6


def report_pictures(
    outputs: ReviewOutputs, fixed: slicer.vtkMRMLVolumeNode
) -> Generator[str, None, list[Picture]]:
    """Draw both scans together and every map over the fixed one, in the places that the views show.

    Yields after each picture, so that the application gets its turn; the views are put back at the end, also
    where drawing fails or the generator is closed. No comparison of the user's may be shown meanwhile.
    Raises OutputError where a view cannot be drawn.
    """
    pictures: list[Picture] = []
    saved = SavedViews(fixed.GetScene())
    try:
        if outputs.moved is not None:
            comparison = Comparison(fixed, outputs.moved)
            try:
                for mode, heading in _COMPARISONS.items():
                    comparison.show(mode)
                    yield from _captured(heading, pictures)
            finally:
                comparison.close()
        for map_id in _MAPS:
            node = outputs.maps.get(map_id)
            if node is not None:
                map_nodes.show_map(node, fixed, _OPACITY)
                try:
                    yield from _captured(map_kind(map_id).title, pictures)
                finally:
                    map_nodes.legend(node, False)
    finally:
        saved.restore()
    return pictures


def _captured(heading: str, pictures: list[Picture]) -> Iterator[str]:
    for node in shown_slices():
        yield f"Drawing: {heading}"
        pictures.append(capture_slice(node, group=heading))
