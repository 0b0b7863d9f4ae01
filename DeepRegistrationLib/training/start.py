"""The model that a training goes on from (fine-tuning)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import InputError
from ..io.model_cards import CARD, Model, find_models, read_model
from ..io.weights import read_tensors
from ..methods.network_models import put_weights
from .recipe import Recipe


def starting_model(named: str, recipe: Recipe) -> Model:
    """The model of a folder, or an installed one by its id; its weights are not looked at yet.

    Raises InputError where there is none, for a file (a pickle above all), and for a model of another architecture.
    """
    place = Path(named).expanduser()
    if place.is_file() and place.name != CARD:
        read_tensors(place)  # which says what is wrong with a pickle
        raise InputError(f"{named!r} holds weights without a card; give the folder of a model, or its id.")
    if place.exists():
        model = read_model(place.parent if place.is_file() else place)
    else:
        models = {m.id: m for m in find_models()}
        if named not in models:
            known = ", ".join(m.id for m in models.values() if m.architecture == recipe.architecture) or "none"
            raise InputError(
                f"There is no model {named!r} to start from, neither a folder nor an installed one; of the kind "
                f"{recipe.architecture} there are: {known}."
            )
        model = models[named]
    if model.architecture != recipe.architecture:
        raise InputError(
            f"The model {model.id!r} is of the kind {model.architecture!r}, but the recipe {recipe.id} trains "
            f"{recipe.architecture!r}; start from another, or without one."
        )
    return model


def settings_of(model: Model, recipe: Recipe) -> dict[str, Any]:
    """The recipe's settings that the model was trained with, as far as it still has them; none where it was trained
    otherwise."""
    training = model.card["training"]
    said = training.get("recipe_settings")
    if training.get("recipe") != recipe.id or not isinstance(said, Mapping):
        return {}
    known = {f.name for f in fields(recipe.settings)}
    return {name: value for name, value in said.items() if name in known}


def load_start(network: nn.Module, model: Model) -> None:
    """Raises InputError where the file is not that of the card, or holds the weights of another network."""
    put_weights(network, model, "the network that these settings give; use the settings it was trained with.")
