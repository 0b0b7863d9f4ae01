"""What a training has measured, as files for people and programs; reading it loads no torch.

    losses.jsonl   a line a step        {"step", "stage", "losses": {...}, "total", "learning_rate", "gradient_norm"}
                   a line a validation  {"step", "stage", "score", "numbers": {...}, "best"}
    summary.json   where it stands

The lines hold no times: a training that was stopped and went on leaves the same file as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import OutputError
from ..io.model_cards import write_json, write_text
from .request import LossEvent, ValidationEvent

LOSSES, SUMMARY = "losses.jsonl", "summary.json"


class RunLog:
    """The log of one training in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._file, self._summary = folder / LOSSES, folder / SUMMARY

    def rewind(self, step: int, validated: int) -> None:
        """Forgets what was measured after `step` steps, and the validations after `validated`."""
        last = {"losses": step, "numbers": validated}
        kept = [e for e in read_log(self._file.parent) if e["step"] <= last["losses" if "losses" in e else "numbers"]]
        write_text(self._file, "".join(json.dumps(e) + "\n" for e in kept))

    def add(self, event: LossEvent | ValidationEvent) -> None:
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry(event), allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(
                f"The log {str(self._file)!r} could not be written ({error.strerror}); free some space, then resume."
            ) from error

    def summarise(self, summary: Mapping[str, Any]) -> None:
        write_json(self._summary, finite(summary))


def entry(event: LossEvent | ValidationEvent) -> dict[str, Any]:
    """The event as a line of the log says it; numbers that are none are null."""
    said: dict[str, Any] = {"step": event.step, "stage": event.stage}
    if isinstance(event, LossEvent):
        said |= {
            "losses": dict(event.losses),
            "total": event.total,
            "learning_rate": event.learning_rate,
            "gradient_norm": event.gradient_norm,
        }
    else:
        said |= {"score": event.validation.score, "numbers": dict(event.validation.numbers), "best": event.best}
    plain: dict[str, Any] = finite(said)
    return plain


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training's log in order; none where there is no log. A line that was cut short is left out."""
    try:
        lines = (folder / LOSSES).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def shortened(log: Sequence[Mapping[str, Any]], points: int = 20) -> dict[str, Any]:
    """The course of a training in about `points` lines, as a model's card keeps it.

    losses       means over equal runs of steps: {"steps": "1-50", name: mean ...}
    validations  the first, the last, and some between: {"step", "score", name: number ...}
    """
    steps = [e for e in log if "losses" in e]
    block = max(1, math.ceil(len(steps) / points))
    losses = []
    for start in range(0, len(steps), block):
        part = steps[start : start + block]
        names = list(dict.fromkeys(n for e in part for n in e["losses"]))
        means = {n: _mean([e["losses"][n] for e in part if n in e["losses"]]) for n in names}
        losses.append({"steps": f"{part[0]['step']}-{part[-1]['step']}", **means})
    measured = [e for e in log if "numbers" in e]
    every = max(1, math.ceil((len(measured) - 1) / points))
    chosen = [e for k, e in enumerate(measured) if k % every == 0 or k == len(measured) - 1]
    validations = [{"step": e["step"], "score": _rounded(e["score"]), **_all_rounded(e["numbers"])} for e in chosen]
    return {"losses": losses, "validations": validations}


def finite(value: Any) -> Any:
    """The same with None in place of numbers that are infinite or none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return _rounded(sum(there) / len(there)) if there else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _all_rounded(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: _rounded(v) for k, v in numbers.items()}
