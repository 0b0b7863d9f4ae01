"""The loop that trains: steps of Adam over the stages of a recipe, validated, logged, kept, and resumed bit for bit.

    batch of step k = samples (k, 0), (k, 1) ...      each from its own generator, see seeds.py
    loss            = mean over the batch of sum_j losses_j

On the CPU a training is the same bit for bit whether it was stopped or not, with the same number of threads and
processes; on a graphics card up to the order in which it adds.

Each stage has an Adam of its own over the parameters that learn in it, and goes on from the best weights of the stage
before. The best of the last stage is what the training gives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import Cancelled, InputError
from ..core.progress import Progress
from . import checkpoint
from .batch import Batch, collated
from .checkpoint import Checkpoint, State
from .distributed import Team
from .precision import half_type, learn_in, scaler_for
from .recipe import Stage, Trainee, Validation
from .request import LossEvent, MessageEvent, Report, TrainingEvent, ValidationEvent
from .run_log import RunLog
from .schedule import cut, stage_ends, step_size
from .seeds import sample_generator, seeded

#: so many steps in a row without a gradient that is a number, and training has failed
_MOST_SKIPPED = 30


@dataclass(frozen=True)
class Plan:
    """See `Recipe` and `TrainingRequest` for what these are.

    tuning    the weights are those of a trained model: only the last stage, without its `begin`
    identity  what the training is, JSON-ready: a checkpoint of another one is refused
    """

    stages: Sequence[Stage]
    steps: int
    batch: int
    learning_rate: float
    clip_norm: float
    validate_every: int
    patience: int
    seed: int
    precision: str = "auto"
    checkpoint_seconds: float = 120.0
    tuning: bool = False
    identity: Mapping[str, Any] | None = None


class _Losses(nn.Module):
    """Network and losses as one module, so that processes can average the gradients of both."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.network = trainee.network
        self._losses = trainee.losses

    def forward(self, batch: Batch, stage: Stage) -> dict[str, torch.Tensor]:
        return dict(self._losses(batch, stage))


