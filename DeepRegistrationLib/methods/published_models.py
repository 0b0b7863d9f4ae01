"""Weights that authors published, as models of a user's own. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    import torch

    from ..io.model_cards import Model

    Converter = Callable[[Path], tuple[dict[str, torch.Tensor], dict[str, Any]]]


def converters() -> Mapping[str, Converter]:
    """Architecture -> what makes tensors by our names, and the card's settings, of a published file."""
    from ..networks.lapirn_published import convert_published

    return {"lapirn": convert_published}


def import_published(path: str | Path, architecture: str, folder: str | Path | None = None) -> Model:
    """Writes a published file of weights as a model, which methods then offer.

    path    e.g. LapIRN_disp_fea7.pth of the repository cwmok/LapIRN; read as tensors, never run
    folder  of the model; None: among the user's own, named as the file

    Raises InputError for an architecture without published weights, or another file; OutputError.
    """
    from ..io.model_cards import user_folder
    from ..io.weights import write_model

    known = converters()
    if architecture not in known:
        raise InputError(
            f"There is no converter of published weights of {architecture!r}; there is one of {', '.join(known)}."
        )
    file = Path(path).expanduser()
    tensors, settings = known[architecture](file)
    name = f"{architecture}-{file.stem}".lower().replace("_", "-")
    where = user_folder() / name if folder is None else Path(folder).expanduser()
    card = {
        "id": where.name,
        "title": f"Published weights {file.stem}",
        "architecture": architecture,
        "settings": settings,
        "training": {
            "command": f"python -m DeepRegistrationLib models --import {file.name} --as {architecture}",
            "data": "published by the authors of the architecture",
            "seed": "not said",
            "steps": "not said",
        },
        "results": {"what": "nothing was measured when the weights were imported"},
    }
    return write_model(where, tensors, card)
