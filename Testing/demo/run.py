"""The demo from files to pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import numbers
from .case import Case


@dataclass(frozen=True)
class Options:
    """What was typed; no case means the phantom, no preset the one that the names suggest."""

    case: Path | None
    out: Path
    method: str
    preset: str | None
    device: str


def make_phantom(folder: Path, *count: str) -> Path:
    """Draw the phantom, or `count` chests, in a process of its own, because it takes torch."""
    _say("Drawing chests" if count else "Drawing a breathing chest whose motion is known")
    testing = Path(__file__).resolve().parents[1]
    places = [str(testing), str(testing.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    command = [sys.executable, "-m", "demo.phantom", str(folder), *count]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise OSError("The phantom could not be drawn; the reason stands above.")
    return folder


def run(case: Case, options: Options, begun: float) -> int:
    """Align, measure, print, draw. `begun` is when the command started (time.monotonic)."""
    import host

    from . import scene
    from .pictures import Pictures
    from .user import User

    preset, why = case.preset()
    if options.preset is not None:
        preset, why = options.preset, "as asked"
    _say(f"Fixed {case.images['fixed'].name}, moving {case.images['moving'].name}")
    _say(f"Preset {preset or '(none)'}: {why}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder '{options.out}' cannot be made ({error.strerror}); choose another.") from None
    slicer_host = host.start()
    user = User(slicer_host)
    try:
        nodes = scene.load(case, preset)
        pictures = Pictures(slicer_host, nodes, options.out)
        pictures.frame(_focus(case, nodes))
        before = _before(pictures)
        user.choose(nodes, options.method, preset, options.device)
        seconds = {"apply": user.align(_Progress())}
        summary = _measure(case, nodes, user.result, preset, why)
        _draw(pictures, user.result, before, same_kind=case.kinds["fixed"] == case.kinds["moving"])
        user.show("jacobian")
        pictures.jacobian(user.result.segmentation)
        _save_scene(options.out)
        seconds |= {"registration": summary.pop("registration_seconds"), "whole": time.monotonic() - begun}
        return _report({**summary, "seconds": seconds}, user.result, pictures, options.out)
    finally:
        user.close()


def _before(pictures: Any) -> tuple[list[Any], list[Any]]:
    import slicer

    moving = pictures.moving
    try:
        return pictures.pair(moving), pictures.checkerboard(moving)
    finally:
        slicer.mrmlScene.RemoveNode(moving)


def _focus(case: Case, nodes: Any) -> np.ndarray | None:
    """Where structures or landmarks of fixed lie, on average (RAS mm)."""
    import slicer.util

    if case.truth is not None:
        return np.array([32.0, 5.0, -30.0])
    if "fixed" in nodes.segmentations:
        bounds = [0.0] * 6
        nodes.segmentations["fixed"].GetRASBounds(bounds)
        return np.array(bounds).reshape(3, 2).mean(axis=1)
    if "fixed" in nodes.landmarks:
        return slicer.util.arrayFromMarkupsControlPoints(nodes.landmarks["fixed"]).mean(axis=0)
    return None


def _measure(case: Case, nodes: Any, result: Any, preset: str, why: str) -> dict[str, Any]:
    """Errors from the transform node itself; Dice and folding as the worker measured them."""
    metrics, provenance = result.metrics, result.provenance
    dice = numbers.dice_by_name(metrics)
    likeness = metrics["similarity"]
    summary: dict[str, Any] = {
        "case": case.name,
        "fixed": case.images["fixed"].name,
        "moving": case.images["moving"].name,
        "method": provenance.get("method"),
        "preset": preset,
        "preset_because": why,
        "device": provenance.get("device"),
        "dice": dice,
        "dice_mean": numbers.mean_of(dice) if dice else None,
        "folding_percent": metrics["deformation"]["folding_percent"],
        "jacobian": [metrics["deformation"][f"jacobian_{k}"] for k in ("min", "max")],
        "similarity": {
            "name": "Mutual information",
            "before": likeness["nmi_before"] or 0.0,
            "after": likeness["nmi_after"] or 0.0,
        },
        "registration_seconds": provenance.get("seconds"),
        "tre_mm": None,
        "tre_lungs_mm": None,
    }
    if nodes.landmarks:
        summary["tre_mm"] = numbers.markup_errors(
            result.transform, nodes.landmarks["fixed"], nodes.landmarks["moving"]
        )
    if case.truth is not None:
        summary["tre_lungs_mm"] = numbers.true_errors(result.transform, np.load(case.truth))
    return summary


def _draw(pictures: Any, result: Any, before: tuple[list[Any], list[Any]], *, same_kind: bool) -> None:
    _say("Drawing Slicer's views")
    pictures.hide(result.segmentation)
    after = pictures.pair(result.moved), pictures.checkerboard(result.moved)
    says = "fixed in green, {} in magenta" + ("; grey where they agree" if same_kind else "")
    captions = f"Before: {says.format('moving')}", f"After: {says.format('moved')}"
    pictures.save("before.png", {captions[0]: before[0]})
    pictures.save("after.png", {captions[1]: after[0]})
    pictures.save("before-after.png", {captions[0]: before[0], captions[1]: after[0]})
    board = "{}: fields of fixed and of {} by turns"
    pictures.save(
        "checkerboard.png",
        {board.format("Before", "moving"): before[1], board.format("After", "moved"): after[1]},
    )


def _save_scene(folder: Path) -> None:
    import slicer.util

    if not slicer.util.saveScene(str(folder / "scene.mrb")):
        raise OSError(f"The scene could not be written into '{folder}'; check that there is room.")


def _report(summary: dict[str, Any], result: Any, pictures: Any, folder: Path) -> int:
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(f"\n{result.transform.GetName()} on {summary['device']}\n")
    print(numbers.table(numbers.rows(summary)))
    for message in result.messages:
        print(f"Note: {message}")
    names = [*(p.name for p in pictures.files), "scene.mrb", "summary.json"]
    print(f"\nIn {folder}: {', '.join(names)}")
    failures = numbers.worse(summary)
    for failure in failures:
        print(f"Worse than the start: {failure}.", file=sys.stderr)
    return 1 if failures else 0


class _Progress:
    """Writes a line for every new stage; on a terminal one line that changes."""

    def __init__(self) -> None:
        self._last: Any = None

    def __call__(self, text: str, percent: int) -> None:
        stage = text.split(" - ")[0]
        if stage and stage != self._last:
            self._last = stage
            _say(f"{percent:3d} % {stage}")


def _say(text: str) -> None:
    print(text, flush=True)
