"""Claims on mlVIRNET, on breathing chests that no network has seen.

1. Three levels align better than one: higher Dice, lower TRE, fewer foldings.
2. A level that begins with the weights of the coarser one aligns better than one that begins with random weights.

All are trained here, from a seed, through the trainer, with equally many steps altogether (the levels share them, as in
the paper). Coronal slices of drawn chests stand for volumes: breathing up to 60 mm in voxels of 5 mm is then as far in
voxels as in the paper, in minutes instead of hours. `--volumes` does the same with volumes.

Hering, van Ginneken, Heldmann: mlVIRNET: Multilevel variational image registration network, MICCAI 2019,
doi:10.1007/978-3-030-32226-7_29.

    python Testing/claims/mlvirnet.py        exits with 1 where a claim fails; about two minutes on two cores
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from side_by_side import options, trained_side_by_side, workplace
from verdicts import told

from DeepRegistrationLib.training.measured import means, measured
from DeepRegistrationLib.training.mlvirnet import breathing
from DeepRegistrationLib.training.recipes.mlvirnet import RECIPE
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.training.settings import make_settings
from DeepRegistrationLib.training.synthetic import SyntheticPairs

#: of all trainings: the finest level looks at every voxel
SETTINGS: Mapping[str, Any] = {
    "spacing": 5.0, "size": 64, "length": 64, "stride": 1, "motion": 60.0, "slices": True,
    "drawn": 200,
}  # fmt: skip
STEPS, RATE = 1500, 2e-3

#: name -> its settings; a single level is the finest alone
WAYS: Mapping[str, Mapping[str, Any]] = {
    "one level": {"levels": 1},
    "three levels, random": {"progressive": False},
    "three levels": {},
}

#: pairs that are judged, and the seed of the first
PAIRS, SEED = 60, 70_000


def trained(name: str, settings: Mapping[str, Any], steps: int, work: Path) -> Path:
    """Folder of the model; its training is gone on with where it was begun."""
    folder = work / name.replace(",", "").replace(" ", "-")
    request = TrainingRequest(
        "mlvirnet", folder, settings=settings, steps=steps, learning_rate=RATE, validate_every=max(1, steps // 15),
        device="cpu", seed=1, resume=True,
    )  # fmt: skip
    model = run_training(request)
    print(f"trained: {name}", model.card.get("results"), flush=True)
    return model.folder


@torch.no_grad()
def judged(network: nn.Module | None, settings: Mapping[str, Any], pairs: int) -> dict[str, float]:
    """Means over the same pairs for every network; None: before."""
    drawn = SyntheticPairs(breathing(make_settings(RECIPE, settings)))
    rows = []
    for k in range(pairs):
        batch = drawn.sample(torch.Generator().manual_seed(SEED + k), torch.device("cpu"))
        assert batch.displacement is not None
        nothing = torch.zeros_like(batch.displacement)
        u = nothing if network is None else network(batch.fixed, batch.moving).displacement
        rows.append(measured(batch, u))
    return {name: value for name, value in means(rows).items() if "before" not in name}


def verdicts(rows: Mapping[str, Mapping[str, float]]) -> dict[str, bool]:
    """What is claimed, in words, and whether it holds."""
    one, random, three = (rows[name] for name in WAYS)

    def better(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
        return a["Dice"] > b["Dice"] and a["TRE (mm)"] < b["TRE (mm)"]

    return {
        "three levels align better than one (Dice, TRE)": better(three, one),
        "three levels fold less than one": three["Folding (%)"] < one["Folding (%)"],
        "the coarser level's weights are a better beginning than random ones (Dice, TRE)": better(three, random),
        "and all align better than nothing": all(better(row, rows["before"]) for row in (one, random, three)),
    }


def main() -> int:
    """0 where the claims hold."""
    parser = options(STEPS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--volumes", action="store_true", help="volumes instead of slices; hours")
    args = parser.parse_args()
    settings = {**SETTINGS, "slices": not args.volumes}
    rows = {"before": judged(None, settings, args.pairs)}
    with workplace(args.work) as work:
        given = {name: ({**settings, **own}, args.steps, work) for name, own in WAYS.items()}
        networks = trained_side_by_side(trained, given, args.processes)
        rows |= {name: judged(network, settings, args.pairs) for name, network in networks.items()}
    print(f"\nMeans over {args.pairs} breathing chests, {args.steps} steps each\n")
    print(f"{'':22s}" + "".join(f"{c:>14s}" for c in rows["before"]))
    for name, row in rows.items():
        print(f"{name:22s}" + "".join(f"{v:14.3f}" for v in row.values()))
    holds = verdicts(rows)
    print()
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
