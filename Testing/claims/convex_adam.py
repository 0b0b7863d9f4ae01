"""Claims on the learned features of convex-adam, on head-and-neck CTs that nothing was trained on.

1. Features fused from image and segmentations align organs better than MIND alone and than segmentations alone.
2. With a structure left out of the segmentations, that structure loses less (against MIND alone) with fused features
   than with segmentations alone.

The discrete search alone, without Adam, as in the paper (Siebert, Heinrich, WBIR 2022,
doi:10.1007/978-3-031-11203-4_13). As there, features are made of segmentations that are not exact (here contours off by
some millimetres at random) and judged by the contours as they are. That the whole method holds against its published
peers on real lung, brain and head-and-neck pairs is what Testing/bench measures.

    python Testing/claims/convex_adam.py        exits with 1 where a claim fails; about ten minutes on two cores
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import head_neck
from convex_adam_training import ORGANS, training_cases
from head_neck import SEGMENT_SCALE, Pair, Score
from verdicts import told

from DeepRegistrationLib.io.model_cards import find_models, shipped_folder
from DeepRegistrationLib.io.weights import load_weights
from DeepRegistrationLib.methods.fused_features import ARCHITECTURE
from DeepRegistrationLib.networks.feature_fusion import FeatureFusion
from DeepRegistrationLib.networks.fusion_settings import FusionSettings
from DeepRegistrationLib.training.fusion import FusionTraining, train_fusion

#: mm, standard deviation of the contour errors
ERRORS = 3.0

#: the mandible: bone, which MIND sees well, as the vertebrae are in the paper
LEFT_OUT = 7

#: what one-hot segments alone are multiplied by; the best of these has to be beaten
SCALES = (1.0, SEGMENT_SCALE, 2 * SEGMENT_SCALE)

#: of the network trained here, without the structure left out
STEPS = 200


def shipped() -> FeatureFusion:
    """The network the method comes with."""
    (model,) = find_models(ARCHITECTURE, [shipped_folder()])
    settings = FusionSettings.from_card(model.settings)
    network = FeatureFusion(len(settings.segments), settings.hidden, settings.fused)
    network.load_state_dict(load_weights(model))
    return network


def trained_without(organ: int, work: Path | None) -> FeatureFusion:
    organs = [v for v in ORGANS if v != organ]
    cases = training_cases(head_neck.patients(), organs, work)
    checkpoint = None if work is None else work / f"without-{organ}.safetensors"
    network, losses = train_fusion(cases, head_neck.settings_for(organs), FusionTraining(steps=STEPS), checkpoint)
    print(f"trained without the {head_neck.NAMES[organ]}: loss {losses[0]:.4f} -> {losses[-1]:.4f}", flush=True)
    return network


@torch.no_grad()
def scores(case: Pair, whole: FeatureFusion, partly: FeatureFusion) -> dict[str, Score]:
    """By what was compared. whole, partly: networks for all organs, and for those besides LEFT_OUT."""
    both = (case.fixed, case.moving)
    rest = [ORGANS.index(v) for v in ORGANS if v != LEFT_OUT]
    compared = {
        "MIND": [c.mind for c in both],
        **{f"segments x {s:g}": [s * c.seen[0] for c in both] for s in SCALES},
        "side by side": [torch.cat([c.mind, SEGMENT_SCALE * c.seen[0]]) for c in both],
        "fused": [whole(c.mind, c.seen[0], c.known) for c in both],
        "segments but one": [SEGMENT_SCALE * c.seen[0][rest] for c in both],
        "fused but one": [partly(c.mind, c.seen[0][rest], c.known) for c in both],
    }
    found = {"affine start": head_neck.judged(case, case.start)}
    found |= {name: head_neck.searched(case, *features) for name, features in compared.items()}
    return found


def table(found: Mapping[str, Sequence[Score]]) -> dict[str, dict[str, float]]:
    """Prints and gives the means over the pairs by what was compared."""
    columns: dict[str, Callable[[Score], float]] = {
        "seven organs": lambda s: s.mean(ORGANS),
        "other six": lambda s: s.mean([v for v in ORGANS if v != LEFT_OUT]),
        head_neck.NAMES[LEFT_OUT]: lambda s: s.dice[LEFT_OUT],
        "SDlogJ": lambda s: s.sd_log,
        "folding %": lambda s: s.folding,
    }
    print(f"{'compared':18s}" + "".join(f"{c:>14s}" for c in columns))
    means = {
        name: {c: sum(value(s) for s in several) / len(several) for c, value in columns.items()}
        for name, several in found.items()
    }
    for name, row in means.items():
        print(f"{name:18s}" + "".join(f"{v:14.3f}" for v in row.values()))
    return means


def verdicts(means: Mapping[str, Mapping[str, float]]) -> dict[str, bool]:
    """What is claimed, in words, and whether it holds."""
    seven = {name: row["seven organs"] for name, row in means.items()}
    alone = max(seven[f"segments x {s:g}"] for s in SCALES)
    organ = head_neck.NAMES[LEFT_OUT]
    loss = {name: means["MIND"][organ] - means[name][organ] for name in ("segments but one", "fused but one")}
    six = {name: means[name]["other six"] for name in ("MIND", "segments but one", "fused but one")}
    return {
        f"fused ({seven['fused']:.3f}) aligns organs better than MIND ({seven['MIND']:.3f}) and than segmentations "
        f"({alone:.3f})": seven["fused"] > max(seven["MIND"], alone),
        f"the {organ}, left out, loses less against MIND with fused ({loss['fused but one']:.3f}) than with "
        f"segmentations ({loss['segments but one']:.3f})": loss["fused but one"] < loss["segments but one"],
        f"and the six organs gain: fused {six['fused but one']:.3f}, segmentations {six['segments but one']:.3f}, "
        f"MIND {six['MIND']:.3f}": six["fused but one"] > max(six["MIND"], six["segments but one"]),
    }


def main() -> int:
    """0 where the claims hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, help="folder for prepared cases and checkpoints, to go on from")
    parser.add_argument("--errors", type=float, default=ERRORS, help="mm of the contour errors")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if not head_neck.DATA.is_dir():
        print("the scans are not here: skipped")
        return 0
    torch.set_num_threads(args.threads)
    whole, partly = shipped(), trained_without(LEFT_OUT, args.work)
    found: dict[str, list[Score]] = {}
    for fixed, moving in head_neck.benchmark_pairs():
        of_pair = scores(head_neck.pair(fixed, moving, ORGANS, args.errors), whole, partly)
        for name, score in of_pair.items():
            found.setdefault(name, []).append(score)
        print(fixed, moving, {name: round(s.mean(ORGANS), 3) for name, s in of_pair.items()}, flush=True)
    print(f"\nMean Dice over {len(head_neck.benchmark_pairs())} held-out pairs, contours off by {args.errors:g} mm")
    holds = verdicts(table(found))
    print()
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
