"""A graphics card learns what the processor learns, from every recipe; it validates, checkpoints and goes on there."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.io.weights import load_weights
from DeepRegistrationLib.training.recipes import recipes
from DeepRegistrationLib.training.request import LossEvent, TrainingRequest, ValidationEvent
from DeepRegistrationLib.training.run import run_training

on_card = pytest.mark.parametrize("card", ["cuda"], indirect=True)

#: settings that make each recipe small
SMALL: dict[str, dict[str, Any]] = {
    "displacement-embeddings": {
        "spacing": 6.0, "size": 32, "wide_size": 32, "components": 16, "pairs": 4, "points": 20, "channels": 2,
    },
    "lapirn": {"spacing": 6.0, "size": 16, "length": 16, "channels": 4},
    "mlvirnet": {
        "slices": True, "size": 32, "length": 48, "stride": 1, "filters": 4, "levels": 2, "spacing": 6.0, "drawn": 2,
    },
    "regnet": {"size": 40, "block": 8, "width": 0.2, "dimension": 2, "spacing": 2.0},
    "voxelmorph-plus-plus": {
        "size": 32, "spacing": 8.0, "pairs": 1, "points": 24, "channels": 8, "keypoints": 150,
    },
}  # fmt: skip


def told(recipe: str, device: torch.device, out: Path, halt: int = 0, **said: Any) -> list[Any]:
    """What a training says; halted after step `halt`, where that is a step."""
    events: list[Any] = []

    def hear(event: Any) -> None:
        events.append(event)
        if isinstance(event, LossEvent) and event.step == halt:
            raise Cancelled()

    request = TrainingRequest(recipe, out, settings=SMALL.get(recipe, {}), device=str(device), batch=1, **said)
    with pytest.raises(Cancelled) if halt else nullcontext():
        run_training(request, report=hear)
    return events


def losses(events: list[Any]) -> list[float]:
    return [e.total for e in events if isinstance(e, LossEvent)]


@on_card
@pytest.mark.parametrize("recipe", list(SMALL))
def test_every_recipe_learns_there(recipe: str, card: torch.device, tmp_path: Path) -> None:
    events = told(recipe, card, tmp_path, steps=2, validate_every=2)
    assert len(losses(events)) == 2 and all(map(math.isfinite, losses(events)))
    scores = [e.validation.score for e in events if isinstance(e, ValidationEvent)]
    assert len(scores) >= 2 and all(map(math.isfinite, scores))


def test_no_recipe_is_left_out() -> None:
    assert set(SMALL) == set(recipes()) - {"blobs"}, "name settings that make it small"


@on_card
@pytest.mark.parametrize("precision", ["full", "auto"])
def test_it_goes_on_there_as_if_it_had_not_stopped(precision: str, card: torch.device, blobs, tmp_path: Path) -> None:
    straight = losses(told("blobs", card, tmp_path / "straight", precision=precision))
    first = losses(told("blobs", card, tmp_path / "halted", halt=5, precision=precision))
    then = losses(told("blobs", card, tmp_path / "halted", resume=True, precision=precision))
    assert first + then == straight and len(first) == 5
    here = losses(told("blobs", torch.device("cpu"), tmp_path / "here"))
    # half precision rounds
    assert straight == pytest.approx(here, rel=0.02)
    assert straight != here or precision == "full"


@on_card
def test_what_was_learned_there_is_a_model_for_every_computer(card: torch.device, blobs, tmp_path: Path) -> None:
    model = run_training(TrainingRequest("blobs", tmp_path, device=str(card), steps=2))
    weights = [w for w in load_weights(model).values() if w.is_floating_point()]
    assert weights and all(w.device.type == "cpu" and w.dtype == torch.float32 for w in weights)
