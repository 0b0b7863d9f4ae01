"""The panel in the test host, with a worker that also knows the methods in `helpers/methods`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gui.helpers.user import User

HERE = Path(__file__).parent
MODULE = HERE.parents[1] / "DeepRegistration" / "DeepRegistration.py"
#: s until a job has surely ended; the first one waits for torch to load
PATIENCE = 60.0


@pytest.fixture(autouse=True, scope="module")
def extra_methods() -> Iterator[None]:
    """The methods of `helpers/methods`, in this process too, until other tests come."""
    # `import ... as` would give the console's function of that name
    methods = importlib.import_module("DeepRegistrationLib.methods")

    folder = str(HERE / "helpers" / "methods")
    declared = methods._declared
    methods.__path__.append(folder)
    declared.cache_clear()
    yield
    methods.__path__.remove(folder)
    declared.cache_clear()


@pytest.fixture(scope="session")
def warm_runner() -> Iterator[Any]:
    """One runner for all tests, so that torch is loaded once."""
    from DeepRegistrationLib.jobs import Runner

    made = Runner([sys.executable, str(HERE / "helpers" / "worker.py")])
    yield made
    made.close()


@pytest.fixture
def runner(warm_runner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner, in the place of the one that panel and console share."""
    from DeepRegistrationLib.jobs import blocking

    monkeypatch.setattr(blocking, "shared_runner", lambda: warm_runner)
    return warm_runner


@pytest.fixture
def scene(slicer_host: Any) -> Iterator[Any]:
    slicer_host.clear()
    yield slicer_host.scene.mrml
    slicer_host.clear()


class Panel(User):
    """A user in front of the module."""

    def choose(self, fixed: Any, moving: Any, method: str = "shift-for-tests", **values: Any) -> None:
        """Pick the two volumes and the method, then edit settings in the form."""
        self.ui.fixedSelector.setCurrentNode(fixed)
        self.ui.movingSelector.setCurrentNode(moving)
        self.pick(self.ui.methodBox, self.title(method))
        for name, value in values.items():
            self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """Edit one setting as a user does: in its widget."""
        control = self.panel.form.controls[name]
        if isinstance(value, str):
            self.pick(control.widget, value)
        elif isinstance(value, bool):
            control.widget.setChecked(value)
        else:
            control.widget.setValue(value)

    @staticmethod
    def title(method: str) -> str:
        from DeepRegistrationLib.methods import registry

        return str(registry()[method].title)

    def apply(self) -> None:
        assert self.ui.applyButton.enabled, self.ui.applyButton.toolTip
        self.ui.applyButton.click()

    def reach(self, stage: str) -> None:
        """Wait until the progress shows `stage`."""
        reached = lambda: self.ui.statusLabel.text.startswith(stage)  # noqa: E731
        self.host.wait_until(lambda: reached() or not self.panel.running, PATIENCE)
        assert self.panel.running, self.ui.messageLabel.text

    def wait(self) -> None:
        self.host.wait_until(lambda: not self.panel.running, PATIENCE)

    def run(self) -> Any:
        """Press Apply, wait, and give back the node of the result (None where there is none)."""
        self.apply()
        self.wait()
        return self.parameters.result


@pytest.fixture
def panel(slicer_host: Any, scene: Any, runner: Any) -> Iterator[Panel]:
    loaded = slicer_host.load_module(MODULE)
    user = Panel(slicer_host, loaded)
    user.open()
    yield user
    user.panel.abandon()


def blobs(seed: int = 1, shape: tuple[int, int, int] = (18, 20, 22)) -> np.ndarray:
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    out = np.zeros(shape)
    for _ in range(10):
        centre = random.uniform(-0.5, 0.5, 3)[:, None, None, None]
        out += np.exp(-(((grid - centre) / 0.22) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.float32)


@pytest.fixture
def volumes(scene: Any) -> tuple[Any, Any]:
    """(fixed, moving): the same spots, 2 mm voxels."""
    import slicer.util

    matrix = np.diag([-2.0, -2.0, 2.0, 1.0])
    return tuple(slicer.util.addVolumeFromArray(blobs(), matrix, name) for name in ("CT day 1", "CT day 0"))  # type: ignore[return-value]


def node_ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]
