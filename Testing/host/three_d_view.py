"""The 3-D view."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from . import displayable_managers
from .mrml_widgets import qMRMLWidget
from .render_view import ctkVTKAbstractView
from .slice_view import _relay


class qMRMLThreeDView(ctkVTKAbstractView):
    """The picture of the scene in space."""

    def __init__(self, node: Any, application_logic: Any) -> None:
        super().__init__()
        self._node = node
        self._renderer.GradientBackgroundOn()
        self._renderer.UseFXAAOn()
        self._follow()
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleTrackballCamera())
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self._managers = displayable_managers.group(
            factory, displayable_managers.THREE_D, self._renderer, application_logic
        )
        self._managers.SetMRMLDisplayableNode(node)
        self._managers.AddObserver(vtk.vtkCommand.UpdateEvent, _relay(self, "scheduleRender"))
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, _relay(self, "_follow"))

    def _follow(self) -> None:
        # The node's first colour is the lower one, as VTK's is.
        self._renderer.SetBackground(*self._node.GetBackgroundColor())
        self._renderer.SetBackground2(*self._node.GetBackgroundColor2())
        self.scheduleRender()

    def mrmlViewNode(self) -> Any:
        return self._node

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._managers.GetDisplayableManagerByClassName(name)

    def cameraNode(self) -> Any:
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def resetFocalPoint(self) -> None:
        # The box and its letters must not count as contents; afterwards they are fitted to these.
        node = self._node
        box, letters = node.GetBoxVisible(), node.GetAxisLabelsVisible()
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        bounds = self._renderer.ComputeVisiblePropBounds()
        if bounds[0] <= bounds[1]:
            center = [(bounds[2 * i] + bounds[2 * i + 1]) / 2 for i in range(3)]
            self._renderer.GetActiveCamera().SetFocalPoint(*center)
        node.SetBoxVisible(box)
        node.SetAxisLabelsVisible(letters)
        node.InvokeEvent(slicer.vtkMRMLViewNode.ResetFocalPointRequestedEvent)
        self._renderer.ResetCameraClippingRange()

    def resetCamera(
        self, resetRotation: bool = True, resetTranslation: bool = True, resetDistance: bool = True
    ) -> None:
        self.cameraNode().Reset(resetRotation, resetTranslation, resetDistance, self._renderer)
        self.scheduleRender()

    def rotateToViewAxis(self, axis: int) -> None:
        node = self.cameraNode()
        sides = (node.Left, node.Right, node.Posterior, node.Anterior, node.Inferior, node.Superior)
        node.RotateTo(sides[axis])


class qMRMLThreeDWidget(qMRMLWidget):
    """Controller bar and picture of a 3-D view."""

    def __init__(self, node: Any, application_logic: Any) -> None:
        super().__init__()
        self._view = qMRMLThreeDView(node, application_logic)
        color = QtGui.QColor.fromRgbF(*node.GetLayoutColor())
        bar = QtWidgets.QLabel(node.GetLayoutLabel(), self)
        bar.alignment = int((QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft).value)
        bar.styleSheet = f"color: black; font-weight: bold; padding-left: 7px; background: {color.name()};"
        bar.setMinimumHeight(26)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)

    def threeDView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def mrmlViewNode(self) -> Any:
        return self._view.mrmlViewNode()
