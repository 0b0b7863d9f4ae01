"""What a machine without the drawing libraries is told."""

from __future__ import annotations

import pytest

from host import environment


def test_without_egl_and_osmesa_the_packages_are_named(monkeypatch):
    monkeypatch.setattr(environment, "_loads", lambda library: False)
    with pytest.raises(environment.MissingLibrary, match=r"apt-get install .*libegl1 .*libgl1-mesa-dri"):
        environment.render_window_class()


def test_an_empty_choice_of_the_render_window_is_replaced(monkeypatch):
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "")
    monkeypatch.setattr(environment, "_loads", lambda library: library == "libEGL.so.1")
    environment.prepare()
    import os

    assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "vtkEGLRenderWindow"


def test_one_host_per_process(slicer_host):
    import host

    assert host.start() is slicer_host
