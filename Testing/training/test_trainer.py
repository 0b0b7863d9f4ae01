"""The trainer: what is learned, kept, logged and told; resumed bit for bit wherever it was stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled, DeviceMemoryError, InputError
from DeepRegistrationLib.core.progress import Progress, ProgressReport, Tick
from DeepRegistrationLib.io.weights import load_weights, write_model
from DeepRegistrationLib.training.cases import Role
from DeepRegistrationLib.training.recipe import Stage
from DeepRegistrationLib.training.request import LossEvent, MessageEvent, TrainingRequest, ValidationEvent
from DeepRegistrationLib.training.run import run_training, save_trained
from DeepRegistrationLib.training.run_log import LOSSES, read_log
from training.blobs import Blobs


def ordered(out: Path, **changes: Any) -> TrainingRequest:
    return replace(TrainingRequest("blobs", out, device="cpu"), **changes)


class StopAt:
    """Asks to stop when progress is reported for the n-th time."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_it_learns(blobs, tmp_path: Path) -> None:
    events: list[Any] = []
    model = run_training(ordered(tmp_path, steps=300, batch=4), report=events.append)
    results = model.card["results"]
    assert results["before"]["Error (voxels)"] > 1.5
    assert results["after"]["Error (voxels)"] < 0.5
    steps = [e for e in events if isinstance(e, LossEvent)]
    assert [e.step for e in steps] == list(range(1, 301))
    assert {e.stage for e in steps[:120]} == {"Head"} and {e.stage for e in steps[120:]} == {"All"}
    for e in steps:
        assert list(e.losses) == ["image", "shift"]
        assert e.total == pytest.approx(sum(e.losses.values()))
    validations = [e for e in events if isinstance(e, ValidationEvent)]
    assert validations[0].step == 0 and validations[-1].step == 300
    assert set(validations[0].validation.pictures) == {"fixed", "moving", "moved"}
    best = max((e for e in validations if e.stage == "All"), key=lambda e: e.validation.score)
    assert best.best and model.card["training"]["best_step"] == best.step
    assert results["after"] == pytest.approx(dict(best.validation.numbers))


def test_only_what_a_stage_lets_learn_moves(blobs, tmp_path: Path) -> None:
    """In the first stage the convolution does not learn; `spare` never does."""
    blobs(stages=lambda settings: (stage_named("Head"),))
    first, head = (load_weights(run_training(ordered(tmp_path / f"{n}", steps=n))) for n in (1, 5))
    blobs(stages=lambda settings: (stage_named("All"),))
    both = load_weights(run_training(ordered(tmp_path / "both", steps=5)))
    assert torch.equal(first["first.weight"], head["first.weight"])
    assert not torch.equal(first["last.weight"], head["last.weight"])
    assert not torch.equal(first["first.weight"], both["first.weight"])
    assert torch.equal(first["spare"], both["spare"])


def stage_named(name: str):
    from DeepRegistrationLib.training.recipe import Stage

    return Stage(name)


@pytest.mark.parametrize("stop", [1, 9, 15, 21, 25, 33, 40])
def test_stopped_and_resumed_is_as_if_it_had_not_been(stop: int, blobs, tmp_path: Path) -> None:
    """Wherever it is stopped: between steps, within one, in a validation, at the change of stages."""
    straight = run_training(ordered(tmp_path / "straight"))
    with pytest.raises(Cancelled, match="of 10 steps"):
        run_training(ordered(tmp_path / "halted"), Progress(cancelled=StopAt(stop)))
    resumed = run_training(ordered(tmp_path / "halted", resume=True))
    assert resumed.sha256 == straight.sha256
    assert (tmp_path / "halted" / LOSSES).read_bytes() == (tmp_path / "straight" / LOSSES).read_bytes()
    assert resumed.card["results"] == straight.card["results"]
    steps = [e["step"] for e in read_log(tmp_path / "halted") if "losses" in e]
    assert steps == list(range(1, 11))


