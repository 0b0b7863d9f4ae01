"""Starts the host: one Qt application, one scene, once per process."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import environment

_host: Host | None = None


def start() -> Host:
    """The host of this process, made at the first call. It must come before anything else uses vtk or Qt."""
    global _host
    if _host is None:
        _host = Host()
    return _host


class LoadedModule:
    """A scripted module and, once looked at, its panel."""

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def name(self) -> str:
        return self.module.name

    @property
    def representation(self) -> Any:
        """The widget that Slicer shows; its layout holds the panel."""
        return self.module.widgetRepresentation()

    @property
    def widget(self) -> Any:
        """The module's own `...Widget` object."""
        return self.representation.self()

    @property
    def logic(self) -> Any:
        return self.widget.logic


class Host:
    """What a test holds: modules, dialogs that were opened, pictures."""

    def __init__(self) -> None:
        environment.prepare()
        self.home = Path(tempfile.mkdtemp(prefix="slicer-host-"))
        atexit.register(shutil.rmtree, self.home, ignore_errors=True)

        from . import pythonqt, settings

        pythonqt.install()
        from PySide6 import QtWidgets

        from .slicer_application import qSlicerApplication

        settings.isolate(self.home / "settings")
        settings.quiet_platform()
        self._application = QtWidgets.QApplication.instance() or qSlicerApplication(sys.argv[:1])

        from . import installation
        from .dialogs import popups

        self.popups = popups
        self.scene = installation.install(self._application, self.home)
        self.app = self._application
        self._window: Any = None
        self._loaded: dict[Path, LoadedModule] = {}

    def load_module(self, path: str | Path) -> LoadedModule:
        """Load a scripted module from its Python file; a second call gives back the first one's."""
        from . import module_manager

        path = Path(path).resolve()
        if path not in self._loaded:
            self._loaded[path] = LoadedModule(module_manager.load_scripted(self.app.moduleManager(), path))
        return self._loaded[path]

    def unload_module(self, loaded: LoadedModule) -> None:
        """Let a module clean up and forget it, as when Slicer quits."""
        path = Path(loaded.module.path)
        self.app.moduleManager()._remove(loaded.name)
        self._loaded.pop(path, None)

    def main_window(self) -> Any:
        """The main window, made at the first call. Without one, as in Slicer, messages are only logged."""
        from .main_window import qSlicerMainWindow

        if self._window is None:
            self._window = qSlicerMainWindow(self.app.layoutManager())
            self._window.show()
            self.app.processEvents()
        return self._window

    def close_main_window(self) -> None:
        """Go back to an application without a main window."""
        if self._window is not None:
            self._window._release()
            self._window.close()
            self._window.deleteLater()
            self._window = None
            self.process_events()

    def show(self, loaded: LoadedModule) -> None:
        """Show a module in the main window's panel, as choosing it in Slicer does."""
        self.main_window().moduleSelector().selectModule(loaded.name)
        self.app.processEvents()

    def screenshot(
        self, file: str | Path, size: tuple[int, int] = (1400, 860), panel_width: int = 440
    ) -> Path:
        """A picture of the main window: panel on the left, views on the right.

        The picture has twice the pixels where QT_SCALE_FACTOR=2 was in the environment at the start.
        """
        from .screenshot import window

        return window(self.main_window(), Path(file), size, panel_width)

    def process_events(self, seconds: float = 0.0) -> None:
        """Let Qt deliver what is pending, for at least so many seconds."""
        import time

        from PySide6 import QtCore

        end = time.monotonic() + seconds
        self.app.processEvents()
        # Outside an event loop Qt keeps these for later.
        QtCore.QCoreApplication.sendPostedEvents(None, int(QtCore.QEvent.Type.DeferredDelete.value))
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.005)

    def wait_until(self, condition: Any, seconds: float = 30.0) -> None:
        """Let Qt run until the condition holds; raises TimeoutError after so many seconds."""
        import time

        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"Still not so after {seconds} s")
            self.app.processEvents()
            time.sleep(0.005)

    def clear(self) -> None:
        """Close the scene and forget the dialogs, for the next test."""
        self.scene.mrml.Clear(0)
        self.app.processEvents()
        self.popups.clear()
