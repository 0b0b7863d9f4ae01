"""Stages and step sizes; random numbers; checkpoints and logs on their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.io.weights import write_tensors
from DeepRegistrationLib.training import checkpoint
from DeepRegistrationLib.training.checkpoint import State
from DeepRegistrationLib.training.precision import half_type, learn_in, scaler_for, widened
from DeepRegistrationLib.training.recipe import Stage, Validation
from DeepRegistrationLib.training.request import LossEvent, ValidationEvent
from DeepRegistrationLib.training.run_log import LOSSES, RunLog, read_log, shortened
from DeepRegistrationLib.training.schedule import LAST, cut, stage_ends, step_size
from DeepRegistrationLib.training.seeds import sample_generator, seeded

STAGES = (Stage("a", 1), Stage("b", 2), Stage("c", 1))


def test_stages_share_the_steps() -> None:
    assert stage_ends(STAGES, 40) == [10, 30, 40]
    assert stage_ends(STAGES, 2) == [0, 2, 2]  # 0.5 and 1.5 are rounded to even
    assert stage_ends(STAGES, 70, begun=1, start=10) == [50, 70]
    assert stage_ends(STAGES[:1], 7) == [7]


def test_a_stage_cut_short_takes_nothing_from_the_later_ones() -> None:
    assert cut([10, 30, 40], 1, 18) == [10, 18, 28]


def test_step_sizes_rise_and_fall() -> None:
    sizes = [step_size(2.0, k, 400) for k in range(400)]
    top = max(range(400), key=lambda k: sizes[k])
    assert sizes[top] == pytest.approx(2.0) and 15 <= top <= 25  # 5 %
    assert sizes[: top + 1] == sorted(sizes[: top + 1]) and sizes[top:] == sorted(sizes[top:], reverse=True)
    assert sizes[0] < 0.2 and sizes[-1] == pytest.approx(2.0 * LAST, rel=0.01)
    assert all(step_size(1.0, k, n) > 0 for n in (1, 2, 3) for k in range(n))


def test_random_numbers_follow_from_what_they_are_for() -> None:
    def drawn(*parts: int) -> list[float]:
        return torch.rand(3, generator=sample_generator(*parts)).tolist()

    assert drawn(0, 5, 1) == drawn(0, 5, 1)
    others = [drawn(0, 5, 1), drawn(1, 5, 1), drawn(0, 6, 1), drawn(0, 5, 2), drawn(0, 1, 5), drawn(0, 51, 1)]
    assert len({tuple(d) for d in others}) == len(others)
    before = torch.get_rng_state()
    with seeded(torch.device("cpu"), 3, "x"):
        first = torch.rand(2)
    with seeded(torch.device("cpu"), 3, "x"):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), before)


class Nested(nn.Module):
    """Parameters one of whose names begins another's."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(2))
        self.part = nn.ModuleDict({"a": nn.Linear(2, 2), "exp_avg": nn.Linear(2, 1)})
        self.register_buffer("count", torch.tensor(3))


def stepped(network: nn.Module) -> torch.optim.Adam:
    adam = torch.optim.Adam([p for n, p in network.named_parameters() if n != "part.a.bias"])
    sum(p.square().sum() for p in network.parameters()).backward()  # type: ignore[union-attr]
    adam.step()
    return adam


