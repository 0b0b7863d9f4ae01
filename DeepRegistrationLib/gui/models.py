"""Which models of the scene are surfaces of a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt


class ModelPicker:
    """A list of models in which several can be checked; `changed` is called with those that the user chose."""

    def __init__(self, box: Any, changed: Callable[[list[Any]], None]) -> None:
        self._box = box
        self._changed = changed
        self._quiet = False
        box.connect("checkedNodesChanged()", self._picked)

    def show(self, models: Sequence[Any]) -> None:
        """Check `models` and no others, without a call of `changed`."""
        wanted = {model.GetID() for model in models}
        self._quiet = True
        try:
            for model in (*self._box.checkedNodes(), *self._box.uncheckedNodes()):
                state = qt.Qt.Checked if model.GetID() in wanted else qt.Qt.Unchecked
                if self._box.checkState(model) != state:
                    self._box.setCheckState(model, state)
        finally:
            self._quiet = False

    def _picked(self) -> None:
        if not self._quiet:
            self._changed(list(self._box.checkedNodes()))
