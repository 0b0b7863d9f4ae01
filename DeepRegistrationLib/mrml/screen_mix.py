"""Pictures made of the layers of a slice view, drawn over it pixel by pixel.

Slicer can lay one volume over another, but cannot show them in squares or on two sides of the mouse. The slice
logic has the picture of each layer, with its own window, colours and transform, so a mix of them follows
scrolling, zoom and display settings by itself: it is made anew whenever the view is drawn and a layer changed.

Arrays are (height, width, ...) with the lowest row first, as VTK has them; colours are red, green, blue, alpha.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

Colours = NDArray[np.uint8]


class SliceLayers:
    """The layers of one slice view at the moment: pictures and values, pixel by pixel."""

    def __init__(self, logic: slicer.vtkMRMLSliceLogic) -> None:
        self._logic = logic

    def picture(self, layer: int) -> Colours | None:
        """(H, W, 4) colours as Slicer makes them, alpha 0 where the volume has nothing; None: no volume."""
        image = self._image(layer)
        if image is None:
            return None
        scalars = _pixels(image)
        return None if scalars is None else _four_channels(scalars)

    def values(self, layer: int) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
        """(H, W) values as resampled for the view, and where they are within the volume; None: no volume."""
        logic = self._logic.GetNthLayer(layer)
        if self._image(layer) is None:
            return None
        reslice = logic.GetReslice()
        values = _pixels(reslice.GetOutput())
        stencil = vtk.vtkImageStencilToImage()
        stencil.SetInputConnection(reslice.GetOutputPort(1))
        stencil.SetInsideValue(1)
        stencil.SetOutsideValue(0)
        stencil.SetOutputScalarTypeToUnsignedChar()
        stencil.Update()
        inside = _pixels(stencil.GetOutput())
        if values is None or inside is None or inside.shape[:2] != values.shape[:2]:
            return None
        return values[..., 0], inside[..., 0] > 0

    def state(self) -> Hashable:
        """Changes with anything that the pictures depend on."""
        composite = self._logic.GetSliceCompositeNode()
        images = [self._image(k) for k in range(composite.Layer_Last)]
        return (
            *[(image.GetMTime(), image.GetDimensions()) if image is not None else None for image in images],
            composite.GetLabelOpacity(),
        )

    def put_labels_over(self, picture: Colours) -> None:
        """The label map of the view over `picture`, in place."""
        composite = self._logic.GetSliceCompositeNode()
        labels = self.picture(composite.LayerLabel)
        if labels is None or labels.shape != picture.shape:
            return
        shown = labels[..., 3] > 0
        share = labels[shown, 3:] * (composite.GetLabelOpacity() / 255.0)
        picture[shown, :3] = (1 - share) * picture[shown, :3] + share * labels[shown, :3] + 0.5

    def _image(self, layer: int) -> Any:
        logic = self._logic.GetNthLayer(layer)
        port = logic.GetImageDataConnection() if logic is not None else None
        if port is None:
            return None
        producer = port.GetProducer()
        producer.Update()
        return producer.GetOutputDataObject(port.GetIndex())


class Painter(Protocol):
    """What a ScreenMix draws."""

    def state(self, view: str) -> Hashable:
        """What the picture of a view depends on besides the layers; None: nothing is to be drawn there."""
        ...

    def paint(self, layers: SliceLayers, view: str) -> Colours | None:
        """(H, W, 4) opaque colours, or None where there is nothing to draw."""
        ...


class ScreenMix:
    """What a painter makes of the layers of one slice view, drawn over its picture and under everything else.

    node    the slice view
    props   further things to draw there as long as the mix is there

    `remove` takes everything away again; nothing else does.
    """

    def __init__(self, widget: Any, painter: Painter, props: Sequence[Any] = ()) -> None:
        self._logic = widget.sliceLogic()
        self.view = str(self._logic.GetSliceNode().GetLayoutName())
        self._renderer = slice_renderer(widget)
        self._layers = SliceLayers(self._logic)
        self._painter = painter
        self._state: Hashable = None
        self._pixels: Any = None  # VTK reads the memory of the array
        self._image = vtk.vtkImageData()
        mapper = vtk.vtkImageMapper()
        mapper.SetInputData(self._image)
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        # After the slice, which was there before, and before everything that lies over it.
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._actor.SetVisibility(False)
        self._props = (self._actor, *props)
        for prop in self._props:
            self._renderer.AddViewProp(prop)
        reference = weakref.ref(self)

        def draw(_caller: Any, _event: str) -> None:
            mix = reference()
            if mix is not None:
                mix._draw()

        self._tag: int | None = self._renderer.AddObserver(vtk.vtkCommand.StartEvent, draw)
        self.redraw()

    def redraw(self) -> None:
        """Have the view drawn anew soon."""
        schedule_render(self.view)

    def remove(self) -> None:
        if self._tag is None:
            return
        self._renderer.RemoveObserver(self._tag)
        self._tag = None
        for prop in self._props:
            self._renderer.RemoveViewProp(prop)
        self._pixels = None
        self.redraw()

    def _draw(self) -> None:
        """Called before the view is drawn."""
        wanted = self._painter.state(self.view)
        state = None if wanted is None else (wanted, self._layers.state())
        if state == self._state:
            return
        self._state = state
        colours = self._painter.paint(self._layers, self.view) if state is not None else None
        for prop in self._props:
            prop.SetVisibility(colours is not None)
        if colours is not None:
            self._layers.put_labels_over(colours)
            self._show(colours)

    def _show(self, colours: Colours) -> None:
        height, width = colours.shape[:2]
        self._pixels = np.ascontiguousarray(colours)
        self._image.SetDimensions(width, height, 1)
        self._image.GetPointData().SetScalars(numpy_to_vtk(self._pixels.reshape(-1, 4), deep=False))
        self._image.Modified()


# ---------------------------------------------------------------------- views


def slice_widget(view: str) -> Any:
    """The widget of the slice view of that name; None where it has none, as without a main window."""
    manager = slicer.app.layoutManager()
    return manager.sliceWidget(view) if manager is not None else None


def slice_renderer(widget: Any) -> vtk.vtkRenderer:
    """What the slice itself and the things of the scene are drawn with; above it lies one for notes."""
    renderers = widget.sliceView().renderWindow().GetRenderers()
    every = [renderers.GetItemAsObject(k) for k in range(renderers.GetNumberOfItems())]
    return next((renderer for renderer in every if renderer.GetLayer() == 0), every[0])


def schedule_render(view: str) -> None:
    """Have a slice view drawn anew soon, if it is there."""
    widget = slice_widget(view)
    if widget is not None:
        widget.sliceView().scheduleRender()


# ---------------------------------------------------------------------- arrays


def checkerboard(shape: tuple[int, int], squares: int) -> NDArray[np.bool_]:
    """(H, W) True in every other of the squares, of which `squares` fit along the shorter side.

    The square at the top left corner is False.
    """
    height, width = shape
    side = max(1, -(-min(height, width) // max(1, squares)))
    rows = (np.arange(height)[::-1] // side) % 2 == 1
    columns = (np.arange(width) // side) % 2 == 1
    return np.asarray(rows[:, None] != columns[None, :])


def mix(
    background: Colours | None, foreground: Colours | None, chosen: NDArray[np.bool_]
) -> Colours | None:
    """`foreground` where `chosen`, `background` elsewhere, opaque; black where the one chosen has nothing."""
    if background is None or foreground is None or background.shape != foreground.shape:
        return None
    out = np.where(chosen[..., None], foreground, background)
    out[out[..., 3] == 0] = 0
    out[..., 3] = 255
    return out


def _pixels(image: Any) -> NDArray[Any] | None:
    """(H, W, C) view of an image of one slice; None for several slices, as in a light box, or no values."""
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None:
        return None
    width, height, depth = image.GetDimensions()
    if depth != 1 or scalars.GetNumberOfTuples() != width * height:
        return None
    return vtk_to_numpy(scalars).reshape(height, width, -1)


def _four_channels(pixels: NDArray[Any]) -> Colours | None:
    """Grey or colours, with alpha or without, as (H, W, 4) bytes; None for anything else."""
    count = pixels.shape[2]
    if pixels.dtype != np.uint8 or count > 4:
        return None
    if count == 4:
        return pixels
    out = np.empty((*pixels.shape[:2], 4), np.uint8)
    out[..., :3] = pixels[..., : 3 if count == 3 else 1]
    out[..., 3] = pixels[..., 1] if count == 2 else 255
    return out
