"""Trained models by their cards: a folder with `card.json` and the weights it names (read by io/weights.py).

The card says what the model is, how it was trained and what it reached (FIELDS), and the SHA-256 of its weights.

Models lie in `Resources/Models/<id>`, beside the library in the source tree and inside Slicer, within it where it was
installed as a Python package; a user's own lie in `user_folder()` or in the folders of the environment variable
DEEPREGISTRATION_MODELS. Listing models loads no torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .paths import AnyPath, readable, replacing

CARD = "card.json"
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


def write_card(folder: AnyPath, card: Mapping[str, Any]) -> Model:
    """Writes the card beside its weights, whole or not at all.

    Raises OutputError where that cannot be written, InputError where the card lacks something.
    """
    where = Path(folder).expanduser()
    write_json(where / CARD, card)
    return read_model(where)


def write_json(path: AnyPath, data: Any) -> None:
    """Writes JSON for people to read, whole or not at all. Raises OutputError."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: AnyPath, text: str) -> None:
    """Writes a text file, whole or not at all. Raises OutputError."""
    with replacing(path, Path(path).suffix) as temporary:
        temporary.write_text(text, encoding="utf-8")
