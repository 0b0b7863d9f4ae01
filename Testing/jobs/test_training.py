"""Orders of trainings, their folders, and what is told of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.jobs.events import Event, decode, encode
from DeepRegistrationLib.jobs.folder import JobFolder
from DeepRegistrationLib.jobs.training import CaseFiles, TrainingOrder, _Teller, order_from, order_of, request_of
from DeepRegistrationLib.jobs.training_folder import TrainingFolder, slug, training_folders
from DeepRegistrationLib.training.recipe import Validation
from DeepRegistrationLib.training.request import LossEvent, MessageEvent, TrainingRequest, ValidationEvent


def an_order(out: Path) -> TrainingOrder:
    cases = (CaseFiles("case 1", "/a.nrrd", "/a.seg.nrrd", "train", {"1": "liver"}), CaseFiles("case 2", "/b.nrrd"))
    return TrainingOrder("lapirn", str(out), {"channels": 8}, cases, steps=7, title="Mine")


def test_an_order_survives_its_file(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    assert order_of(json.loads(json.dumps(order.problem()))) == order
    folder = JobFolder.create(tmp_path)
    folder.write_problem(order.problem())
    assert folder.task == "training" and order_of(folder.read_problem()) == order
    with pytest.raises(InputError, match="role 'teach'"):
        order_of(replace(order, cases=(CaseFiles("c", "/c.nrrd", None, "teach"),)).problem())
    with pytest.raises(InputError, match="choose the cases again"):
        order_of({**order.problem(), "cases": [{"scan": "/a.nrrd"}]})


def test_a_job_of_training_needs_recipe_and_place(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path)
    folder.write_problem({"task": "train", "inputs": {}, "recipe": "lapirn"})
    with pytest.raises(InputError, match="'recipe' or 'out'"):
        folder.read_problem()


def test_request_and_order_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    request = TrainingRequest("lapirn", Path("out"), {"channels": 8}, start="model", steps=5, seed=3, title="Mine")
    order = order_from(request, [CaseFiles("case 1", "/a.nrrd")])
    assert (order.out, order.start) == (str(tmp_path / "out"), str(tmp_path / "model"))
    again = request_of(order, None)
    assert again == replace(request, out=tmp_path / "out", start=str(tmp_path / "model"))
    assert order_from(replace(request, start="lapirn"), []).start == "lapirn"


def test_a_folder_outlives_its_job(tmp_path: Path) -> None:
    folder = TrainingFolder.create("Our livers!", tmp_path)
    other = TrainingFolder.create("Our livers!", tmp_path)
    assert folder.path != other.path and slug("Our livers!") == "our-livers"
    order = an_order(folder.out)
    folder.write_order(order, "Our livers!")
    assert folder.order() == order and folder.title == "Our livers!"
    assert [f.path for f in training_folders(tmp_path)] == [folder.path], "one without an order is none"
    standing = folder.standing()
    assert (standing.step, standing.steps, standing.can_continue) == (0, 7, False)
    folder.out.mkdir()
    (folder.out / "checkpoint.safetensors").touch()
    (folder.out / "summary.json").write_text('{"step": 4, "steps": 7}')
    assert folder.standing().can_continue and folder.standing().step == 4
    (folder.out / "model").mkdir()
    (folder.out / "model" / "card.json").touch()
    assert folder.standing().can_continue, "it went on after its end"
    (folder.out / "summary.json").write_text('{"step": 7, "steps": 7}')
    assert folder.standing().finished and not folder.standing().can_continue
    folder.remove()
    with pytest.raises(InputError, match="start a new one"):
        folder.order()


def told(tmp_path: Path, *events: object, pace: float = 0.0) -> list[Event]:
    """What comes out of the worker for what the trainer tells."""
    out: list[Event] = []
    teller = _Teller(an_order(tmp_path), out.append)
    teller._told = -math.inf if pace == 0.0 else math.inf
    for event in events:
        teller.hear(event)  # type: ignore[arg-type]
    teller.flush()
    passed = [decode(encode(event, "job").decode()) for event in out]
    return [said[1] for said in passed if said is not None]


def a_loss(step: int, **losses: float) -> LossEvent:
    return LossEvent(step, 9, "All", losses, sum(losses.values()), 0.1, 1.0)


def test_losses_are_averaged_between_two_words(tmp_path: Path) -> None:
    events = told(tmp_path, *(a_loss(k, a=float(k)) for k in (1, 2, 3)), pace=1.0)
    assert [(e.data["step"], e.data["losses"]) for e in events] == [(3, {"a": 2.0})]
    # another stage has other losses, and what is no number is a gap
    events = told(tmp_path, a_loss(1, a=1.0), a_loss(2, b=math.nan), pace=1.0)
    assert [e.data["losses"] for e in events] == [{"a": 1.0}, {"b": None}]


def test_validations_come_with_their_pictures(tmp_path: Path) -> None:
    import torch

    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.image import Image
    from DeepRegistrationLib.io import read_image

    image = Image(torch.arange(60.0).reshape(1, 3, 4, 5), Grid((5, 4, 3), (2.0, 2.0, 3.0)))
    seen = ValidationEvent(4, 9, "All", Validation(-0.5, {"Dice": 0.5, "TRE (mm)": math.inf}, {"fixed": image}), True)
    losses, validation, message = told(tmp_path, a_loss(4, a=1.0), seen, MessageEvent("Goes on."), pace=1.0)
    assert (losses.kind, validation.kind, message.kind) == ("losses", "validation", "message")
    assert validation.data["numbers"] == {"Dice": 0.5, "TRE (mm)": None} and validation.data["best"]
    again = read_image(validation.data["pictures"]["fixed"])
    assert torch.equal(again.data, image.data) and again.grid == image.grid
    assert Path(validation.data["pictures"]["fixed"]).parent == tmp_path / "pictures"


def test_pictures_may_be_slices(tmp_path: Path) -> None:
    import torch

    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.image import Image
    from DeepRegistrationLib.io import read_image

    image = Image(torch.arange(20.0).reshape(1, 4, 5), Grid((5, 4), (2.0, 3.0), (1.0, -1.0)))
    seen = ValidationEvent(4, 9, "All", Validation(-0.5, {"Dice": 0.5}, {"moved": image}), True)
    (validation,) = told(tmp_path, seen)
    again = read_image(validation.data["pictures"]["moved"])
    assert torch.equal(again.data, image.data) and again.grid == image.grid
