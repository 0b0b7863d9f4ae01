"""Slicer's real MRML scene and logics without the application, in the order that Slicer itself uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
import vtk

from . import colour_files

# Module name in Slicer, logic class. Names are those of slicer.modules.<lower case>.
MODULE_LOGICS = {
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Reformat": "vtkSlicerReformatLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


@dataclass
class Scene:
    """The scene, the application's logic and the logic of each module by Slicer's module name."""

    mrml: Any
    application_logic: Any
    logics: dict[str, Any] = field(default_factory=dict)
    file_logics: tuple[Any, ...] = ()


def build(home: Path) -> Scene:
    """Make the scene. `home` is a folder for what Slicer keeps in its own: shared and temporary files."""
    output = vtk.vtkOutputWindow.GetInstance()
    output.SetDisplayModeToAlwaysStdErr()
    temporary = home / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)

    mrml = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    mrml.AddNode(crosshair)

    application = slicer.vtkSlicerApplicationLogic()
    application.SetTemporaryPath(str(temporary))
    application.SetHomeDirectory(str(home))
    # Relative to the home folder.
    application.SetShareDirectory("share/Slicer")
    colour_files.write(home / "share/Slicer/ColorFiles")
    application.SetMRMLScene(mrml)

    scene = Scene(mrml, application)
    colors = slicer.vtkSlicerColorLogic()
    colors.SetMRMLApplicationLogic(application)
    colors.SetMRMLScene(mrml)
    application.SetColorLogic(colors)
    scene.logics["Colors"] = colors
    application.SetModuleLogic("Colors", colors)
    for name, class_name in MODULE_LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application)
        # The files of Slicer's terminologies are not in slicer-core, and their logic says so at length.
        with _silence() if name == "Terminologies" else nullcontext():
            logic.SetMRMLScene(mrml)
        application.SetModuleLogic(name, logic)
        scene.logics[name] = logic

    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(mrml, True)
    _set_up_files(scene, temporary)
    return scene


def _set_up_files(scene: Scene, cache: Path) -> None:
    """Reading of scenes goes through the logics that also know remote files."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(scene.application_logic)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    scene.application_logic.SetMRMLSceneDataIO(scene.mrml, remote, manager)
    scene.file_logics = (remote, manager)


@contextmanager
def _silence() -> Iterator[None]:
    output = vtk.vtkOutputWindow.GetInstance()
    mode, verbosity = output.GetDisplayMode(), vtk.vtkLogger.GetCurrentVerbosityCutoff()
    output.SetDisplayModeToNever()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        output.SetDisplayMode(mode)
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
