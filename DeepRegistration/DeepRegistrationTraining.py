"""Train or fine-tune a model on one's own cases: the scripted module. Nothing here loads torch."""

import os
import sys
from typing import Any

import numpy as np
import slicer
from slicer import vtkMRMLPlotChartNode
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


class DeepRegistrationTraining(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Deep Registration Training")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The DeepRegistration developers"]
        self.parent.helpText = _(
            "Teaches a network to align scans like yours: load a few cases, best with segmentations, choose the model "
            "to go on from, press Train, and save what was learned as a model that Deep Registration then offers. "
            "See the <a href='https://github.com/DeepRegistration/SlicerDeepRegistration'>documentation</a>."
        )
        self.parent.acknowledgementText = _(
            "Every recipe names the publication it follows; see its description and the documentation."
        )


@parameterNodeWrapper
class DeepRegistrationTrainingParameterNode:
    """What the panel holds, saved with the scene.

    recipe, start, device - ids; an empty start means fresh weights, an empty recipe that nothing was chosen yet
    values - JSON object of the settings that the user changed
    cases - JSON list of the cases; their volumes and segmentations are node references (mrml.training_cases)
    folder - of the training that is shown (jobs.training_folder); chart - its curve
    title, modelId, modelFolder - of the model to be saved; empty ones are made up
    """

    chart: vtkMRMLPlotChartNode
    recipe: str = ""
    start: str = ""
    steps: int = 1
    device: str = "auto"
    values: str = "{}"
    cases: str = "[]"
    folder: str = ""
    title: str = ""
    modelId: str = ""
    modelFolder: str = ""


class DeepRegistrationTrainingWidget(ModuleWidget):
    """What it shows and does is `DeepRegistrationLib.gui.training_panel`."""

    def makeLogic(self) -> "DeepRegistrationTrainingLogic":
        return DeepRegistrationTrainingLogic()

    def makePanel(self) -> Any:
        from DeepRegistrationLib.gui.training_panel import TrainingPanel

        return TrainingPanel(self.ui)

    def setup(self) -> None:
        """Called when the user opens the module for the first time."""
        ModuleWidget.setup(self)
        self.ui.trainButton.connect("clicked(bool)", self.onTrainButton)

    def onTrainButton(self) -> None:
        """Start, or stop what runs. The panel says what went wrong; only the unforeseen pops up."""
        with slicer.util.tryWithErrorDisplay(_("The training could not be started."), waitCursor=True):
            self.panel.train_or_stop()


class DeepRegistrationTrainingLogic(ScriptedLoadableModuleLogic):
    """Keeps the parameter node; from the console a model is trained with `DeepRegistrationLib.train`."""

    def getParameterNode(self) -> DeepRegistrationTrainingParameterNode:
        return DeepRegistrationTrainingParameterNode(super().getParameterNode())


class DeepRegistrationTrainingTest(ScriptedLoadableModuleTest):
    """Runs in Slicer (Reload and Test, or `slicer_add_python_unittest`)."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_volumes_become_cases(self) -> None:
        """Every volume of the scene is a case with the segmentation drawn on it, and stays so in a saved scene."""
        from DeepRegistrationLib.mrml.training_cases import case_rows, remember, remembered

        array = np.random.default_rng(0).normal(100, 20, (8, 9, 10)).astype(np.float32)
        volumes = [slicer.util.addVolumeFromArray(array, name=f"Scan {k}") for k in range(3)]
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volumes[1])
        rows = case_rows(slicer.mrmlScene)
        self.assertEqual([row.image for row in rows], volumes)
        self.assertEqual([row.segmentation for row in rows], [None, segmentation, None])
        node = DeepRegistrationTrainingLogic().getParameterNode()
        node.cases = remember(node.parameterNode, rows)
        self.assertEqual(remembered(node.parameterNode, node.cases), rows)
