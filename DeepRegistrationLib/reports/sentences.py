"""What a report says in plain words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, Any]


def headline(made: Numbers) -> str:
    """Which scans, which method, how long. What is not recorded is left out."""
    inputs = made.get("inputs") or {}
    names = [os.path.basename(str(inputs.get(side) or "")) or f"the {side} scan" for side in ("moving", "fixed")]
    text = f"{names[0]} was moved onto {names[1]} with {made.get('method') or 'an unknown method'}"
    if made.get("seconds"):
        text += f" in {made['seconds']:.1f} s"
    if made.get("device"):
        text += f" on {made['device']}"
    if made.get("peak_memory_bytes"):
        text += f", using {made['peak_memory_bytes'] / 1024**2:.0f} MB of memory"
    if made.get("seed") is not None:
        text += f" (seed {made['seed']})"
    return (text if inputs.get("moving") else text[:1].upper() + text[1:]) + "."  # names of files stay as they are


def warnings(metrics: Numbers) -> list[str]:
    """What looks wrong, worst first: folding, landmarks or overlap worse than before, a field that leaves the scan."""
    return _texts(metrics.get("warnings"))


def notes(metrics: Numbers, made: Numbers) -> list[str]:
    """What the method had to say, without what is a warning already."""
    said = warnings(metrics)
    return [text for text in _texts(made.get("messages")) if text not in said]


def no_warning(metrics: Numbers) -> str:
    """In place of warnings, without promising more than was measured."""
    if not metrics:
        return "This result was not measured, so nothing here says how good it is."
    return (
        "No measurement raises a warning. That is no proof that the result is right: look at the pictures, "
        "and mind what was not measured."
    )


def not_measured(metrics: Numbers, made: Numbers) -> list[str]:
    """A sentence on everything that the inputs or the method did not allow to measure."""
    files = made.get("files") or {}
    if not metrics:
        return ["Nothing was measured: the result holds no metrics.json. Run `evaluate` on it."]
    found = []
    if not (metrics.get("landmarks") or {}).get("count"):
        found.append("No landmarks were given, so their distances (TRE) could not be measured.")
    segments = metrics.get("segments") or {}
    if not segments:
        found.append(
            "No segments were given, so overlap (Dice), surface distances and changes of volume inside structures "
            "could not be measured."
        )
    elif not (metrics.get("overlap") or {}).get("count"):
        found.append("No segment is in both scans, so overlap (Dice) and surface distances could not be measured.")
    if not metrics.get("inverse_consistency"):
        found.append(
            "No point stays in the moving scan, so the inverse could not be checked."
            if "inverse" in files
            else "The result has no inverse, so whether the way back leads home could not be checked."
        )
    if "uncertainty" not in files and "uncertainty" not in (metrics.get("maps") or {}):
        found.append("The result has no map of uncertainty.")
    return found


def _texts(found: Any) -> list[str]:
    """Sentences, each once, in their order."""
    return list(dict.fromkeys(str(text) for text in found)) if isinstance(found, (list, tuple)) else []
