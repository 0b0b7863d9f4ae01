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
)

try:
    import DeepRegistrationLib  # noqa: F401
except ModuleNotFoundError:
    # installed, the library lies beside this file; in the source tree it lies one folder up
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from DeepRegistrationLib.gui.module_widget import ModuleWidget


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


class DeepRegistrationReviewWidget(ModuleWidget):
    """What it shows and does is `DeepRegistrationLib.gui.review_panel`."""

    def makeLogic(self) -> "DeepRegistrationReviewLogic":
        return DeepRegistrationReviewLogic()

    def makePanel(self) -> Any:
        from DeepRegistrationLib.gui.review_panel import ReviewPanel

        return ReviewPanel(self.ui)

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ModuleWidget.setup(self)
        self.ui.measureButton.connect("clicked(bool)", self.onMeasureButton)

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
