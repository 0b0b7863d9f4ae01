"""How a model declares its training, once: what the command line, the panel and the trainer know of it.

A recipe says which settings there are (a frozen dataclass annotated as those of a method, see core/spec.py), and
makes from them a `Trainee`: the network, its samples, its losses and its validation. The trainer owns everything
else: steps, optimiser, precision, checkpoints, logs, several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from ..core.image import Image
    from ..core.progress import Tick
    from .batch import Batch
    from .cases import TrainingCases


@dataclass(frozen=True)
class Stage:
    """A part of the training with a name a user reads; share: its part of all the steps."""

    name: str
    share: float = 1.0


@dataclass(frozen=True)
class Validation:
    """How good the network is on what it does not learn from.

    score     what early stopping goes by: larger is better
    numbers   everything measured by name and unit ("Dice", "TRE (mm)"), in the order a user reads
    pictures  one example by name ("fixed", "moving", "moved" ...), all on one grid
    """

    score: float
    numbers: Mapping[str, float]
    pictures: Mapping[str, Image] = field(default_factory=dict)


class Trainee(Protocol):
    """What is being trained. Everything random in it comes from the generators it is handed."""

    network: torch.nn.Module

    def enter(self, stage: Stage) -> None:
        """Called when a stage begins, after `begin`, and again when a training is resumed within it: says which
        parameters learn (requires_grad)."""

    def begin(self, stage: Stage, tick: Tick) -> None:
        """Called once, before the first step of a stage, and not when it is resumed: copies weights and the like.

        `tick` now and then where it takes long; it raises to end it, and then the stage begins anew when resumed.
        A trained model that is tuned has been through all stages: it is in the last one, without this call.
        """

    def sample(self, generator: torch.Generator, device: torch.device) -> Batch:
        """One pair (B = 1), drawn with the generator (on the CPU) alone."""

    def losses(self, batch: Batch, stage: Stage) -> Mapping[str, torch.Tensor]:
        """Scalars by name, weights included, each a mean over the batch's pairs; their sum is minimised."""

    def validate(self, device: torch.device, tick: Tick) -> Validation:
        """The same cases each time; the network is in evaluation mode and gradients are off. `tick` between cases."""

    def card(self) -> Mapping[str, Any]:
        """`settings` of the model's card: all that inference has to know."""


@dataclass(frozen=True)
class Recipe:
    """id            also that of the shipped model
    architecture  id in networks/catalogue.py, and of the method
    settings      frozen dataclass, annotated as the parameters of a method
    trainee       trainee(settings, cases) -> Trainee; cases None: the recipe's own synthetic ones
    stages        stages(settings) -> in order
    learning_rate, batch, clip_norm   Adam's step, pairs a step (of all processes together), largest gradient norm
    steps, validate_every             of the training as it is shipped
    patience      validations without a better score before it stops; 0: never
    needs_cases   whether it learns from real cases only
    """

    id: str
    title: str
    description: str
    architecture: str
    paper: str
    doi: str
    settings: type
    trainee: Callable[[Any, TrainingCases | None], Trainee]
    stages: Callable[[Any], Sequence[Stage]] = lambda settings: (Stage("Training"),)
    steps: int = 1000
    batch: int = 1
    learning_rate: float = 1e-4
    clip_norm: float = 1.0
    validate_every: int = 100
    patience: int = 0
    needs_cases: bool = False
