"""One alignment of nodes, ordered: its job folder written, later its result loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..jobs import JobFolder
from .inputs import Exported, InputNodes, export_inputs
from .results import RegistrationNodes, load_result


@dataclass(frozen=True)
class Order:
    """What was asked for, and the folder that holds it."""

    nodes: InputNodes
    folder: JobFolder
    exported: Exported

    def load(self, result: Mapping[str, Any]) -> RegistrationNodes:
        """The worker's result as nodes; the scene is as before where that fails."""
        return load_result(
            self.nodes, self.folder.results, result, self.exported.labels, self.exported.messages
        )


def write_order(
    nodes: InputNodes,
    method: str,
    *,
    preset: str | None = None,
    values: Mapping[str, Any] | None = None,
    device: str = "auto",
    seed: int = 0,
    threads: int | None = None,
) -> Order:
    """Write the job folder. Raises InputError for what cannot be aligned; no folder is left then."""
    nodes.check()
    folder = JobFolder.create()
    try:
        exported = export_inputs(nodes, folder.path)
        folder.write_problem(
            {
                "method": method,
                "preset": preset,
                "values": dict(values or {}),
                "device": device,
                "seed": seed,
                "threads": threads,
                "inputs": dict(exported.files),
            }
        )
    except BaseException:
        folder.remove()
        raise
    return Order(nodes, folder, exported)
