"""A user's own trained models, each listed as a method: that of its architecture with the model chosen. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..core.spec import MethodSpec
from .network_parameters import with_model

#: what an id of a method looks like
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

State = tuple[tuple[str, int], ...]


def cards_now(folders: Iterable[Path] | None = None) -> State:
    """The cards of the user's models and when each was last written: as long as it is the same, so are the methods."""
    from ..io.model_cards import CARD

    found = []
    for folder in _user_folders() if folders is None else folders:
        for card in sorted(folder.glob(f"*/{CARD}")):
            try:
                found.append((str(card), card.stat().st_mtime_ns))
            except OSError:  # taken away meanwhile
                continue
    return tuple(found)


def user_methods(declared: Iterable[MethodSpec], folders: Iterable[Path] | None = None) -> list[MethodSpec]:
    """A method for each readable model of the user's folders whose architecture has a declared method.

    A model that is named as a declared method is none of its own: it is what that method takes.
    """
    from ..io.model_cards import find_models

    by_id = {spec.id: spec for spec in declared}
    made = []
    for model in find_models(folders=_user_folders() if folders is None else folders):
        spec = by_id.get(model.architecture)
        if spec is None or spec.family != "learned" or model.id in by_id or not _ID.fullmatch(model.id):
            continue
        title = model.title or model.id
        made.append(
            replace(
                spec,
                id=model.id,
                title=title,
                description=f"A model of your own, for {spec.title}.",
                parameters=with_model(spec.parameters, model.id, title),
            )
        )
    return made


def _user_folders() -> list[Path]:
    from ..io.model_cards import model_folders, shipped_folder

    return [folder for folder in model_folders() if folder != shipped_folder()]