def test_four_steps_and_six_are_ten(blobs, tmp_path: Path) -> None:
    """One stage, halted between two steps; and the global random numbers of the caller do not matter."""
    blobs(stages=lambda settings: (stage_named("All"),))
    straight = run_training(ordered(tmp_path / "straight"))

    def halt(event: Any) -> None:
        if isinstance(event, LossEvent) and event.step == 4:
            raise Cancelled()

    with pytest.raises(Cancelled, match="after 4 of 10"):
        run_training(ordered(tmp_path / "halted"), report=halt)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    resumed = run_training(ordered(tmp_path / "halted", resume=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert resumed.sha256 == straight.sha256
    assert (tmp_path / "halted" / LOSSES).read_bytes() == (tmp_path / "straight" / LOSSES).read_bytes()


def test_what_came_after_the_checkpoint_is_trained_again(blobs, tmp_path: Path) -> None:
    """A crash: the log has more than the checkpoint."""
    straight = run_training(ordered(tmp_path / "straight"))

    def crash(event: Any) -> None:
        if isinstance(event, LossEvent) and event.step == 7:
            raise RuntimeError("the light went out")

    request = ordered(tmp_path / "crashed", checkpoint_seconds=0.0)
    with pytest.raises(RuntimeError, match="light"):
        run_training(request, report=crash)
    with (tmp_path / "crashed" / LOSSES).open("a") as log:
        log.write('{"step": 8, "stage": "Al')  # cut short
    messages: list[Any] = []
    resumed = run_training(replace(request, resume=True), report=messages.append)
    assert "after 6 of 10" in next(e.text for e in messages if isinstance(e, MessageEvent))
    assert resumed.sha256 == straight.sha256
    assert (tmp_path / "crashed" / LOSSES).read_bytes() == (tmp_path / "straight" / LOSSES).read_bytes()


def test_seed_and_settings_decide(blobs, tmp_path: Path) -> None:
    a, b, c = (
        run_training(ordered(tmp_path / str(k), seed=s, steps=3, model_id="x")).sha256
        for k, s in enumerate((0, 0, 1))
    )
    assert a == b != c


def test_a_stage_begins_once_and_is_entered_again(blobs, tmp_path: Path) -> None:
    made: list[Blobs] = []
    blobs(trainee=lambda s, c: made.append(Blobs(s, c)) or made[-1])
    with pytest.raises(Cancelled):
        run_training(ordered(tmp_path), Progress(cancelled=StopAt(28)))  # in the second stage
    run_training(ordered(tmp_path, resume=True))
    assert made[0].begun == made[0].entered == ["Head", "All"]
    assert made[1].begun == [] and made[1].entered == ["All"]


class Shaken(Blobs):
    """Its stages begin with noise on the weights, half of it before a chance to stop."""

    def begin(self, stage: Stage, tick: Tick) -> None:
        for _ in range(2):
            for value in self.network.first.parameters():
                value.data.add_(0.1 * torch.randn_like(value))
            tick()
        super().begin(stage, tick)


class StopPreparing(Progress):
    """Asks to stop while a stage begins."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.within = f"{stage}, preparing"

    def update(self, fraction: float, stage: str | None = None) -> None:
        if stage == self.within:
            raise Cancelled()


def test_stopped_while_a_stage_begins_is_resumed_before_it(blobs, tmp_path: Path) -> None:
    made: list[Shaken] = []
    blobs(trainee=lambda s, c: made.append(Shaken(s, c)) or made[-1])
    straight = run_training(ordered(tmp_path / "straight"))
    with pytest.raises(Cancelled, match="after 4 of 10 steps"):
        run_training(ordered(tmp_path / "halted"), StopPreparing("All"))
    resumed = run_training(ordered(tmp_path / "halted", resume=True))
    assert resumed.sha256 == straight.sha256 and made[2].begun == ["All"]
    with pytest.raises(Cancelled, match="before anything was learned"):
        run_training(ordered(tmp_path / "never"), StopPreparing("Head"))


def test_a_finished_training_goes_on_for_longer(blobs, tmp_path: Path) -> None:
    run_training(ordered(tmp_path))
    model = run_training(ordered(tmp_path, resume=True, steps=16))
    assert model.card["training"]["steps"] == 16
    stages = [e["stage"] for e in read_log(tmp_path) if "losses" in e]
    assert stages == ["Head"] * 4 + ["All"] * 12
    again = run_training(ordered(tmp_path, resume=True, steps=16))
    assert again.sha256 == model.sha256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, "seed"),
        ({"settings": {"channels": 5}}, "settings"),
        ({"batch": 3}, "batch"),
        ({"learning_rate": 0.5}, "learning rate"),
    ],
)
def test_another_training_does_not_go_on(changes: dict[str, Any], words: str, blobs, tmp_path: Path) -> None:
    run_training(ordered(tmp_path, steps=2))
    with pytest.raises(InputError, match=words):
        run_training(ordered(tmp_path, resume=True, **changes))


def test_a_training_is_not_overwritten(blobs, tmp_path: Path) -> None:
    run_training(ordered(tmp_path, steps=2))
    before = (tmp_path / LOSSES).read_bytes()
    with pytest.raises(InputError, match="--resume"):
        run_training(ordered(tmp_path, steps=2))
    assert (tmp_path / LOSSES).read_bytes() == before


def test_it_ends_early_where_nothing_gets_better(blobs, tmp_path: Path) -> None:
    """With steps far too large the first validation of a stage stays the best; each stage ends after its patience."""
    blobs(stages=lambda settings: (stage_named("All"),))
    events: list[Any] = []
    request = ordered(tmp_path, steps=40, learning_rate=0.9, validate_every=2, patience=3)
    model = run_training(request, report=events.append)
    validations = [e for e in events if isinstance(e, ValidationEvent)]
    best = max(range(len(validations)), key=lambda k: validations[k].validation.score)
    assert len(validations) == best + 1 + 3
    assert model.card["training"]["steps"] == validations[-1].step < 40
    assert any("no better" in e.text for e in events if isinstance(e, MessageEvent))
    assert model.card["results"]["after"] == pytest.approx(dict(validations[best].validation.numbers))


def test_progress_never_runs_back_and_has_time_left(blobs, tmp_path: Path) -> None:
    reports: list[ProgressReport] = []
    run_training(ordered(tmp_path), Progress(reports.append))
    fractions = [r.fraction for r in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any("step 3 of 10, loss" in r.stage for r in reports)
    assert len(reports) > 30  # several a step, so that a cancel is prompt


def test_a_loss_that_is_no_number_is_said(blobs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not been a number"):
        run_training(ordered(tmp_path, steps=100, settings={"fail": "nan"}))
    lines = [e for e in read_log(tmp_path) if "losses" in e]
    assert len(lines) < 40 and lines[0]["losses"]["shift"] is None and lines[0]["total"] is None
    first, last = (e["losses"]["image"] for e in (lines[0], lines[-1]))
    assert math.isfinite(first) and math.isfinite(last)  # no step was taken with such a gradient


def test_memory_that_ran_out_is_said(blobs, tmp_path: Path) -> None:
    with pytest.raises(DeviceMemoryError, match="memory"):
        run_training(ordered(tmp_path, settings={"fail": "memory"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "blob"}, "did you mean 'blobs'"),
        ({"settings": {"channel": 3}}, "did you mean 'channels'"),
        ({"settings": {"channels": "many"}}, "many"),
        ({"settings": {"channels": 0}}, "out of range"),
        ({"steps": 0}, "steps=0"),
        ({"batch": -1}, "batch=-1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"device": "cuda:77"}, "cuda:77"),
        ({"start": "nobody"}, "nobody"),
    ],
)
def test_a_bad_order_is_refused(changes: dict[str, Any], words: str, blobs, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        run_training(ordered(tmp_path, **changes))
    assert words in str(error.value)


def test_a_recipe_for_real_cases_asks_for_them(blobs, tmp_path: Path) -> None:
    blobs(needs_cases=True)
    with pytest.raises(InputError, match="real cases"):
        run_training(ordered(tmp_path))


# ---------------------------------------------------------------------- models


def test_the_card_says_how_it_was_made(blobs, tmp_path: Path) -> None:
    request = ordered(tmp_path, steps=4, settings={"channels": "6"}, model_id="mine", title="My blobs")
    model = run_training(request)
    card = model.card
    assert (model.id, model.title, model.architecture) == ("mine", "My blobs", "blobs")
    assert model.folder == tmp_path / "model"
    assert model.settings == {"network": {"channels": 6, "dropout": 0.1}}
    training = card["training"]
    assert training["recipe_settings"] == {"channels": 6, "dropout": 0.1, "norm": True, "fail": "no"}
    assert training["steps"] == 4 and training["seed"] == 0 and "synthetic" in training["data"]
    assert "train blobs" in training["command"] and "channels=6" in training["command"]
    assert str(tmp_path) not in json.dumps(card)  # nobody's folders
    assert training["log"]["losses"][0]["steps"] == "1-1" and len(training["log"]["validations"]) >= 2


def test_half_precision_is_measured_as_it_is_kept(blobs, tmp_path: Path) -> None:
    full = run_training(ordered(tmp_path / "full", steps=4))
    half = run_training(ordered(tmp_path / "half", steps=4, half=True))
    tensors = load_weights(half)
    assert tensors["first.weight"].dtype == torch.float16
    assert tensors["norm.num_batches_tracked"].dtype == torch.int64
    before, after = full.card["results"]["after"], half.card["results"]["after"]
    assert before != after and after["Error (voxels)"] == pytest.approx(before["Error (voxels)"], rel=0.02)


def test_what_was_learned_so_far_is_saved(blobs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training"):
        save_trained(ordered(tmp_path))
    with pytest.raises(Cancelled):
        run_training(ordered(tmp_path, steps=30), Progress(cancelled=StopAt(80)))
    model = save_trained(ordered(tmp_path, steps=30, model_folder=tmp_path / "elsewhere" / "mine", model_id="mine"))
    assert model.folder == tmp_path / "elsewhere" / "mine" and 0 < model.card["training"]["steps"] < 30
    assert model.card["results"]["after"]["Error (voxels)"] <= model.card["results"]["before"]["Error (voxels)"]
    finished = run_training(ordered(tmp_path, steps=30, resume=True))  # nothing was lost
    assert finished.card["training"]["steps"] == 30


def test_fine_tuning_starts_where_the_model_is(blobs, tmp_path: Path) -> None:
    first = run_training(ordered(tmp_path / "a", steps=200, settings={"channels": 5}))
    tuned = run_training(ordered(tmp_path / "b", steps=4, start=str(first.folder), model_id="tuned"))
    assert tuned.settings == first.settings  # the model's own settings
    assert tuned.card["training"]["start"] == {"id": "blobs", "sha256": first.sha256}
    assert [e["stage"] for e in read_log(tmp_path / "b")] == ["All"] * 7
    was, now = first.card["results"]["after"], tuned.card["results"]
    assert now["before"] == pytest.approx(was) and now["after"]["Error (voxels)"] <= was["Error (voxels)"] + 1e-6
    with pytest.raises(InputError, match="do not fit"):
        run_training(ordered(tmp_path / "c", start=str(first.folder), settings={"channels": 7}))


def test_a_pickle_or_changed_weights_do_not_start_anything(blobs, tmp_path: Path) -> None:
    model = run_training(ordered(tmp_path / "a", steps=1))
    torch.save({"first.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="is a pickle"):
        run_training(ordered(tmp_path / "b", start=str(tmp_path / "weights.pth")))
    with pytest.raises(InputError, match="without a card"):
        run_training(ordered(tmp_path / "b", start=str(model.weights)))
    content = bytearray(model.weights.read_bytes())
    content[-1] ^= 1
    model.weights.write_bytes(content)
    with pytest.raises(InputError, match="SHA-256"):
        run_training(ordered(tmp_path / "b", start=str(model.folder)))
    torch.save({"first.weight": torch.zeros(1)}, model.weights)
    with pytest.raises(InputError, match="is a pickle"):
        run_training(ordered(tmp_path / "b", start=str(model.folder)))
    other = write_model(tmp_path / "other", {"a": torch.zeros(1)}, {**model.card, "architecture": "another"})
    with pytest.raises(InputError, match="another"):
        run_training(ordered(tmp_path / "b", start=str(other.folder)))


def test_cases_are_in_the_card(blobs, tmp_path: Path) -> None:
    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.core.image import Image
    from DeepRegistrationLib.training.cases import Case, TrainingCases

    scan = Image(torch.zeros(1, 4, 4), Grid((4, 4), (1.0, 1.0)))
    cases = [Case("a", scan), Case("b", scan), Case("c", scan, role=Role.VALIDATE)]
    request = ordered(tmp_path / "a", steps=1, cases=TrainingCases(cases), cases_from="/secret/folder/mine")
    training = run_training(request).card["training"]
    assert (training["cases"], training["held_out"]) == (["a", "b"], ["c"])
    assert training["data"] == "2 cases of mine" and "secret" not in json.dumps(training)
    only = TrainingCases([replace(c, role=Role.VALIDATE) for c in cases])
    with pytest.raises(InputError, match="role"):
        run_training(ordered(tmp_path / "b", cases=only))
