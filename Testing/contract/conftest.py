"""Every test that asks for a `spec` runs once for every registered method that can do what it needs."""

from __future__ import annotations

import pytest

from DeepRegistrationLib.core.spec import Capability
from DeepRegistrationLib.methods import registry


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability): only for methods with that capability")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "spec" not in metafunc.fixturenames:
        return
    wanted: set[Capability] = {m.args[0] for m in metafunc.definition.iter_markers("needs")}
    specs = [s for s in registry() if wanted <= set(s.capabilities)]
    metafunc.parametrize("spec", specs, ids=[s.id for s in specs])
