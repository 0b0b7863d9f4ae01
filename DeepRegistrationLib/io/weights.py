"""Trained models: a folder with `card.json` and the weights it names, in safetensors.

    card["sha256"] = SHA-256 of the weights file,   or the model is refused

The card says what the model is, how it was trained and what it reached (FIELDS). Only safetensors are read: a pickle
runs whatever program its maker put in.

Models lie in `Resources/Models/<id>`, beside the library in the source tree and inside Slicer, within it where it was
installed as a Python package; a user's own lie in `user_folder()` or in the folders of the environment variable
DEEPREGISTRATION_MODELS.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..core.errors import InputError
from .paths import AnyPath, readable, replacing

CARD = "card.json"
ENDING = ".safetensors"
ENVIRONMENT = "DEEPREGISTRATION_MODELS"

#: what every card says -> the type it has there
FIELDS: Mapping[str, type] = {
    "id": str,
    "title": str,
    "architecture": str,
    "weights": str,
    "sha256": str,
    "settings": dict,
    "training": dict,
    "results": dict,
}

#: what every card says of its training
TRAINING = ("command", "data", "seed", "steps")

_LIBRARY = Path(__file__).resolve().parents[1]

#: a zip archive, as torch.save makes it, and what a bare pickle begins with
_ZIP, _PICKLE = b"PK\x03\x04", pickle.PROTO
_PICKLE_ENDINGS = (".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".bin", ".tar")


@dataclass(frozen=True)
class Model:
    """A model as its card describes it; `folder` holds card and weights.

    settings  what the architecture needs to know: channels, names of segments, resolution ...
    card      everything the card says
    """

    id: str
    title: str
    architecture: str
    folder: Path
    weights: Path
    sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


def shipped_folder() -> Path:
    """`Resources/Models` of this installation; it need not exist."""
    beside = _LIBRARY.parent / "Resources" / "Models"
    within = _LIBRARY / "Resources" / "Models"
    return within if within.is_dir() else beside


def user_folder() -> Path:
    """Where a user's own models lie, by the custom of the system; it need not exist."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "DeepRegistration" / "Models"


def model_folders() -> list[Path]:
    """Folders of models, those of the user first: DEEPREGISTRATION_MODELS, `user_folder()`, `shipped_folder()`."""
    named = [Path(p).expanduser() for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    return [*named, user_folder(), shipped_folder()]


def find_models(
    architecture: str | None = None, folders: Iterable[Path] | None = None, problems: list[str] | None = None
) -> list[Model]:
    """Every model of `architecture` (None: any) in the folders, which are looked through in order.

    A model whose card cannot be read is left out, and the sentence why is appended to `problems`. Of several with
    one id the first counts.
    """
    found: dict[str, Model] = {}
    for folder in model_folders() if folders is None else folders:
        for card in sorted(folder.glob(f"*/{CARD}")):
            try:
                model = read_model(card.parent)
            except InputError as error:
                if problems is not None:
                    problems.append(str(error))
                continue
            if architecture in (None, model.architecture):
                found.setdefault(model.id, model)
    return list(found.values())


def read_model(folder: AnyPath) -> Model:
    """The model of a folder, by its card; the weights are not looked at yet.

    Raises InputError for a folder without a card, or where the card lacks something.
    """
    where = Path(folder).expanduser()
    file = readable(where / CARD, "model card")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"The model card {str(file)!r} is no JSON text; copy the model's folder again.") from None
    wrong = [k for k, kind in FIELDS.items() if not isinstance(card, dict) or not isinstance(card.get(k), kind)]
    wrong += [f"training.{k}" for k in TRAINING if not wrong and k not in card["training"]]
    if wrong:
        raise InputError(f"The model card {str(file)!r} does not say {', '.join(wrong)}; add what is missing.")
    weights = where / card["weights"]
    if weights.parent != where:
        raise InputError(
            f"The model card {str(file)!r} names weights in another folder ({card['weights']!r}); "
            "put them beside the card."
        )
    return Model(
        card["id"], card["title"], card["architecture"], where, weights, card["sha256"], card["settings"], card
    )


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


def write_tensors(path: AnyPath, tensors: Mapping[str, torch.Tensor]) -> str:
    """Writes a .safetensors file, whole or not at all, and gives its SHA-256. Raises OutputError."""
    from safetensors.torch import save

    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    with replacing(path, ENDING) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_model(folder: AnyPath, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> Model:
    """Writes weights and card to a folder, made where it is not there; "weights" and "sha256" are filled in.

    card  the other FIELDS and whatever else should be said
    Raises OutputError where that cannot be written, InputError where the card lacks something.
    """
    where = Path(folder).expanduser()
    where.mkdir(parents=True, exist_ok=True)
    weights = f"model{ENDING}"
    digest = write_tensors(where / weights, tensors)
    text = json.dumps({**card, "weights": weights, "sha256": digest}, indent=2, ensure_ascii=False) + "\n"
    with replacing(where / CARD, ".json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return read_model(where)


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
