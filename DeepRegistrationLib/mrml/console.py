"""`dr.register(nodeA, nodeB)`: waits for the worker and gives back the nodes it added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from ..core.progress import ProgressReport
from .inputs import ROLES, InputNodes
from .order import write_order
from .results import RegistrationNodes

if TYPE_CHECKING:
    from ..jobs.perform import Request

Listener = Callable[[ProgressReport], None]


def register_nodes(
    request: Request, *, progress: Listener | None = None, in_process: bool = False
) -> RegistrationNodes:
    """Align the nodes of `request` (input name -> node) and put moving under the new transform.

    A worker process does it while the application stays alive; `in_process=True` does it here.
    Raises what the registration raises; the scene is then as it was.
    """
    order = write_order(
        _nodes(request.inputs),
        request.method,
        preset=request.preset,
        values=request.values,
        device=request.device,
        seed=request.seed,
        threads=request.threads,
    )
    try:
        if in_process:
            return order.load(_here(request, order.folder.inputs(), order.folder.results, progress))
        from ..jobs.blocking import shared_runner, wait

        return order.load(wait(shared_runner().submit(order.folder), progress).data)
    finally:
        order.folder.remove()


def _nodes(inputs: Mapping[str, Any]) -> InputNodes:
    for name, value in inputs.items():
        if name not in ROLES:
            raise InputError(f"There is no input {name!r}; the inputs are {', '.join(ROLES)}.")
        if not all(hasattr(node, "IsA") for node in (_several(value) if name.endswith("surfaces") else (value,))):
            raise InputError(f"The {ROLES[name]} is {value!r}, but others are nodes; give a node here too.")
    given: dict[str, Any] = {"fixed": None, "moving": None, **inputs}
    models = {name: _several(value) for name, value in inputs.items() if name.endswith("surfaces")}
    return InputNodes(**{**given, **models})


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _here(
    request: Request, paths: Mapping[str, str], folder: Any, progress: Listener | None
) -> dict[str, Any]:
    from dataclasses import replace

    from ..core.progress import Progress
    from ..jobs.perform import perform
    from ..jobs.results import ResultFolder

    outcome = perform(replace(request, inputs=paths), folder, Progress(progress), compressed=False)
    found = ResultFolder(folder)
    return {"files": dict(outcome.files), "metrics": found.metrics, "provenance": found.provenance}
