"""Claims on the LapIRN model that is shipped, on real head-and-neck CTs of patients it has never seen.

1. The network alone raises the mean Dice of seven organs over rigid + affine pre-alignment by 0.10 or more.
2. With instance optimisation it beats convex-adam, which is not given segmentations either.

The pairs: the case headneck_rt, and five patients that were kept from training and validation (each onto the next).
No method sees a segmentation here; the contours are for judging.

    python Testing/claims/lapirn_real.py        exits with 1 where a claim fails; about five minutes on two cores
    python Testing/claims/lapirn_real.py --card Resources/Models/lapirn/card.json      also notes it on the card
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT))

from verdicts import told  # noqa: E402

from DeepRegistrationLib.core.context import Context  # noqa: E402
from DeepRegistrationLib.core.image import Image  # noqa: E402
from DeepRegistrationLib.core.problem import RegistrationProblem  # noqa: E402
from DeepRegistrationLib.core.transform import Transform  # noqa: E402
from DeepRegistrationLib.io import read_image, read_segmentation  # noqa: E402
from DeepRegistrationLib.io.model_cards import find_models  # noqa: E402
from DeepRegistrationLib.methods import registry  # noqa: E402
from DeepRegistrationLib.methods.initialisation import prealign  # noqa: E402
from DeepRegistrationLib.methods.pipeline import register_problem  # noqa: E402
from DeepRegistrationLib.metrics.deformation import jacobian_of, jacobian_statistics, measured_region  # noqa: E402
from DeepRegistrationLib.metrics.overlap import overlap_by_label  # noqa: E402

SHARED = _ROOT.parent / "shared"
TRAINING = Path(__file__).with_name("lapirn_cases.json")

#: in neither role of the training's cases
HELD_OUT = (112, 115, 306, 319, 332)

#: mean Dice that the network alone has to gain
GAIN = 0.10

#: what is compared: method, preset, settings
WAYS: Mapping[str, tuple[str, str | None, Mapping[str, Any]]] = {
    "convex-adam": ("convex-adam", "head-neck-ct", {}),
    "lapirn, network alone": ("lapirn", None, {"refine": False}),
    "lapirn": ("lapirn", "head-neck-ct", {}),
}


@dataclass(frozen=True)
class Patient:
    name: str
    scan: Image
    labels: Image


def patient(number: int) -> Patient:
    folder = SHARED / "train" / "headneck_ct" / f"pt_{number}"
    return Patient(folder.name, read_image(folder / "ct.nii.gz"), read_segmentation(folder / "labels.nii.gz"))


def pairs() -> list[tuple[Patient, Patient]]:
    """(fixed, moving)."""
    folder = SHARED / "data" / "headneck_rt"
    rt = [
        Patient(side, read_image(folder / f"{side}_ct.nii.gz"), read_segmentation(folder / f"{side}_labels.nii.gz"))
        for side in ("fixed", "moving")
    ]
    kept = [patient(n) for n in HELD_OUT]
    return [(rt[0], rt[1]), *zip(kept, [*kept[1:], kept[0]], strict=True)]


def training() -> dict[str, Any]:
    """The table of cases the model was trained with."""
    said: dict[str, Any] = json.loads(TRAINING.read_text(encoding="utf-8"))
    return said


def scores(fixed: Patient, moving: Patient, transform: Transform | None) -> dict[str, float]:
    """Dice of every organ by name, their mean, and folding."""
    names = training()["names"]
    values = [int(v) for v in names]
    found = overlap_by_label(fixed.labels, moving.labels.resampled(fixed.labels.grid, transform), values)
    dice = {names[str(v)]: o.dice or 0.0 for v, o in found.items()}
    folding = 0.0
    if transform is not None and not transform.is_linear:
        region = measured_region(fixed.scan.grid, None)
        folding = jacobian_statistics(jacobian_of(transform, fixed.scan.grid)[region]).folding_percent
    return {"mean": sum(dice.values()) / len(dice), **dice, "folding %": folding}


def compared(fixed: Patient, moving: Patient) -> dict[str, dict[str, float]]:
    """By way; all start from the same pre-alignment."""
    context = Context(torch.device("cpu"))
    problem = RegistrationProblem(fixed.scan, moving.scan)
    start = prealign(problem, "affine", context)
    rows = {"rigid + affine": scores(fixed, moving, start)}
    for name, (method, preset, values) in WAYS.items():
        here = Context(torch.device("cpu"))
        result = register_problem(
            replace(problem, initial_transform=start), method, preset=preset, values=values, context=here
        )
        rows[name] = scores(fixed, moving, result.transform)
        for sentence in here.messages:
            print(f"  {name}: {sentence}")
    return rows


def verdicts(mean: Mapping[str, float]) -> dict[str, bool]:
    """What is claimed, in words, and whether it holds."""
    affine, alone, whole, convex = (
        mean[n] for n in ("rigid + affine", "lapirn, network alone", "lapirn", "convex-adam")
    )
    return {
        f"the network alone ({alone:.3f}) gains {alone - affine:.3f} >= {GAIN} over rigid + affine ({affine:.3f})":
            alone >= affine + GAIN,
        f"with instance optimisation ({whole:.3f}) it beats convex-adam ({convex:.3f})": whole > convex,
    }  # fmt: skip


def noted(card: Path, mean: Mapping[str, float]) -> None:
    """Who was kept away and what was measured on them, on the model's card; weights and their hash stay."""
    said = json.loads(card.read_text(encoding="utf-8"))
    said["training"]["held_out"] = [f"pt_{n}" for n in HELD_OUT]
    said["results"]["unseen patients"] = {f"Dice, {name}": round(value, 4) for name, value in mean.items()}
    card.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Prints the means over the pairs by way; gives the mean Dice."""
    columns = list(next(iter(found.values()))[0])
    print(f"{'':24s}" + "".join(f"{c[:13]:>15s}" for c in columns))
    means = {}
    for name, rows in found.items():
        row = {c: sum(r.get(c, 0.0) for r in rows) / len(rows) for c in columns}
        means[name] = row["mean"]
        print(f"{name:24s}" + "".join(f"{row[c]:15.3f}" for c in columns))
    return means


def main() -> int:
    """0 where the claims hold, or nothing can be said."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--card", type=Path, help="note the outcome on this card of the model")
    args = parser.parse_args()
    if not (SHARED / "train" / "headneck_ct").is_dir():
        print("the scans are not here: skipped")
        return 0
    if "lapirn" not in registry() or not find_models("lapirn"):
        print("no LapIRN model is installed: skipped")
        return 0
    torch.set_num_threads(args.threads)
    seen = {row["name"] for row in training()["cases"]} & {f"pt_{n}" for n in HELD_OUT}
    if seen:
        print(f"FAILS  {', '.join(sorted(seen))} took part in the training")
        return 1
    found: dict[str, list[dict[str, float]]] = {}
    for fixed, moving in pairs():
        rows = compared(fixed, moving)
        for name, row in rows.items():
            found.setdefault(name, []).append(row)
        print(fixed.name, moving.name, {name: round(row["mean"], 3) for name, row in rows.items()}, flush=True)
    print(f"\nDice of seven organs, means over {len(pairs())} pairs of unseen patients, no segmentations used\n")
    mean = table(found)
    if args.card is not None:
        noted(args.card, mean)
    holds = verdicts(mean)
    print()
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
