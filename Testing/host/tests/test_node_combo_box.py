"""The node picker follows the scene as Slicer's does."""

from __future__ import annotations

import pytest


@pytest.fixture
def combo(slicer_host):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    return box


def _add(name, class_name="vtkMRMLScalarVolumeNode"):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(class_name, name)


def test_nothing_is_selected_by_itself(combo):
    _add("A")
    assert combo.nodeCount() == 1
    assert combo.currentNode() is None
    assert combo.currentNodeID == ""


def test_signals_of_a_choice(combo):
    heard = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node))
    combo.connect("currentNodeChanged(bool)", lambda valid: heard.append(valid))
    combo.connect("currentNodeIDChanged(QString)", lambda node_id: heard.append(node_id))
    node = _add("A")
    combo.setCurrentNode(node)
    combo.setCurrentNode(node)
    assert heard == [node, True, node.GetID()]


def test_child_types_and_hidden_nodes(combo):
    _add("A")
    label = _add("L", "vtkMRMLLabelMapVolumeNode")
    assert combo.nodeCount() == 2
    combo.showChildNodeTypes = False
    assert combo.nodeCount() == 1
    combo.showChildNodeTypes = True
    combo.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert combo.nodeCount() == 1
    combo.hideChildNodeTypes = []
    label.SetHideFromEditors(True)
    assert combo.nodeCount() == 1
    combo.showHidden = True
    assert combo.nodeCount() == 2


def test_attributes(combo):
    node = _add("A")
    combo.addAttribute("vtkMRMLScalarVolumeNode", "Role", "fixed")
    assert combo.nodeCount() == 0
    node.SetAttribute("Role", "fixed")
    assert combo.nodeCount() == 1


def test_names_follow(combo):
    node = _add("A")
    combo.setCurrentNode(node)
    node.SetName("B")
    assert combo._combo.currentText == "B"


def test_removing_the_selected_node_selects_its_neighbour(combo):
    import slicer

    first, second, third = _add("A"), _add("B"), _add("C")
    combo.setCurrentNode(second)
    slicer.mrmlScene.RemoveNode(second)
    assert combo.currentNode() is third
    slicer.mrmlScene.RemoveNode(third)
    assert combo.currentNode() is first
    slicer.mrmlScene.RemoveNode(first)
    assert combo.currentNode() is None


def test_closing_the_scene_empties_it(combo):
    import slicer

    combo.setCurrentNode(_add("A"))
    slicer.mrmlScene.Clear(0)
    assert combo.nodeCount() == 0
    assert combo.currentNode() is None


def test_none_and_actions(combo, slicer_host):
    combo.noneEnabled = True
    combo.renameEnabled = True
    node = _add("A")
    combo.setCurrentNode(node)
    combo.setCurrentNode(None)
    assert combo._combo.currentText == "None"
    created = combo.addNode()
    assert combo.currentNode() is created and created.IsA("vtkMRMLScalarVolumeNode")
    slicer_host.popups.answer_next("Renamed")
    combo.renameCurrentNode()
    assert created.GetName() == "Renamed"
    combo.removeCurrentNode()
    assert combo.nodeCount() == 1


def test_a_choice_made_before_the_scene_is_known_is_kept(slicer_host):
    import slicer

    node = _add("A")
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setCurrentNodeID(node.GetID())
    assert not box.enabled
    box.setMRMLScene(slicer.mrmlScene)
    assert box.currentNode() is node and box.enabled


def test_a_destroyed_picker_hears_nothing_more(slicer_host):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    box.deleteLater()
    slicer_host.process_events(0.02)
    _add("A")
