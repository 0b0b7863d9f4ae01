"""The stand-in for qt and ctk behaves as PythonQt does."""

from __future__ import annotations

import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form"><layout class="QVBoxLayout">
<item><widget class="{cls}" name="inner"/></item></layout></widget>
<connections>{connections}</connections></ui>"""


@pytest.fixture
def qt(slicer_host):
    import qt

    return qt


def test_properties_are_attributes(qt):
    button = qt.QPushButton("Apply")
    assert button.text == "Apply"
    button.enabled = False
    button.toolTip = "why"
    button.name = "applyButton"
    assert not button.isEnabled()
    assert (button.toolTip, button.objectName, button.className()) == ("why", "applyButton", "QPushButton")


def test_a_misspelt_property_raises(qt):
    import ctk
    import slicer

    for widget in (qt.QPushButton(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox()):
        with pytest.raises(AttributeError, match="tooltip"):
            widget.tooltip = "x"


def test_connect_by_signature(qt):
    heard = []
    button = qt.QPushButton()
    button.checkable = True

    def listen(checked="nothing"):
        heard.append(checked)

    button.connect("clicked()", listen)
    button.connect("clicked(bool)", listen)
    button.click()
    assert sorted(heard, key=str) == [True, "nothing"]
    assert button.disconnect("clicked(bool)", listen)
    button.click()
    assert heard[2:] == ["nothing"]
    with pytest.raises(ValueError, match="signal does not exist"):
        button.connect("pushed()", listen)


def test_only_names_of_qt(qt):
    assert not hasattr(qt, "Signal") and not hasattr(qt, "Slot")
    assert all(name.startswith(("Q", "_")) for name in dir(qt))


def test_message_boxes_do_not_wait(qt, slicer_host):
    slicer_host.popups.answer_next(qt.QMessageBox.No)
    assert qt.QMessageBox.question(None, "Really?", "Stop the run?") == qt.QMessageBox.No
    assert qt.QMessageBox.warning(None, "Careful", "Too large") == qt.QMessageBox.Ok
    assert [(p.kind, p.text) for p in slicer_host.popups.opened] == [
        ("question", "Stop the run?"),
        ("warning", "Too large"),
    ]


def _load(tmp_path, **words):
    import slicer

    file = tmp_path / "form.ui"
    file.write_text(UI.format(**{"connections": "", **words}), encoding="utf-8")
    return slicer.util.loadUI(str(file))


def test_an_unknown_widget_class_raises(qt, tmp_path):
    with pytest.raises(RuntimeError, match="qMRMLFancyWidget"):
        _load(tmp_path, cls="qMRMLFancyWidget")


def test_connections_of_a_file_carry_the_scene(qt, tmp_path):
    import slicer

    words = (
        "<connection><sender>Form</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
        "<receiver>inner</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
    )
    form = _load(tmp_path, cls="qMRMLNodeComboBox", connections=words)
    ui = slicer.util.childWidgetVariables(form)
    assert ui.inner.mrmlScene() is None
    form.setMRMLScene(slicer.mrmlScene)
    assert ui.inner.mrmlScene() is slicer.mrmlScene


@pytest.mark.parametrize("slot", ["setScene(vtkMRMLScene*)", "nonsense()"])
def test_a_connection_to_a_missing_slot_raises(qt, tmp_path, slot):
    words = (
        "<connection><sender>Form</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
        f"<receiver>inner</receiver><slot>{slot}</slot></connection>"
    )
    with pytest.raises(RuntimeError, match="has no slot"):
        _load(tmp_path, cls="qMRMLNodeComboBox", connections=words)


def test_collapsible_button_hides_its_contents(qt, slicer_host):
    import ctk

    parent = qt.QWidget()
    column = qt.QVBoxLayout(parent)
    section = ctk.ctkCollapsibleButton()
    column.addWidget(section)
    column.addStretch(1)
    layout = qt.QVBoxLayout(section)
    inner = qt.QLabel("contents")
    layout.addWidget(inner)
    parent.show()
    assert inner.visible
    section.collapsed = True
    slicer_host.process_events()
    assert not inner.visible and section.height < 40
    section.collapsed = False
    assert inner.visible


def test_slider_and_box_show_one_value(qt):
    import ctk

    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = -1.0, 3.0, 0.25, 3
    heard = []
    slider.connect("valueChanged(double)", heard.append)
    slider.value = 0.125
    slider._box.value = 2.5
    slider.value = 100
    assert heard == [0.125, 2.5, 3.0]
    assert slider.value == 3.0


def test_settings_are_not_those_of_the_user(qt, slicer_host):
    qt.QSettings().setValue("DeepRegistration/Test", 3)
    assert qt.QSettings().fileName().startswith(str(slicer_host.home))


def test_many_signals_do_not_end_the_process(qt):
    import sys

    import slicer

    box = slicer.qMRMLNodeComboBox()
    before = sys.getrefcount(True)
    for _ in range(1000):
        box.currentNodeChanged[bool].emit(True)
    # Python 3.12 and newer do not count references to True.
    assert before > 1_000_000_000 and sys.getrefcount(True) > 1_000_000_000
