"""Pictures of the slice views as they are on the screen, in memory."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core.errors import OutputError
from ..reports.picture import Picture
from .kept import nodes_of
from .screen_mix import slice_widget


def capture_slices(title: str = "", caption: str = "", group: str = "") -> list[Picture]:
    """`capture_slice` of each slice view of the present layout; empty where it has none."""
    return [capture_slice(node, title, caption, group) for node in shown_slices()]


def capture_slice(
    node: slicer.vtkMRMLSliceNode, title: str = "", caption: str = "", group: str = ""
) -> Picture:
    """A slice view that is on the screen (see `shown_slices`), drawn anew, with everything that lies over the slice.

    title     put before the direction of the slice: "Fade, axial"
    caption   put before the place of the slice: "At 12.5 mm"
    group     heading under which pictures stand together in a report

    Raises OutputError where the view cannot be drawn.
    """
    widget = slice_widget(str(node.GetLayoutName()))
    direction = str(node.GetOrientation())
    if direction not in ("Axial", "Sagittal", "Coronal"):
        direction = "Oblique"
    return Picture(
        title=f"{title}, {direction.lower()}" if title else direction,
        png=capture_view(widget.sliceView()),
        caption=f"{caption} At {node.GetSliceOffset():.1f} mm".strip(),
        group=group,
    )


def shown_slices() -> list[slicer.vtkMRMLSliceNode]:
    """The slice views that the present layout shows."""
    return [
        node
        for node in nodes_of(slicer.mrmlScene, "vtkMRMLSliceNode")
        if node.IsMappedInLayout() and slice_widget(str(node.GetLayoutName())) is not None
    ]


def capture_view(view: Any) -> bytes:
    """A slice view or a 3-D view as a PNG file, as Slicer's module Screen Capture takes it."""
    view.forceRender()
    window = vtk.vtkWindowToImageFilter()
    window.SetInput(view.renderWindow())
    window.Update()
    image = window.GetOutput()
    if image.GetNumberOfPoints() == 0:
        raise OutputError("A view could not be drawn; make the window larger so that every view is seen.")
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image)
    writer.WriteToMemoryOn()
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()
