"""What a worker says while it works, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: every kind of event; "result" and "error" are the last of a job
KINDS = ("progress", "log", "message", "metric", "losses", "validation", "result", "error")
#: ends what a worker writes to standard error about one job; the two streams are read side by side
END_OF_LOG = b"\x1eend of job\n"
#: the values of data["category"] of an error
CATEGORIES = ("input", "output", "memory", "cancelled", "crash", "killed")


@dataclass(frozen=True)
class Event:
    """kind one of KINDS.

    progress  stage, fraction 0..1, seconds_left (None until it can be guessed)
    log       text, a line of the worker's own output
    message   text, a sentence the user should read (a coarser grid was used ...)
    metric    text, a line of the summary of the numbers
    losses    of a training, stage; data = {"step", "steps", "losses": name -> mean since the last such event,
              "learning_rate", "gradient_norm"}
    validation  of a training, stage; data = {"step", "steps", "best", "score", "numbers": name -> value,
                "pictures": name -> full path}
    result    data = {"files": name -> full path, "metrics": {...}, "provenance": {...}},
              of a training {"id", "title", "folder", "results"} of the model
    error     text, one sentence for people; data = {"category": one of CATEGORIES}
    """

    kind: str
    stage: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        return self.kind in ("result", "error")

    @property
    def category(self) -> str:
        return str(self.data.get("category", ""))


def error_event(category: str, text: str) -> Event:
    return Event("error", text=text, data={"category": category})


def encode(event: Event, job: str) -> bytes:
    """One line, with the path of the job it belongs to."""
    return json.dumps({"job": job, **asdict(event)}, allow_nan=False).encode("utf-8") + b"\n"


def decode(line: str) -> tuple[str, Event] | None:
    """(job, event), or None where the line is not ours (a launcher printed something)."""
    try:
        values = json.loads(line)
        job = values.pop("job")
        event = Event(**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return (str(job), event) if event.kind in KINDS else None
