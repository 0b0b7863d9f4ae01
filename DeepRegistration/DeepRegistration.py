"""Align two scans: the scripted module. What it does lies in DeepRegistrationLib; nothing loads torch."""

import os
import sys
from typing import Any

import numpy as np
import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLModelNode,
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
    import DeepRegistrationLib
except ModuleNotFoundError:
    # installed, the library lies beside this file; in the source tree it lies one folder up
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import DeepRegistrationLib

from DeepRegistrationLib.gui.module_widget import ModuleWidget


class DeepRegistration(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Deep Registration")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The DeepRegistration developers"]
        self.parent.helpText = _(
            "Moves one scan onto another: choose the volume that stays and the one that moves, say what they "
            "show, press Apply. See the <a href='https://github.com/DeepRegistration/SlicerDeepRegistration'>"
            "documentation</a>."
        )
        self.parent.acknowledgementText = _(
            "Every method names the publication it follows; see its description and the documentation."
        )


@parameterNodeWrapper
class DeepRegistrationParameterNode:
    """What the panel holds, saved with the scene.

    method, preset, device - ids; an empty method is the default one, an empty preset means no preset
    values - JSON object of the settings that the user changed
    result - transform of the last alignment; its node references lead to all other outputs
    """

    fixed: vtkMRMLScalarVolumeNode
    moving: vtkMRMLScalarVolumeNode
    fixedMask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    movingMask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    fixedSegmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    movingSegmentation: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    initialTransform: vtkMRMLTransformNode
    fixedModels: list[vtkMRMLModelNode]
    movingModels: list[vtkMRMLModelNode]
    result: vtkMRMLTransformNode
    method: str = ""
    preset: str = ""
    values: str = "{}"
    device: str = "auto"


class DeepRegistrationWidget(ModuleWidget):
    """What it shows and does is `DeepRegistrationLib.gui.panel`."""

    def makeLogic(self) -> "DeepRegistrationLogic":
        return DeepRegistrationLogic()

    def makePanel(self) -> Any:
        from DeepRegistrationLib.gui.panel import AlignPanel

        return AlignPanel(self.ui, self.logic)

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ModuleWidget.setup(self)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)

    def onApplyButton(self) -> None:
        """Start, or cancel what runs. The panel says what went wrong; only the unforeseen pops up."""
        with slicer.util.tryWithErrorDisplay(_("The alignment could not be started."), waitCursor=True):
            self.panel.apply_or_cancel()


class DeepRegistrationLogic(ScriptedLoadableModuleLogic):
    """Aligns nodes without a panel: `DeepRegistrationLogic().register(fixed, moving, method=..., ...)`."""

    def getParameterNode(self) -> DeepRegistrationParameterNode:
        return DeepRegistrationParameterNode(super().getParameterNode())

    def start(self, parameterNode: DeepRegistrationParameterNode) -> Any:
        """(order, running job); the scene changes only when `order.load(result)` is called.

        Raises InputError for what cannot be aligned.
        """
        from DeepRegistrationLib.gui.start import start

        return start(parameterNode)

    def register(self, fixed: Any, moving: Any, **options: Any) -> Any:
        """Align two nodes and wait while the application stays alive; see `DeepRegistrationLib.register`."""
        return DeepRegistrationLib.register(fixed, moving, **options)


class DeepRegistrationTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload and Test, or `slicer_add_python_unittest`); the alignment needs PyTorch."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_shifted_ball(self) -> None:
        """A ball that was shifted by 6 mm comes back, and the moved volume says so."""
        from DeepRegistrationLib.gui.torch_setup import torch_is_installed

        if not torch_is_installed():
            self.delayDisplay("PyTorch is not installed: the alignment was not tested")
            return
        z, y, x = np.mgrid[:24, :26, :28] * 3.0

        def ball(shift: float) -> Any:
            distance = np.sqrt((x - 40 - shift) ** 2 + ((y - 36) / 1.3) ** 2 + ((z - 34) / 0.8) ** 2)
            array = (800 / (1 + np.exp(distance - 15))).astype(np.float32)
            return slicer.util.addVolumeFromArray(array, np.diag([3.0, 3.0, 3.0, 1.0]), f"Ball {shift:g}")

        fixed, moving = ball(0.0), ball(6.0)
        result = DeepRegistrationLogic().register(fixed, moving, method="ngf-affine")
        at = result.transform.GetTransformFromParent().TransformPoint(40.0, 36.0, 34.0)
        self.assertLess(np.linalg.norm(np.subtract(at, (46.0, 36.0, 34.0))), 1.0)
        self.assertEqual(result.moved.GetImageData().GetDimensions(), fixed.GetImageData().GetDimensions())
        self.assertEqual(moving.GetTransformNodeID(), result.transform.GetID())
