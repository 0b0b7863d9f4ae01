"""Weights of trained models, in safetensors; the models themselves are in io/model_cards.py.

    card["sha256"] = SHA-256 of the weights file,   or the model is refused

Only safetensors are read: a pickle runs whatever program its maker put in.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.errors import InputError
from .model_cards import Model, write_card
from .paths import AnyPath, readable, replacing

ENDING = ".safetensors"

#: a zip archive, as torch.save makes it, and what a bare pickle begins with
_ZIP, _PICKLE = b"PK\x03\x04", pickle.PROTO
_PICKLE_ENDINGS = (".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".bin", ".tar")


def load_weights(model: Model) -> dict[str, torch.Tensor]:
    """The model's tensors by name, on the CPU.

    Raises InputError where the file is missing, no safetensors, or not the one the card was written for.
    """
    content = _content(model.weights)
    if hashlib.sha256(content).hexdigest() != model.sha256.lower():
        raise InputError(
            f"The weights {str(model.weights)!r} are not those of their card (the SHA-256 differs), so they were "
            "changed or damaged; copy the model's folder again."
        )
    return _parsed(content, model.weights)


def read_tensors(path: AnyPath) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file by name, on the CPU. Raises InputError for anything else."""
    file = Path(path).expanduser()
    return _parsed(_content(file), file)


def read_notes(path: AnyPath) -> dict[str, str]:
    """The texts that were written into a .safetensors file beside its tensors. Raises InputError as `read_tensors`."""
    file = Path(path).expanduser()
    content = _content(file)
    _parsed(content, file)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__", {}))


def write_tensors(path: AnyPath, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None) -> str:
    """Writes a .safetensors file, whole or not at all, and gives its SHA-256. Raises OutputError.

    notes  texts to be kept in the same file, see `read_notes`
    """
    from safetensors.torch import save

    # storages of their own: safetensors refuses tensors that share one
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    content = save(own, dict(notes) if notes else None)
    with replacing(path, ENDING) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_model(folder: AnyPath, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> Model:
    """Writes weights and card to a folder, made where it is not there; "weights" and "sha256" are filled in.

    card  the other FIELDS of io/model_cards.py and whatever else should be said
    Raises OutputError where that cannot be written, InputError where the card lacks something.
    """
    where = Path(folder).expanduser()
    where.mkdir(parents=True, exist_ok=True)
    weights = f"model{ENDING}"
    digest = write_tensors(where / weights, tensors)
    return write_card(where, {**card, "weights": weights, "sha256": digest})


def _content(path: Path) -> bytes:
    file = readable(path, "weights")
    with file.open("rb") as stream:
        start = stream.read(9)
        # a safetensors file begins with a length of eight bytes, of which the first may be anything, and a brace
        pickled = start.startswith(_ZIP) or (start.startswith(_PICKLE) and start[8:] != b"{")
        if pickled or path.suffix.lower() in _PICKLE_ENDINGS:
            raise InputError(
                f"{str(path)!r} is a pickle, which runs any program hidden in it when it is opened; "
                "give the weights as .safetensors."
            )
        return start + stream.read()


def _parsed(content: bytes, path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(content))
    except (SafetensorError, ValueError, KeyError):
        raise InputError(
            f"{str(path)!r} does not hold weights in safetensors or was cut short; copy it again."
        ) from None