class Trainer:
    """Trains `trainee.network`, which is on the team's device, and keeps everything in `folder`."""

    def __init__(
        self, trainee: Trainee, plan: Plan, folder: Path, team: Team, progress: Progress, report: Report | None
    ) -> None:
        team.check(plan.batch)
        self.trainee, self.plan, self.folder, self.team = trainee, plan, folder, team
        self.state = State(stage_ends(plan.stages, plan.steps))
        if plan.tuning:
            last = len(plan.stages) - 1
            self.state = State([*[0] * last, plan.steps], stage=last)
        self._network = trainee.network
        self._progress, self._report = progress, report
        self._log = RunLog(folder)
        half = half_type(team.device, plan.precision)
        learn_in(self._network, team.device, half)
        self._scaler = scaler_for(half)
        self._cancelled: Cancelled | None = None
        self._told = ""

    # ------------------------------------------------------------------ the whole

    def train(self, kept: Checkpoint | None = None) -> State:
        """All steps, from the beginning or from `kept`; the network then has the best weights.

        Raises InputError for a checkpoint of another training, or where training fails; Cancelled after a checkpoint
        was written, or before there is anything to keep.
        """
        try:
            self._start(kept)
        except Cancelled:
            raise Cancelled("The training was stopped before anything was learned.") from None
        self._clock = self._saved = time.monotonic()
        try:
            while True:
                self._validate_where_due()
                if self.state.step < self.state.ends[self.state.stage]:
                    self._step()
                    self._save_where_due()
                elif not self._next_stage():
                    break
        except Cancelled:
            self._save()
            s = self.state
            raise Cancelled(
                f"The training was stopped after {s.step} of {s.ends[-1]} steps; it goes on from there when resumed."
            ) from None
        self._load_best()
        self._save()
        return self.state

    def _start(self, kept: Checkpoint | None) -> None:
        plan = self.plan
        if kept is None:
            if self.team.first:
                self._log.rewind(-1, -1)
            (self._enter_stage if plan.tuning else self._begin_stage)()
            return
        kept.check(plan.identity or {}, self.folder)
        kept.restore_network(self._network)
        state = self.state = kept.state
        if state.ends[-1] != plan.steps:
            later = stage_ends(plan.stages, plan.steps, state.stage, state.began)
            # a stage is never over before the steps that it had
            state.ends = [*state.ends[: state.stage], *(max(e, state.step) for e in later)]
        if self.team.first:
            self._log.rewind(state.step, state.validated)
        self._enter_stage()
        kept.restore_optimiser(self._network, self._adam, self._scaler)
        self._progress.already(state.step / max(1, state.ends[-1]))
        self._say(f"Training goes on after {state.step} of {state.ends[-1]} steps.")

    # ------------------------------------------------------------------ stages

    @property
    def _stage(self) -> Stage:
        return self.plan.stages[self.state.stage]

    def _begin_stage(self) -> None:
        with seeded(self.team.device, self.plan.seed, "stage", self.state.stage):
            self.trainee.begin(self._stage, lambda: self._alive("preparing"))
        self._enter_stage()

    def _enter_stage(self) -> None:
        self.trainee.enter(self._stage)
        learning = [p for p in self._network.parameters() if p.requires_grad]
        if not learning:
            raise ValueError(f"nothing learns in the stage {self._stage.name!r}")
        self._adam = torch.optim.Adam(learning, lr=self.plan.learning_rate)
        self._losses = self.team.wrapped(_Losses(self.trainee))

    def _next_stage(self) -> bool:
        """Goes on to the next stage, from the best weights of this one; False where there is none. A cancel within
        leaves everything at the end of this one."""
        state = self.state
        if state.stage + 1 == len(self.plan.stages):
            return False
        before, weights = replace(state), {k: v.clone() for k, v in self._network.state_dict().items()}
        self._load_best()
        state.stage, state.began = state.stage + 1, state.step
        state.score, state.best, state.stale = None, {}, 0
        try:
            self._begin_stage()
        except Cancelled:
            self.state = before
            self._network.load_state_dict(weights)
            raise
        return True

    def _load_best(self) -> None:
        if self.state.best:
            self._network.load_state_dict(self.state.best)

    # ------------------------------------------------------------------ one step

    def _step(self) -> None:
        """One step, whole or not at all: a cancel within it leaves the network as it was."""
        before = [(b, b.clone()) for b in self._network.buffers()]
        usable = False
        try:
            event = self._learn()
            usable = math.isfinite(event.gradient_norm)
        finally:
            if not usable:
                for buffer, value in before:
                    buffer.copy_(value)
        self._told = f", loss {event.total:.4g}"
        self._emit(event)

    def _learn(self) -> LossEvent:
        """Where the gradient is no number the weights are left as they were."""
        plan, state, device = self.plan, self.state, self.team.device
        mine = self.team.numbers(plan.batch)
        share = len(mine) / plan.batch
        size = step_size(plan.learning_rate, state.step - state.began, state.ends[state.stage] - state.began)
        for group in self._adam.param_groups:
            group["lr"] = size
        self._network.train()
        self._alive()
        with seeded(device, plan.seed, "step", state.step, self.team.rank):
            samples = [self.trainee.sample(sample_generator(plan.seed, state.step, i), device) for i in mine]
            batch = collated(samples).to(device)
            self._alive()
            losses = self._losses(batch, self._stage)
            # the processes' gradients are averaged: each counts by its pairs
            total = torch.stack([loss.float() for loss in losses.values()]).sum() * (share * self.team.world)
            self._adam.zero_grad(set_to_none=True)
            self._alive()
            self._scaler.scale(total).backward()
        self._scaler.unscale_(self._adam)
        learning = [p for p in self._network.parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(learning, plan.clip_norm))
        said = self._together({name: share * float(loss.detach()) for name, loss in losses.items()})
        self._update(norm)
        state.step += 1
        return LossEvent(state.step, state.ends[-1], self._stage.name, said, sum(said.values()), size, norm)

    def _together(self, losses: dict[str, float]) -> dict[str, float]:
        """The sum of the processes' losses. Raises Cancelled in all where the first one was asked to stop."""
        parts = self.team.gathered((losses, self._cancelled is not None))
        if any(stop for _, stop in parts):
            raise Cancelled()
        names = list(dict.fromkeys(name for part, _ in parts for name in part))
        return {name: sum(part.get(name, 0.0) for part, _ in parts) for name in names}

    def _update(self, norm: float) -> None:
        state = self.state
        if math.isfinite(norm) or self._scaler.is_enabled():
            self._scaler.step(self._adam)  # which leaves out what is not finite itself
            self._scaler.update()
        state.skipped = 0 if math.isfinite(norm) else state.skipped + 1
        if state.skipped >= _MOST_SKIPPED:
            raise InputError(
                f"The loss has not been a number for {state.skipped} steps, up to step {state.step + 1}, so the "
                f"training has failed; take smaller steps (--learning-rate {self.plan.learning_rate / 10:g})."
            )

    def _alive(self, doing: str = "") -> None:
        """Reports progress, of a step where nothing else is done. Raises Cancelled at once where this process is alone,
        else in `_together`, with all."""
        s = self.state
        if not self.team.first or self._cancelled:
            return
        doing = doing or f"step {s.step + 1} of {s.ends[-1]}{self._told}"
        try:
            self._progress.update(s.step / max(1, s.ends[-1]), f"{self._stage.name}, {doing}")
        except Cancelled as cancelled:
            if self.team.world == 1:
                raise
            self._cancelled = cancelled

    # ------------------------------------------------------------------ validation

    def _validate_where_due(self) -> None:
        state, plan = self.state, self.plan
        over = state.step >= state.ends[state.stage]
        if state.validated == state.step or not (over or state.step % plan.validate_every == 0):
            return
        measured: Validation | None = None
        if self.team.first:
            try:
                measured = self._validation()
            except Cancelled as cancelled:
                self._cancelled = cancelled
        # pictures stay with the process that made them
        score, numbers = self.team.told((measured.score, dict(measured.numbers)) if measured else (None, {}))
        if score is None:
            raise Cancelled()
        self._judge(score, numbers)
        if measured is not None:
            best = state.best_step == state.step and state.stale == 0
            self._emit(ValidationEvent(state.step, state.ends[-1], self._stage.name, measured, best))
        if plan.patience and state.stale >= plan.patience and not over:
            state.ends = cut(state.ends, state.stage, state.step)
            self._say(
                f"{self._stage.name} ended after {state.step} steps: {state.stale} validations in a row were no better "
                f"than that after {state.best_step}."
            )

    def _validation(self) -> Validation:
        s = self.state

        def tick() -> None:
            self._progress.update(s.step / max(1, s.ends[-1]), f"{self._stage.name}, validation")

        self._network.eval()
        tick()
        with seeded(self.team.device, self.plan.seed, "validation"), torch.no_grad():
            return self.trainee.validate(self.team.device, tick)

    def _judge(self, score: float, numbers: dict[str, float]) -> None:
        state = self.state
        state.validated = state.step
        state.before = dict(numbers) if state.before is None else state.before
        if state.score is None or score > state.score:
            state.score, state.best_step, state.numbers, state.stale = score, state.step, numbers, 0
            # a copy: on the CPU `cpu()` gives the weights themselves, which go on learning
            state.best = {k: v.detach().cpu().clone() for k, v in self._network.state_dict().items()}
        else:
            state.stale += 1

    # ------------------------------------------------------------------ what is kept and told

    def _save_where_due(self) -> None:
        if time.monotonic() - self._saved >= self.plan.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = self._saved = now
        if not self.team.first:
            return
        file = self.folder / checkpoint.FILE
        checkpoint.save(file, self.state, self._network, self._adam, self._scaler, self.plan.identity or {})
        self._log.summarise({**self.state.plain(), "stage_name": self._stage.name, "steps": self.state.ends[-1]})

    def _emit(self, event: TrainingEvent) -> None:
        if not self.team.first:
            return
        if not isinstance(event, MessageEvent):
            self._log.add(event)
        if self._report is not None:
            self._report(event)

    def _say(self, text: str) -> None:
        self._emit(MessageEvent(text))
