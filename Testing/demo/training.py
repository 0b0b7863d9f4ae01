"""The picture of the training panel in the README: `python -m demo.training FILE.png`.

A network learns from four drawn chests; the picture is taken while it does, and then the training is stopped.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from .run import make_phantom

_MODULE = Path(__file__).resolve().parents[2] / "DeepRegistration" / "DeepRegistrationTraining.py"
#: what the user sets: so many steps, of which the picture shows this share; numbers that train in a few minutes
_STEPS, _SHOWN = 300, 0.6
_SETTINGS = {"spacing": 6.0, "size": 48, "length": 40, "low": -1000.0, "high": 600.0}
_CHESTS = 4
_WINDOW, _PANEL = (1720, 1090), 470
#: s
_PATIENCE = 3600.0


def main(picture: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="demo-") as temporary:
        os.environ["XDG_DATA_HOME"] = temporary
        folder = make_phantom(Path(temporary) / "chests", str(_CHESTS))
        import host

        slicer_host = host.start()
        loaded = slicer_host.load_module(_MODULE)
        try:
            _train(slicer_host, loaded.widget, folder, picture, lambda: slicer_host.show(loaded))
        finally:
            slicer_host.unload_module(loaded)


def _train(slicer_host: Any, widget: Any, folder: Path, picture: Path, show: Any) -> None:
    import slicer.util

    for k in range(1, _CHESTS + 1):
        scan = slicer.util.loadVolume(str(folder / f"chest {k}.nrrd"), {"name": f"Chest {k}", "show": False})
        organs = slicer.util.loadSegmentation(str(folder / f"chest {k}.seg.nrrd"), {"name": f"Organs {k}"})
        organs.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    show()
    ui, panel = widget.ui, widget.panel
    _pick(ui.startBox, "From scratch")
    _pick(ui.recipeBox, "LapIRN: deformations from coarse to fine")
    _pick(ui.casesTable.cellWidget(_CHESTS - 1, 2), "Validate on")
    ui.stepsBox.setValue(_STEPS)
    # where models lie says whose computer it is
    panel._change(values=json.dumps(_SETTINGS), modelFolder="/Models", title="Chests", modelId="chests")
    ui.trainButton.click()

    def far() -> bool:
        curve = panel.course.curve
        measured = curve.measured() if curve is not None else []
        return not panel.running or (bool(measured) and measured[-1]["Step"] >= _SHOWN * _STEPS)

    slicer_host.wait_until(far, _PATIENCE)
    if not panel.running:
        raise OSError(ui.messageLabel.text)
    _pick(ui.overlayBox, "Fixed and moved in squares")
    slicer_host.wait_until(lambda: ", step " in ui.statusLabel.text or not panel.running, 60.0)
    slicer_host.screenshot(picture, _WINDOW, _PANEL)
    ui.trainButton.click()
    slicer_host.wait_until(lambda: not panel.running, 120.0)


def _pick(box: Any, title: str) -> None:
    box.setCurrentIndex([box.itemText(k) for k in range(box.count)].index(title))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
