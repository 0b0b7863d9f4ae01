"""Files through Slicer's real storage nodes, for `slicer.util.loadVolume`, `saveScene` and their like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore

# File type by ending, the more particular first. Slicer asks its readers, who answer the same for these.
_TYPES = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".mrk.json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".tfm": "TransformFile",
    ".h5": "TransformFile",
    ".ctbl": "ColorTableFile",
    ".tsv": "TableFile",
    ".csv": "TableFile",
    ".txt": "TextFile",
    ".vtk": "ModelFile",
    ".vtp": "ModelFile",
    ".stl": "ModelFile",
    ".ply": "ModelFile",
    ".obj": "ModelFile",
}
_LABEL_MAP_FLAG, _SINGLE_FILE_FLAG = 1, 8


class qSlicerCoreIOManager(QtCore.QObject):
    """Loads and saves nodes and scenes."""

    newFileLoaded = QtCore.Signal(dict)

    def __init__(self, scene: Any) -> None:
        super().__init__()
        self._scene = scene

    def fileType(self, file: str) -> str:
        name = Path(file).name.lower()
        return next((kind for ending, kind in _TYPES.items() if name.endswith(ending)), "VolumeFile")

    def fileWriterFileType(self, node: Any, extension: str = "") -> str:
        return "NodeFile"

    def loadNodes(
        self, fileType: str, properties: dict, loadedNodes: Any = None, userMessages: Any = None
    ) -> bool:
        file = properties["fileName"]
        if not Path(file).exists():
            return False
        reader = getattr(self, "_load_" + fileType, None)
        if reader is None:
            raise NotImplementedError(f"The test host cannot read files of type {fileType}")
        loaded = reader(file, properties, userMessages)
        if loaded is None or loaded is False:
            return False
        if loaded is not True:
            if properties.get("name"):
                loaded.SetName(properties["name"])
            if loadedNodes is not None:
                loadedNodes.AddItem(loaded)
        return True

    def loadScene(self, fileName: str, clear: bool = True, userMessages: Any = None) -> bool:
        return self._load_SceneFile(fileName, {"clear": clear}, userMessages)

    def _load_SceneFile(self, file: str, properties: dict, messages: Any) -> bool:
        clear = properties.get("clear", False)
        if file.lower().endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(file, clear, messages))
        self._scene.SetURL(file)
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def _load_VolumeFile(self, file: str, properties: dict, messages: Any) -> Any:
        flags = _LABEL_MAP_FLAG if properties.get("labelmap") else 0
        flags |= _SINGLE_FILE_FLAG if properties.get("singleFile") else 0
        name = properties.get("name") or self._scene.GenerateUniqueName(_stem(file))
        logic = slicer.app.moduleLogic("Volumes")
        node = logic.AddArchetypeVolume(file, name, flags)
        if node is not None and properties.get("show", True):
            self._show(node)
        return node

    def _show(self, volume: Any) -> None:
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if volume.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(volume.GetID())
        else:
            selection.SetActiveVolumeID(volume.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection()

    def _load_SegmentationFile(self, file: str, properties: dict, messages: Any) -> Any:
        logic = slicer.app.moduleLogic("Segmentations")
        return logic.LoadSegmentationFromFile(file, True, properties.get("name") or _stem(file))

    def _load_TransformFile(self, file: str, properties: dict, messages: Any) -> Any:
        return slicer.app.moduleLogic("Transforms").AddTransform(file, self._scene, messages)

    def _load_MarkupsFile(self, file: str, properties: dict, messages: Any) -> Any:
        ids = slicer.app.moduleLogic("Markups").LoadMarkups(
            file, properties.get("name") or _stem(file), messages
        )
        return self._scene.GetNodeByID(ids.split(",")[0]) if ids else None

    def _load_TableFile(self, file: str, properties: dict, messages: Any) -> Any:
        return slicer.app.moduleLogic("Tables").AddTable(file, properties.get("name") or _stem(file))

    def _load_ModelFile(self, file: str, properties: dict, messages: Any) -> Any:
        return slicer.app.moduleLogic("Models").AddModel(file, slicer.vtkMRMLStorageNode.CoordinateSystemLPS)

    def saveNodes(self, fileType: str, properties: dict, userMessages: Any = None) -> bool:
        file = str(properties["fileName"])
        if fileType == "SceneFile":
            return self._save_scene(file, userMessages)
        node = self._scene.GetNodeByID(properties["nodeID"])
        return self._with_storage(node, lambda storage: _write(node, storage, file))

    def exportNodes(self, *arguments: Any) -> bool:
        raise NotImplementedError("The test host does not export nodes; use slicer.util.saveNode")

    def _save_scene(self, file: str, messages: Any) -> bool:
        if file.lower().endswith(".mrb"):
            return bool(self._scene.WriteToMRB(file, None, messages))
        if file.lower().endswith(".mrml"):
            return bool(self._scene.Commit(file, messages))
        Path(file).mkdir(parents=True, exist_ok=True)
        logic = slicer.app.applicationLogic()
        return bool(logic.SaveSceneToSlicerDataBundleDirectory(file, None, messages))

    def _with_storage(self, node: Any, write: Callable[[Any], bool]) -> bool:
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        return node.GetStorageNode() is not None and write(node.GetStorageNode())


def _write(node: Any, storage: Any, file: str) -> bool:
    storage.SetFileName(file)
    return bool(storage.WriteData(node))


def _stem(file: str) -> str:
    return Path(file).name.split(".")[0]
