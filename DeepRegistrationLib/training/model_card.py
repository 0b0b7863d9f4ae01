"""The card of a model that was just trained: what it is, how it was made, what it reached before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..io.model_cards import Model
from .cases import Role
from .checkpoint import State
from .recipe import Recipe, Validation
from .request import TrainingRequest
from .run_log import finite, read_log, shortened
from .settings import settings_dict
from .trainer import Plan


def card_of(
    request: TrainingRequest,
    recipe: Recipe,
    settings: Any,
    plan: Plan,
    state: State,
    start: Model | None,
    after: Validation,
    network_settings: Mapping[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Everything of the card but "weights" and "sha256".

    after             of the weights as they are written
    network_settings  what inference has to know
    """
    said = {
        "id": request.model_id or recipe.id,
        "title": request.title or recipe.title,
        "architecture": recipe.architecture,
        "settings": dict(network_settings),
        "training": {
            "command": request.command,
            "recipe": recipe.id,
            "recipe_settings": settings_dict(settings),
            "data": _data(request, recipe),
            **_cases(request),
            "seed": request.seed,
            "steps": state.step,
            "best_step": state.best_step,
            "stages": {s.name: e for s, e in zip(plan.stages, state.ends, strict=True)},
            "batch": plan.batch,
            "learning_rate": plan.learning_rate,
            "start": None if start is None else {"id": start.id, "sha256": start.sha256},
            "device": device.type,
            "minutes": round(state.seconds / 60, 1),
            "versions": {"torch": torch.__version__},
            "log": shortened(read_log(Path(request.out))),
        },
        "results": {
            "what": _measured_on(request),
            "before": dict(state.before or {}),
            "after": dict(after.numbers),
        },
        "paper": recipe.paper,
        "doi": recipe.doi,
    }
    plain: dict[str, Any] = finite(said)
    return plain


def _data(request: TrainingRequest, recipe: Recipe) -> str:
    if request.cases is None:
        return f"synthetic, made by the recipe {recipe.id} from the seed"
    number = len(request.cases.of(Role.TRAIN))
    place = f" of {Path(request.cases_from).name}" if request.cases_from else ""
    return f"{number} case{'s' if number != 1 else ''}{place}"


def _cases(request: TrainingRequest) -> dict[str, list[str]]:
    if request.cases is None:
        return {}
    return {
        "cases": [c.name for c in request.cases.of(Role.TRAIN)],
        "held_out": [c.name for c in request.cases.of(Role.VALIDATE)],
    }


def _measured_on(request: TrainingRequest) -> str:
    if request.cases is None:
        return "the recipe's validation samples, which it did not learn from"
    number = len(request.cases.of(Role.VALIDATE))
    return f"{number} case{'s' if number != 1 else ''} that it did not learn from" if number else "no case held out"
