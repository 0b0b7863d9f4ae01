"""A small module in Slicer's present style, for the tests of the host."""

import enum
import pathlib
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class ExampleModule(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Example module")
        self.parent.categories = ["Registration"]
        self.parent.helpText = "Help"


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"

    def label(self):
        return self.value


@parameterNodeWrapper
class ExampleModuleParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    anyVolume: vtkMRMLScalarVolumeNode | None
    segmentation: vtkMRMLSegmentationNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 100
    iterations: Annotated[int, WithinRange(1, 50)] = 10
    invert: bool = False
    speed: Speed
    preset: Annotated[str, Choice(["lung", "brain"]), Default("brain")]
    title: str = "a title"
    folder: pathlib.Path
    notes: list[str]
    table: dict[str, int]


class ExampleModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/ExampleModule.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = ExampleModuleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        # Node pickers learn of loaded nodes only when the import ends, after the parameter node has changed.
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.initializeParameterNode()

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._guiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
            self._checkCanApply()

    def _checkCanApply(self, caller=None, event=None):
        ready = bool(self._parameterNode and self._parameterNode.inputVolume)
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Threshold the volume") if ready else _("Choose an input volume")

    def onApplyButton(self):
        with slicer.util.tryWithErrorDisplay(_("Failed to threshold."), waitCursor=True):
            self.logic.process(self._parameterNode.inputVolume, self._parameterNode.threshold)


class ExampleModuleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return ExampleModuleParameterNode(super().getParameterNode())

    def process(self, volume, threshold):
        voxels = slicer.util.arrayFromVolume(volume)
        if voxels.max() < threshold:
            raise ValueError(f"No voxel of {volume.GetName()} reaches {threshold}")
        result = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, volume, "Thresholded")
        slicer.util.updateVolumeFromArray(result, (voxels >= threshold).astype(voxels.dtype))
        return result


class ExampleModuleTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_logic()

    def test_logic(self):
        self.delayDisplay("Testing")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        self.assertIsNone(node.GetImageData())
