"""Trains the feature fusion that `convex-adam` ships with, measures it, and writes weights and card.

    python Testing/claims/convex_adam_training.py --out Resources/Models/convex-adam-fusion --work FOLDER

Goes on from the last checkpoint in FOLDER where it was stopped. About half an hour on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import head_neck

from DeepRegistrationLib.core.progress import Progress, ProgressReport
from DeepRegistrationLib.io.weights import read_tensors, write_model, write_tensors
from DeepRegistrationLib.methods.fused_features import ARCHITECTURE
from DeepRegistrationLib.networks.feature_fusion import FeatureFusion
from DeepRegistrationLib.training.fusion import FusionCase, FusionTraining, train_fusion

#: the patient whose frame all training cases are brought to, chosen before anything was trained
REFERENCE = 225

ORGANS = list(head_neck.ORGANS)


def training_cases(
    numbers: Sequence[int], organs: Sequence[int] = ORGANS, work: Path | None = None
) -> list[FusionCase]:
    """The patients' cases with these organs; those with all organs are kept in `work` once they are made."""
    file = None if work is None else work / f"cases-{len(numbers)}-{'-'.join(map(str, ORGANS))}.safetensors"
    if file is not None and file.exists():
        cases = _unpacked(read_tensors(file), numbers)
    else:
        cases = head_neck.cases_in_one_frame(numbers, REFERENCE, ORGANS, lambda name: print(name, flush=True))
        if file is not None:
            write_tensors(file, _packed(cases))
    channels = [ORGANS.index(v) for v in organs]
    return [replace(c, seen=[s[channels] for s in c.seen], truth=c.truth[channels]) for c in cases]


def _packed(cases: Sequence[FusionCase]) -> dict[str, torch.Tensor]:
    tensors = {}
    for c in cases:
        parts = {"mind": c.mind, "known": c.known, "truth": c.truth}
        parts |= {f"seen{k}": seen for k, seen in enumerate(c.seen)}
        tensors.update({f"{c.name}.{key}": value for key, value in parts.items()})
    return tensors


def _unpacked(tensors: dict[str, torch.Tensor], numbers: Sequence[int]) -> list[FusionCase]:
    versions = range(len(head_neck.DEVIATIONS))
    return [
        FusionCase(
            name, tensors[f"{name}.mind"], tensors[f"{name}.known"],
            [tensors[f"{name}.seen{k}"] for k in versions], tensors[f"{name}.truth"],
        )
        for name in (f"pt_{n}" for n in numbers)
    ]  # fmt: skip


class Log:
    """Prints the progress of the training now and then."""

    def __init__(self, every: float = 30.0) -> None:
        self.every, self.last = every, 0.0

    def __call__(self, report: ProgressReport) -> None:
        if time.monotonic() - self.last > self.every:
            self.last = time.monotonic()
            left = "" if report.seconds_left is None else f", {report.seconds_left / 60:.0f} min left"
            print(f"{100 * report.fraction:5.1f} %  {report.stage}{left}", flush=True)


def measured(networks: Mapping[str, FeatureFusion], deviation: float) -> dict[str, float]:
    """Mean Dice of the organs over the held-out pairs by what was compared; the search alone, without Adam.

    networks   by what they are called
    deviation  mm of the contour errors of the segmentations features are made of; the Dice is that of the contours
               as they are
    """
    sums: dict[str, list[float]] = {}
    for fixed, moving in head_neck.benchmark_pairs():
        case = head_neck.pair(fixed, moving, ORGANS, deviation)
        both = (case.fixed, case.moving)
        scores = {
            "affine start": head_neck.judged(case, case.start),
            "MIND": head_neck.searched(case, *(c.mind for c in both)),
            "segmentations": head_neck.searched(case, *(head_neck.SEGMENT_SCALE * c.seen[0] for c in both)),
        }
        for name, network in networks.items():
            with torch.no_grad():
                scores[name] = head_neck.searched(case, *(network(c.mind, c.seen[0], c.known) for c in both))
        for name, score in scores.items():
            sums.setdefault(name, []).append(score.mean(ORGANS))
        print(fixed, moving, {name: round(values[-1], 3) for name, values in sums.items()}, flush=True)
    return {name: round(sum(values) / len(values), 4) for name, values in sums.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--work", type=Path, required=True, help="folder for prepared cases and the checkpoint")
    parser.add_argument("--steps", type=int, default=FusionTraining.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    numbers = head_neck.patients()
    settings = head_neck.settings_for(ORGANS)
    training = FusionTraining(steps=args.steps, seed=args.seed)
    cases = training_cases(numbers, work=args.work)
    network, losses = train_fusion(
        cases, settings, training, args.work / "checkpoint.safetensors", Progress(Log())
    )
    share = max(1, len(losses) // 10)
    print(f"loss {sum(losses[:share]) / share:.5f} -> {sum(losses[-share:]) / share:.5f}", flush=True)
    before = {"loss": round(sum(losses[:share]) / share, 6)}
    after = {"loss": round(sum(losses[-share:]) / share, 6)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        untrained = FeatureFusion(len(settings.segments), settings.hidden, settings.fused)
    deviation = head_neck.DEVIATIONS[1]
    dice = measured({"fused, untrained": untrained, "fused": network}, deviation)
    card = {
        "id": args.out.name,
        "title": "Head and neck, seven organs",
        "architecture": ARCHITECTURE,
        "settings": settings.as_card(),
        "training": {
            "command": f"python Testing/claims/convex_adam_training.py --out Resources/Models/{args.out.name} "
            f"--work build/fusion --steps {args.steps} --seed {args.seed}",
            "data": "OpenKBP planning CTs with organ contours (Babier et al., Medical Physics 48:5549-5561, 2021), "
            f"{len(numbers)} patients, read from shared/train/headneck_ct beside the checkout",
            "cases": numbers,
            "held_out": head_neck.held_out(),
            "contour_errors_mm": list(head_neck.DEVIATIONS),
            "seed": args.seed,
            "steps": args.steps,
            "batch": "one pair, one block of cells",
            "versions": {"torch": torch.__version__},
        },
        "results": {
            "what": f"mean Dice of seven organs over {len(head_neck.benchmark_pairs())} pairs of held-out patients; "
            f"coupled convex search alone on cells of {2 * head_neck.SPACING:g} mm; segmentations seen with contour "
            f"errors of {deviation:g} mm",
            "dice": dice,
            "before": before,
            "after": after,
        },
        "paper": "doi:10.1007/978-3-031-11203-4_13",
    }
    model = write_model(args.out, network.state_dict(), card)
    print(f"{model.weights}  {model.sha256}\n{dice}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
