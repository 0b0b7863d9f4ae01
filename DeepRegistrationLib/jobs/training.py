"""A training as a job: what is ordered, and the same events as of any job. Importing this loads no torch.

The training itself (checkpoint, log, model) lives in a folder of its own, `TrainingOrder.out`, which stays when the job
has ended however it ends, and from which another job goes on (`resume`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from .events import Event
from .outputs import plain

if TYPE_CHECKING:
    from ..core.image import Image
    from ..core.progress import Progress
    from ..training.cases import TrainingCases
    from ..training.request import LossEvent, TrainingEvent, TrainingRequest, ValidationEvent

#: roles of a case, see training.cases.Role
ROLES = ("train", "validate")
#: folder in that of the training where the pictures of the last validation lie
PICTURES = "pictures"
#: s between two points of the curve of losses; what lies between is averaged
_PACE = 0.25
#: what order and request have alike
_SAME = (
    "recipe", "steps", "validate_every", "device", "seed", "resume", "checkpoint_seconds", "model_id", "title"
)  # fmt: skip


@dataclass(frozen=True)
class CaseFiles:
    """A case by its files.

    labels  a segmentation, or None
    names   label value -> name, of a segmentation that does not say it itself
    """

    name: str
    scan: str
    labels: str | None = None
    role: str = "train"
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingOrder:
    """cases  none: the recipe's own
    save   only write the model of what was learned so far

    The others are those of training.request.
    """

    recipe: str
    out: str
    values: Mapping[str, Any] = field(default_factory=dict)
    cases: Sequence[CaseFiles] = ()
    cases_from: str = "CASES"
    start: str | None = None
    steps: int | None = None
    validate_every: int | None = None
    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    checkpoint_seconds: float = 30.0
    resume: bool = False
    save: bool = False
    model_id: str | None = None
    title: str | None = None
    model_folder: str | None = None

    def problem(self) -> dict[str, Any]:
        """Content of problem.json."""
        return {"task": "train", "inputs": {}, **asdict(self)}


def order_of(problem: Mapping[str, Any]) -> TrainingOrder:
    """The training that problem.json of a job orders. Raises InputError for a case that is none."""
    known = {f.name for f in fields(TrainingOrder)}
    values = {name: value for name, value in problem.items() if name in known and name != "cases"}
    try:
        cases = tuple(CaseFiles(**case) for case in problem.get("cases") or ())
    except TypeError as error:
        raise InputError(f"A case of the training is described wrongly ({error}); choose the cases again.") from None
    for case in cases:
        if case.role not in ROLES:
            raise InputError(f"The case {case.name!r} has the role {case.role!r}; there are {' and '.join(ROLES)}.")
    return TrainingOrder(**values, cases=cases)


def order_from(request: TrainingRequest, files: Sequence[CaseFiles], threads: int | None = None) -> TrainingOrder:
    """The order that gives the worker `request`, with its paths in full: a worker runs in a folder of its own."""
    start = Path(request.start).expanduser() if request.start is not None else None
    return TrainingOrder(
        **{name: getattr(request, name) for name in _SAME},
        out=_full(request.out),
        values=dict(request.settings),
        cases=tuple(files),
        cases_from=request.cases_from,
        start=str(start.resolve()) if start is not None and start.exists() else request.start,
        threads=threads,
        model_folder=None if request.model_folder is None else _full(request.model_folder),
    )


def _full(path: Path) -> str:
    return str(path.expanduser().resolve())


def request_of(order: TrainingOrder, cases: TrainingCases | None) -> TrainingRequest:
    """What the trainer is asked for."""
    from ..training.request import TrainingRequest

    return TrainingRequest(
        **{name: getattr(order, name) for name in _SAME},
        start=order.start,
        out=Path(order.out),
        settings=dict(order.values),
        cases=cases,
        cases_from=order.cases_from if order.cases else "",
        model_folder=Path(order.model_folder) if order.model_folder else None,
    )


def load_cases(files: Sequence[CaseFiles]) -> TrainingCases | None:
    """The scans and segmentations of the cases, with the names that these have; None where there are no cases.

    Raises InputError.
    """
    if not files:
        return None
    from ..core.image import ImageKind
    from ..training.cases import Case, Role, TrainingCases
    from .loading import load_image, load_segmentation

    return TrainingCases(
        [
            Case(
                case.name,
                load_image(case.scan, ImageKind.INTENSITY, case.name),
                load_segmentation(case.labels, f"segmentation of {case.name}") if case.labels else None,
                Role(case.role),
            )
            for case in files
        ]
    )


def _with_names(cases: TrainingCases | None, files: Sequence[CaseFiles]) -> TrainingCases | None:
    """Every label has a name: its own, else the one it is listed with, else "label 3"."""
    if cases is None:
        return None
    named = []
    for case, file in zip(cases.cases, files, strict=True):
        labels = case.labels
        if labels is not None:
            listed = {int(value): name for value, name in file.names.items()}
            names = {**{v: f"label {v}" for v in labels.label_values}, **listed, **labels.names}
            case = replace(case, labels=replace(labels, names={v: names[v] for v in sorted(names)}))
        named.append(case)
    return replace(cases, cases=named)


def perform_training(order: TrainingOrder, progress: Progress, emit: Callable[[Event], None]) -> Event:
    """Train, or write the model of what was learned so far; the last event.

    Raises InputError, OutputError, DeviceMemoryError, and Cancelled after a checkpoint was written.
    """
    from ..training.run import run_training, save_trained
    from .perform import using_threads

    with using_threads(order.threads):
        progress.update(0.0, "Reading the cases")
        request = request_of(order, _with_names(load_cases(order.cases), order.cases))
        if order.save:
            model = save_trained(request, progress)
        else:
            teller = _Teller(order, emit)
            model = run_training(request, progress, teller.hear)
            teller.flush()
    data = {"id": model.id, "title": model.title, "folder": str(model.folder), "results": model.card.get("results")}
    return Event("result", stage="Finished", fraction=1.0, data=plain(data))


class _Teller:
    """Turns what the trainer tells into events, no more of them than a curve needs."""

    def __init__(self, order: TrainingOrder, emit: Callable[[Event], None]) -> None:
        self._out, self._emit = Path(order.out), emit
        self._waiting: list[LossEvent] = []
        self._told = float("-inf")

    def hear(self, event: TrainingEvent) -> None:
        from ..training.request import LossEvent, ValidationEvent

        if isinstance(event, LossEvent):
            if self._waiting and self._waiting[-1].losses.keys() != event.losses.keys():
                self.flush()
            self._waiting.append(event)
            if time.monotonic() - self._told >= _PACE:
                self.flush()
        elif isinstance(event, ValidationEvent):
            self.flush()
            self._emit(self._validated(event))
        else:
            self._emit(Event("message", text=event.text))

    def flush(self) -> None:
        """Tell the mean of the losses since the last time."""
        events, self._waiting = self._waiting, []
        if not events:
            return
        self._told = time.monotonic()
        last = events[-1]
        means = {name: sum(e.losses[name] for e in events) / len(events) for name in last.losses}
        data = {
            "step": last.step, "steps": last.steps, "losses": means, "learning_rate": last.learning_rate,
            "gradient_norm": last.gradient_norm,
        }  # fmt: skip
        self._emit(Event("losses", stage=last.stage, data=plain(data)))

    def _validated(self, event: ValidationEvent) -> Event:
        seen = event.validation
        data = {
            "step": event.step,
            "steps": event.steps,
            "best": event.best,
            "score": seen.score,
            "numbers": dict(seen.numbers),
            "pictures": {name: self._picture(name, image) for name, image in seen.pictures.items()},
        }
        return Event("validation", stage=event.stage, data=plain(data))

    def _picture(self, name: str, image: Image) -> str:
        from ..io import write_image

        folder = self._out / PICTURES
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{''.join(c if c.isalnum() else '_' for c in name)}.nrrd"
        write_image(image, path)
        return str(path)
