"""Fixtures for every test. `Testing` and the checkout are on the path, so that `bench`, `host`, `phantoms`
and the library are importable wherever pytest is started from."""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTING = Path(__file__).resolve().parent
CHECKOUT = TESTING.parent
#: real cases lie beside the checkout, not in it
SHARED = CHECKOUT.parent / "shared"

for folder in (CHECKOUT, TESTING):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# worker processes of the tests inherit it
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from together import Together

    return Together(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cases; skips where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"the real cases are not here: {folder} does not exist")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Several test processes share the cores; more threads than cores make all of them slower."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def slicer_host() -> Any:
    """The stand-in for Slicer's application around its real core, started once for a test process."""
    import host

    return host.start()


@pytest.fixture(params=["cuda", "mps"])
def card(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A graphics card of each kind: this computer's, or a pretended one."""
    from cards import card_of

    with card_of(request.param) as device:
        yield device


@pytest.fixture(autouse=True)
def _outside_slicer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that do not ask for the application do not see one that an earlier test has started."""
    if "slicer_host" not in request.fixturenames and "slicer" in sys.modules:
        monkeypatch.delattr(sys.modules["slicer"], "app", raising=False)


@pytest.fixture(autouse=True)
def _locale_stays() -> Iterator[None]:
    """A test that changes the locale of its process changes how later ones read text: it fails itself."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    after = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, before)
    assert after == before, f"the locale of the process became {after!r}"


@pytest.fixture
def tiny_method(monkeypatch: pytest.MonkeyPatch):
    """Lists the method of methods/tiny.py for one test; the fixture's value declares further ones like it:
    `tiny_method("other", memory=...)`."""
    from DeepRegistrationLib.methods import registry
    from methods.tiny import make_spec

    def declare(method_id: str, **changes) -> None:
        monkeypatch.setitem(registry()._specs, method_id, make_spec(method_id, **changes))

    declare("tiny")
    return declare


@pytest.fixture(scope="session")
def image_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of a fixed and a moving volume: one blob, 2 and 3 mm apart along x and y."""
    from DeepRegistrationLib import io
    from methods.tiny import blob

    folder = tmp_path_factory.mktemp("images")
    paths = {name: str(folder / f"{name}.nii.gz") for name in ("fixed", "moving")}
    io.write_image(blob((10.0, 20.0, 12.0)), paths["fixed"])
    io.write_image(blob((12.0, 23.0, 12.0)), paths["moving"])
    return paths
