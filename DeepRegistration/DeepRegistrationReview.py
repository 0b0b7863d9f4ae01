"""Look at a registration, measure it, export it: the scripted module. Nothing here loads torch."""

import os
import sys
from typing import Any

import numpy as np
import slicer
import vtk
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

try:
    import DeepRegistrationLib  # noqa: F401
except ModuleNotFoundError:
    # installed, the library lies beside this file; in the source tree it lies one folder up
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class DeepRegistrationReview(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Deep Registration Review")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The DeepRegistration developers"]
        self.parent.helpText = _(
            "Shows what an alignment did and where to trust it: change of volume, overlap of structures, "
            "landmark errors, the images over each other, and a report. Choose a transform, press Measure. See "
            "the <a href='https://github.com/DeepRegistration/SlicerDeepRegistration'>documentation</a>."
        )
        self.parent.acknowledgementText = _("The measures follow the publications named in the documentation.")


@parameterNodeWrapper
class DeepRegistrationReviewParameterNode:
    """What the panel holds, saved with the scene.

    useInverse - the transform maps moving to fixed: its inverse is reviewed
    uncertainty, members - whether to estimate uncertainty from that many perturbed runs
    """

    transform: vtkMRMLTransformNode
    fixed: vtkMRMLScalarVolumeNode
    moving: vtkMRMLScalarVolumeNode
    fixedMask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    fixedSegmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    movingSegmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    useInverse: bool = False
    uncertainty: bool = False
    members: int = 5


class DeepRegistrationReviewWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life of the panel; what it shows and does is `DeepRegistrationLib.gui.review_panel`."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: DeepRegistrationReviewLogic | None = None
        self.panel: Any = None
        self._parameterNode: Any = None
        self._parameterNodeGuiTag: Any = None

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        from DeepRegistrationLib.gui.review_panel import ReviewPanel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/DeepRegistrationReview.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = DeepRegistrationReviewLogic()
        self.panel = ReviewPanel(self.ui)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes or the module is reloaded: nothing stays behind."""
        if self.panel is not None:
            self.panel.close()
            self.setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user opens another module: the views are put back."""
        self.panel.leave()

    def onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        """The parameter node goes away, and with it what a running measurement is about."""
        self.setParameterNode(None)

    def onSceneEndClose(self, _caller: Any, _event: Any) -> None:
        """Where the module is shown, it needs a new parameter node at once."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Make sure that the parameter node exists and is observed."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, inputParameterNode: DeepRegistrationReviewParameterNode | None) -> None:
        """Show another parameter node, or none."""
        old, new = self._parameterNode, inputParameterNode
        if old and new and old.parameterNode is new.parameterNode:
            self.panel.refresh()
            return
        if old:
            old.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(old, vtk.vtkCommand.ModifiedEvent, self.panel.refresh)
        self._parameterNode = new
        if new:
            self._parameterNodeGuiTag = new.connectGui(self.ui)
            self.addObserver(new, vtk.vtkCommand.ModifiedEvent, self.panel.refresh)
        self.panel.show(new)

    def onMeasureButton(self) -> None:
        """Start, or cancel what runs. The panel says what went wrong; only the unforeseen pops up."""
        with slicer.util.tryWithErrorDisplay(_("The measurement could not be started."), waitCursor=True):
            self.panel.measure_or_cancel()


class DeepRegistrationReviewLogic(ScriptedLoadableModuleLogic):
    """Reviews without a panel: `DeepRegistrationReviewLogic().review(transformNode, fixed, moving)`."""

    def getParameterNode(self) -> DeepRegistrationReviewParameterNode:
        return DeepRegistrationReviewParameterNode(super().getParameterNode())

    def review(self, transform: Any, fixed: Any = None, moving: Any = None, **others: Any) -> Any:
        """Measure in the worker and wait while the application stays alive; see `mrml.review_console`."""
        from DeepRegistrationLib.mrml.review_console import review_node

        return review_node(transform, fixed=fixed, moving=moving, **others)


class DeepRegistrationReviewTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload and Test, or `slicer_add_python_unittest`); measuring needs PyTorch."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_stretched_volume(self) -> None:
        """A transform that stretches by 10 % along one axis has a Jacobian determinant of 1.1 everywhere."""
        from DeepRegistrationLib.gui.torch_setup import torch_is_installed

        if not torch_is_installed():
            self.delayDisplay("PyTorch is not installed: the review was not tested")
            return
        array = np.random.default_rng(0).normal(100, 20, (20, 22, 24)).astype(np.float32)
        volumes = [slicer.util.addVolumeFromArray(array, np.diag([3.0, 3.0, 3.0, 1.0]), n) for n in ("A", "B")]
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Stretch")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 0, 1 / 1.1)
        transform.SetMatrixTransformToParent(matrix)
        outputs = DeepRegistrationReviewLogic().review(transform, *volumes)
        jacobian = slicer.util.arrayFromVolume(outputs.maps["jacobian"])
        self.assertLess(np.abs(jacobian - 1.1).max(), 1e-4)
        self.assertEqual(outputs.metrics["deformation"]["folding_percent"], 0)
