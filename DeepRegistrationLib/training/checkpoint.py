"""The state of a training in one file, written whole or not at all: from it training goes on bit for bit.

Tensors lie in a .safetensors file ("network.", "best.", "adam.NAME."), numbers as JSON in its notes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import InputError
from ..io.weights import read_notes, read_tensors, write_tensors

FILE = "checkpoint.safetensors"
_NUMBERS, _IDENTITY, _SCALER = "numbers", "identity", "scaler"


@dataclass
class State:
    """Where a training stands.

    step       steps done;  stage  number of the present one, which began after `began` steps
    ends       steps after which each stage is over
    validated  steps at the last validation, -1 before the first
    score      the best of the present stage, reached after `best_step` steps with the weights `best` (on the CPU)
    numbers    what was measured then;  before  what was measured first of all
    stale      validations since then
    skipped    steps in a row whose gradient was no number
    seconds    spent on training so far
    """

    ends: list[int]
    step: int = 0
    stage: int = 0
    began: int = 0
    validated: int = -1
    score: float | None = None
    best_step: int = 0
    numbers: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] | None = None
    stale: int = 0
    skipped: int = 0
    seconds: float = 0.0
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-ready."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "best"}


def save(
    file: Path,
    state: State,
    network: nn.Module,
    adam: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    identity: Mapping[str, Any],
) -> None:
    """identity  what the training is, JSON-ready: only the same goes on from here. Raises OutputError."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in state.best.items()}
    for name, parameter in network.named_parameters():
        tensors |= {f"adam.{name}.{k}": v for k, v in adam.state.get(parameter, {}).items()}
    notes = {_NUMBERS: state.plain(), _IDENTITY: identity, _SCALER: scaler.state_dict()}
    write_tensors(file, tensors, {k: json.dumps(v) for k, v in notes.items()})


@dataclass(frozen=True)
class Checkpoint:
    """A state as it was read; `restore` puts its tensors into network and optimiser."""

    state: State
    identity: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    scaler: Mapping[str, Any]

    def check(self, identity: Mapping[str, Any], where: Path) -> None:
        """Raises InputError that names what differs where this is a checkpoint of another training."""
        now = json.loads(json.dumps(identity))
        for key in [*now, *(k for k in self.identity if k not in now)]:
            if self.identity.get(key) != now.get(key):
                raise InputError(
                    f"The training in {str(where)!r} had {_words(key, self.identity.get(key))}, but now it is to have "
                    f"{_words(key, now.get(key))}; ask for the same again, or train in another folder."
                )

    def restore_network(self, network: nn.Module) -> None:
        network.load_state_dict(self._below("network."))

    def restore_optimiser(
        self, network: nn.Module, adam: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> None:
        """After the network's parameters are where they are to be, and those of the stage are Adam's."""
        for name, parameter in network.named_parameters():
            kept = self._below(f"adam.{name}.")
            if kept:
                adam.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in kept.items()}
        if self.scaler and scaler.is_enabled():
            scaler.load_state_dict(dict(self.scaler))

    def _below(self, start: str) -> dict[str, torch.Tensor]:
        names = [n for n in self.tensors if n.startswith(start)]
        found = {n.removeprefix(start): self.tensors[n] for n in names}
        # "adam.a." also begins the names of a parameter "a.b"
        return {k: v for k, v in found.items() if "." not in k} if start.startswith("adam.") else found


def load(file: Path) -> Checkpoint:
    """Raises InputError where the file is missing or no checkpoint of this version."""
    notes, tensors = read_notes(file), read_tensors(file)
    try:
        said = json.loads(notes[_NUMBERS])
        known = {f.name for f in fields(State)} - {"best"}
        best = {k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")}
        state = State(best=best, **{k: v for k, v in said.items() if k in known})
        return Checkpoint(state, json.loads(notes[_IDENTITY]), tensors, json.loads(notes[_SCALER]))
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{str(file)!r} is no checkpoint of a training of this version; train in another folder."
        ) from None


def _words(key: str, value: Any) -> str:
    if isinstance(value, (Mapping, list)):
        text = json.dumps(value)
        value = text if len(text) <= 120 else f"{text[:117]}..."
    return f"{key.replace('_', ' ')} {value}"
