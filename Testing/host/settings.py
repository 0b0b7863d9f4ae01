"""Settings that start empty and never touch those of the person who runs the tests."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6 import QtCore


def isolate(folder: Path) -> None:
    """Let every QSettings() of the process read and write below `folder`."""
    QtCore.QCoreApplication.setOrganizationName("NA-MIC")
    QtCore.QCoreApplication.setOrganizationDomain("www.na-mic.org")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(folder / scope.name))


def quiet_platform() -> None:
    """Leave out one message that Qt's offscreen platform repeats for every window; print the others."""

    def handle(kind: object, context: object, text: str) -> None:
        if "propagateSizeHints" not in text:
            print(text, file=sys.stderr)

    QtCore.qInstallMessageHandler(handle)
