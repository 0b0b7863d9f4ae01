"""A test host for Slicer scripted modules on machines without Slicer.

Real: the MRML scene, every node, logic and displayable manager (package `slicer-core`) and Slicer's own
`slicer.util`. Stand-in: `slicer.app`, `slicer.modules`, `qt`, `ctk`, the qMRML widgets, the base classes of
scripted modules and the parameter node wrapper, on PySide6 without a screen. The stand-in is narrower than
Slicer: what is missing here may exist there, but whatever works here is meant to exist there.

    import host
    slicer_host = host.start()                 # once per process; later calls return the same object
    panel = slicer_host.load_module("DeepRegistration/DeepRegistration.py")
    panel.widget.ui.applyButton.click()
    slicer_host.screenshot("panel.png")
"""

from __future__ import annotations

from .application import Host, start

__all__ = ["Host", "start"]