def test_a_checkpoint_holds_everything(tmp_path: Path) -> None:
    network, file = Nested(), tmp_path / checkpoint.FILE
    adam = stepped(network)
    state = State([4, 9], step=5, stage=1, began=4, validated=4, score=0.1 + 0.2, numbers={"Dice": 0.5}, stale=1)
    state.best = {k: v.clone() + 1 for k, v in network.state_dict().items()}
    checkpoint.save(file, state, network, adam, scaler_for(None), {"seed": 1, "settings": {"a": 0.1, "b": None}})
    kept = checkpoint.load(file)
    assert kept.state.plain() == state.plain() and kept.state.score == state.score
    assert all(torch.equal(kept.state.best[k], v) for k, v in state.best.items())
    kept.check({"seed": 1, "settings": {"a": 0.1, "b": None}}, tmp_path)
    other = Nested()
    fresh = torch.optim.Adam([p for n, p in other.named_parameters() if n != "part.a.bias"])
    kept.restore_network(other)
    kept.restore_optimiser(other, fresh, scaler_for(None))
    assert all(torch.equal(other.state_dict()[k], v) for k, v in network.state_dict().items())
    for (name, p), q in zip(network.named_parameters(), other.parameters(), strict=True):
        assert adam.state.get(p, {}).keys() == fresh.state.get(q, {}).keys(), name
        assert all(torch.equal(fresh.state[q][k], v) for k, v in adam.state.get(p, {}).items()), name


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / checkpoint.FILE
    with pytest.raises(InputError, match="does not exist"):
        checkpoint.load(file)
    write_tensors(file, {"a": torch.zeros(1)}, {"numbers": json.dumps({"step": 3})})
    with pytest.raises(InputError, match="no checkpoint"):
        checkpoint.load(file)
    torch.save({"step": 3}, file)
    with pytest.raises(InputError, match="is a pickle"):
        checkpoint.load(file)


def loss(step: int, value: float = 1.0) -> LossEvent:
    return LossEvent(step, 9, "s", {"x": value}, value, 0.1, 2.0)


def validated(step: int) -> ValidationEvent:
    return ValidationEvent(step, 9, "s", Validation(0.5, {"Dice": 0.5}), True)


def test_a_log_is_rewound(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for event in (validated(0), loss(1), loss(2), validated(2), loss(3)):
        log.add(event)
    lines = (tmp_path / LOSSES).read_text(encoding="utf-8").splitlines()
    log.rewind(2, 0)
    assert (tmp_path / LOSSES).read_text(encoding="utf-8").splitlines() == lines[:3]
    log.rewind(-1, -1)
    assert read_log(tmp_path) == [] == read_log(tmp_path / "nowhere")


def test_a_log_is_shortened_to_means(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for k in range(1, 101):
        log.add(loss(k, float("nan") if k == 1 else k))
        log.add(validated(k))
    short = shortened(read_log(tmp_path), points=10)
    assert len(short["losses"]) == 10 and short["losses"][1] == {"steps": "11-20", "x": 15.5}
    assert short["losses"][0]["x"] == 6.0  # what was no number does not count
    steps = [v["step"] for v in short["validations"]]
    assert steps[0] == 1 and steps[-1] == 100 and len(steps) <= 12
    json.dumps(short, allow_nan=False)


def test_half_precision_is_for_graphics_cards_and_where_it_is_asked_for() -> None:
    assert half_type(torch.device("cpu"), "auto") is None
    assert half_type(torch.device("cpu"), "full") is None
    assert half_type(torch.device("cpu"), "half") is torch.bfloat16
    assert half_type(torch.device("mps"), "auto") is None
    assert half_type(torch.device("cuda"), "full") is None
    assert not scaler_for(None).is_enabled() and not scaler_for(torch.bfloat16).is_enabled()
    network = nn.Linear(2, 2)
    before = network.forward
    learn_in(network, torch.device("cpu"), None)
    assert network.forward == before


def test_a_network_learns_in_halves_and_is_used_in_full() -> None:
    seen: list[torch.dtype] = []

    class Inner(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    network, x = Inner(3, 3), torch.randn(4, 3)
    learn_in(network, torch.device("cpu"), torch.bfloat16)
    assert network(x).dtype == torch.float32
    network(x).sum().backward()
    assert network.weight.grad is not None and network.weight.grad.dtype == torch.float32
    network.eval()
    assert torch.equal(network(x), nn.functional.linear(x, network.weight, network.bias))
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_what_a_network_gives_is_widened() -> None:
    from DeepRegistrationLib.networks.catalogue import Prediction

    half, whole = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.int64)
    wide = widened(Prediction(half, None, {"levels": [half, (half, whole)], "name": "x"}))
    assert wide.displacement.dtype == torch.float32 and wide.velocity is None
    levels = wide.details["levels"]
    assert levels[0].dtype == levels[1][0].dtype == torch.float32 and levels[1][1] is whole
