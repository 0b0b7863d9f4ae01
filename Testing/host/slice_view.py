"""Slice views: Slicer's slice logic and displayable managers, shown by a Qt widget."""

from __future__ import annotations

import weakref
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from shiboken6 import isValid

from . import displayable_managers
from .mrml_widgets import qMRMLSliderWidget, qMRMLWidget
from .render_view import ctkVTKAbstractView
from .widget_properties import qt_property


class qMRMLSliceView(ctkVTKAbstractView):
    """The picture of one slice."""

    def __init__(self, logic: Any, application_logic: Any) -> None:
        super().__init__()
        self._logic = logic
        style = vtk.vtkInteractorStyleUser()
        self._interactor.SetInteractorStyle(style)
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        mapper.SetInputConnection(logic.GetImageDataConnection())
        self._mapper = mapper
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        # Behind everything that displayable managers draw.
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(self._actor)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self._managers = displayable_managers.group(
            factory, displayable_managers.SLICE, self._renderer, application_logic
        )
        self._managers.SetMRMLDisplayableNode(logic.GetSliceNode())
        self._observer = slicer.vtkMRMLSliceViewInteractorStyle()
        self._observer.SetSliceLogic(logic)
        self._observer.SetDisplayableManagers(self._managers)
        self._observer.SetInteractor(self._interactor)
        self.setMouseTracking(True)
        schedule = _relay(self, "scheduleRender")
        self._managers.AddObserver(vtk.vtkCommand.UpdateEvent, schedule)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, schedule)

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def interactorObserver(self) -> Any:
        return self._observer

    def mouseMoveEvent(self, event: Any) -> None:
        ratio = self.devicePixelRatioF()
        x, y = round(event.position().x() * ratio), round(event.position().y() * ratio)
        # VTK counts from the bottom.
        self._interactor.SetEventInformation(x, self._device_size()[1] - 1 - y, 0, 0)
        self._interactor.InvokeEvent(vtk.vtkCommand.MouseMoveEvent)

    def enterEvent(self, event: Any) -> None:
        self._interactor.InvokeEvent(vtk.vtkCommand.EnterEvent)

    def leaveEvent(self, event: Any) -> None:
        self._interactor.InvokeEvent(vtk.vtkCommand.LeaveEvent)

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._managers.GetDisplayableManagerByClassName(name)

    def getDisplayableManagers(self, collection: Any) -> None:
        for index in range(self._managers.GetDisplayableManagerCount()):
            collection.AddItem(self._managers.GetNthDisplayableManager(index))

    def _resized(self, width: int, height: int) -> None:
        dimensions = self._logic.GetSliceNode().GetDimensions()
        if tuple(dimensions[:2]) != (width, height):
            self._logic.ResizeSliceNode(width, height)

    def _render(self) -> None:
        has_image = self._logic.GetImageDataConnection() is not None
        self._actor.SetVisibility(has_image)
        if has_image:
            self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        self._annotation.SetText(0, _layers_text(self._logic.GetSliceCompositeNode()))
        super()._render()


def _layers_text(composite: Any) -> str:
    """What Slicer's data probe writes into the corner: the names of the layers."""
    if composite is None:
        return ""
    layers = (
        ("L", composite.GetLabelVolumeID(), composite.GetLabelOpacity()),
        ("F", composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()),
        ("B", composite.GetBackgroundVolumeID(), 1.0),
    )
    lines = []
    for letter, node_id, opacity in layers:
        node = slicer.mrmlScene.GetNodeByID(node_id) if node_id else None
        if node is not None and opacity > 0:
            share = f" ({round(100 * opacity)}%)" if opacity < 1 else ""
            lines.append(f"{letter}: {node.GetName()}{share}")
    return "\n".join(lines)


def _relay(widget: Any, method: str) -> Any:
    """An observer that neither keeps the widget alive nor calls it after its end."""
    reference = weakref.ref(widget)

    def relay(caller: Any, event: str) -> None:
        target = reference()
        if target is not None and isValid(target):
            getattr(target, method)()

    return relay


class qMRMLSliceControllerWidget(qMRMLWidget):
    """The coloured bar above a slice view, with the slider of the slice offset."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic, self._busy = logic, False
        node = logic.GetSliceNode()
        color = QtGui.QColor.fromRgbF(*node.GetLayoutColor())
        self._label = QtWidgets.QLabel(node.GetLayoutLabel())
        self._label.alignment = int(QtCore.Qt.AlignmentFlag.AlignCenter.value)
        self._label.setFixedWidth(22)
        self._slider = qMRMLSliderWidget()
        self._slider.suffix = " mm"
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 4, 0)
        layout.setSpacing(4)
        layout.addWidget(self._label)
        layout.addWidget(self._slider)
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_StyledBackground, True)
        self.objectName = "SliceController"
        self.styleSheet = (
            f"#SliceController {{ background: {color.name()}; }}"
            f"QLabel {{ color: black; font-weight: bold; background: {color.name()}; }}"
        )
        self._slider.valueChanged.connect(self.setSliceOffsetValue)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, _relay(self, "_follow"))
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, _relay(self, "_follow"))

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceOffsetSlider(self) -> Any:
        return self._slider

    def setSliceOffsetValue(self, offset: float) -> None:
        if not self._busy:
            # As an interaction, which views that are linked follow.
            self._logic.StartSliceOffsetInteraction()
            self._logic.SetSliceOffset(offset)
            self._logic.EndSliceOffsetInteraction()

    def fitSliceToBackground(self) -> None:
        self._logic.StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.ResetFieldOfViewFlag)
        self._logic.FitSliceToBackground()
        self._logic.EndSliceNodeInteraction()
        self._logic.SnapSliceOffsetToIJK()

    def setSliceOrientation(self, orientation: str) -> None:
        self._logic.GetSliceNode().SetOrientation(orientation)

    def setSliceLink(self, linked: bool) -> None:
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            composite.SetLinkedControl(linked)

    def setForegroundOpacity(self, opacity: float) -> None:
        self._logic.GetSliceCompositeNode().SetForegroundOpacity(opacity)

    def _follow(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            bounds = [0.0] * 6
            self._logic.GetSliceBounds(bounds)
            if bounds[4] <= bounds[5]:
                self._slider.setRange(bounds[4], bounds[5])
            self._slider.setValue(self._logic.GetSliceOffset())
        finally:
            self._busy = False


class qMRMLSliceWidget(qMRMLWidget):
    """Controller bar and picture of one slice view."""

    def __init__(self, logic: Any, application_logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self._controller = qMRMLSliceControllerWidget(logic)
        self._view = qMRMLSliceView(logic, application_logic)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._view, 1)

    sliceOrientation = qt_property(
        str,
        lambda self: self._logic.GetSliceNode().GetOrientation(),
        lambda self, value: self._logic.GetSliceNode().SetOrientation(value),
    )
    sliceViewName = qt_property(str, lambda self: self._logic.GetSliceNode().GetLayoutName())

    def sliceLogic(self) -> Any:
        return self._logic

    def sliceView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._controller

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._controller.fitSliceToBackground()
