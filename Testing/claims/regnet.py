"""Claim: RegNet's two scales and late fusion each lower its error, and it improves on an affine alignment.

Three networks are trained alike, through the trainer and from one seed, on slices of synthetic anatomy: as published,
with both scans as channels of the first layer (early fusion), and with the small patches alone (one scale). Measured:

    MAE   sum over the axes of |u' - u| on fields and anatomy none of them has seen, mm
    TRE   on head phantoms, after the automatic affine alignment and after RegNet's answer on top of it, of the points
          that the affine alignment leaves within the capture range of 8 mm, and of all; nothing is refined
    and how far evaluating a volume at once is from evaluating it patch by patch, for the published network in 3-D

Slices instead of volumes, because three networks learn there in minutes; voxels of 1 mm and patches of 29^2 and 54^2,
as in the paper.

Found (10,000 steps, 400 pairs, 4.09 mm before): two scales and late fusion .811 mm, early fusion 1.046 mm, one scale
1.070 mm. The last two are close: after 7000 steps 1.16 mm both, over 600 pairs.

    python Testing/claims/regnet.py --precision half      exits with 1 where a claim fails; 25 minutes on two cores that
                                                          have instructions for half precision, else twice as long
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from side_by_side import options, trained_side_by_side, workplace
from verdicts import told

import phantoms
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.methods.initialisation import prealign
from DeepRegistrationLib.networks.inference import predict
from DeepRegistrationLib.networks.regnet import RegNet, RegNetSettings
from DeepRegistrationLib.optim.working_pair import prepare, working_grid
from DeepRegistrationLib.training.recipes.regnet import Settings
from DeepRegistrationLib.training.regnet import RegNetTraining, residual
from DeepRegistrationLib.training.request import TrainingRequest
from DeepRegistrationLib.training.run import run_training
from DeepRegistrationLib.transforms import Affine, DisplacementField, compose

COMMON: dict[str, Any] = {"dimension": 2, "size": 112, "block": 40, "spacing": 1.0, "low": None, "high": None}
#: two small blocks of different pairs in each step teach more than a large one of a single pair, in the same time
BATCH = 2
VARIANTS: dict[str, dict[str, Any]] = {
    "RegNet": {},
    "early fusion": {"late": False},
    "one scale": {"scales": 1},
}
STEPS = 10_000
CAPTURE = 8.0
#: pairs the MAE is measured on, and the seed of the first: none of those that are learned from or validated with
PAIRS, UNSEEN = 400, 50_000_000
HEADS = 8


def trained(name: str, steps: int, precision: str, work: Path) -> Path:
    """Folder of the model after so many steps; its training is gone on with where it was begun."""

    def report(event: Any) -> None:
        if hasattr(event, "validation"):
            print(f"{name:14s} step {event.step:5d}  MAE {event.validation.numbers['MAE (mm)']:.3f} mm", flush=True)

    request = TrainingRequest(
        "regnet", work / name.replace(" ", "-"), settings={**COMMON, **VARIANTS[name]}, steps=steps, seed=0,
        batch=BATCH, resume=True, validate_every=max(1, steps // 6), device="cpu", precision=precision,
    )  # fmt: skip
    return run_training(request, report=report).folder


@torch.no_grad()
def errors(networks: Mapping[str, torch.nn.Module]) -> dict[str, np.ndarray]:
    """MAE (mm) on every unseen pair, by network; "nothing": of no displacement at all."""
    training = RegNetTraining(Settings(**COMMON), None)
    found: dict[str, list[float]] = {}
    for k in range(PAIRS):
        block = training.sample(torch.Generator().manual_seed(UNSEEN + k), torch.device("cpu"))
        for name, network in networks.items():
            assert isinstance(network, RegNet)
            lattice = network.block(block.fixed, block.moving)
            found.setdefault(name, []).append(float(residual(lattice, block)))
            if name == "RegNet":
                found.setdefault("nothing", []).append(float(residual(torch.zeros_like(lattice), block)))
    return {name: np.array(values) for name, values in found.items()}


def head(seed: int) -> phantoms.PhantomCase:
    """Two slices of a head that is turned, moved and deformed."""
    angle = np.deg2rad(4.0 * (-1) ** seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grid = Grid((112, 128), (2.0, 2.0), (-111.0, -127.0))
    placement = Affine(turn, np.array([5.0, -4.0]))
    return phantoms.brain(grid, grid, seed=seed, motion_mm=12.0, placement=placement)


def targets(network: torch.nn.Module, settings: Any) -> dict[str, float]:
    """TRE (mm) over the heads: affine and RegNet, of points in the capture range and of all."""
    within: dict[str, list[np.ndarray]] = {"affine": [], "RegNet": []}
    whole: dict[str, list[np.ndarray]] = {"affine": [], "RegNet": []}
    for seed in range(HEADS):
        case = head(seed)
        start = prealign(case.problem, "affine", Context(device=torch.device("cpu")))
        assert start is not None
        grid = working_grid(case.problem.fixed.grid, settings.spacing)
        pair = prepare(case.problem, grid, start, None)
        images = settings.normalised(pair.fixed, pair.trust), settings.normalised(pair.moving, pair.known)
        found = predict(network, *images, None, multiple=settings.multiple)
        warp = DisplacementField.from_index_displacement(found.displacement[0], grid)
        of = {"affine": case.errors(start), "RegNet": case.errors(compose(warp, start))}
        reachable = of["affine"] <= CAPTURE
        for name, values in of.items():
            within[name].append(values[reachable])
            whole[name].append(values)
    return {
        **{f"{name} in range": float(np.concatenate(v).mean()) for name, v in within.items()},
        **{f"{name} all": float(np.concatenate(v).mean()) for name, v in whole.items()},
    }


@torch.no_grad()
def apart() -> float:
    """Largest difference (voxels) between a volume evaluated at once and by patches, at random voxels."""
    torch.manual_seed(1)
    network = RegNet(RegNetSettings(stride=1))
    torch.nn.init.normal_(network.out.weight, std=0.05)
    fixed, moving = torch.rand(2, 1, 1, 12, 10, 14)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 1.0  # takes over what it sees, so that no layer's output dies away
    network.train()(fixed, moving)
    network.eval()
    whole = network(fixed, moving).displacement
    padded = [F.pad(image, (30,) * 6, mode="replicate") for image in (fixed, moving)]
    largest = 0.0
    for z, y, x in ((0, 0, 0), (3, 8, 5), (6, 1, 12), (11, 9, 13), (4, 4, 4)):
        patches = [
            image[..., z + 30 - b : z + 30 - b + n, y + 30 - b : y + 30 - b + n, x + 30 - b : x + 30 - b + n]
            for b, n in ((14, 29), (27, 54))
            for image in padded
        ]
        largest = max(largest, float((network.patches(*patches)[0] - whole[0, :, z, y, x]).abs().max()))
    return largest


def verdicts(mae: Mapping[str, float], tre: Mapping[str, float], difference: float) -> dict[str, bool]:
    """What is claimed, in words, and whether it holds."""
    return {
        f"two scales and late fusion ({mae['RegNet']:.3f} mm) < early fusion ({mae['early fusion']:.3f} mm)":
            mae["RegNet"] < mae["early fusion"],
        f"early fusion ({mae['early fusion']:.3f} mm) < one scale ({mae['one scale']:.3f} mm)":
            mae["early fusion"] < mae["one scale"],
        f"within {CAPTURE:g} mm RegNet ({tre['RegNet in range']:.2f} mm) improves on the affine alignment "
        f"({tre['affine in range']:.2f} mm)": tre["RegNet in range"] < tre["affine in range"],
        f"all voxels at once are the patches (largest difference {difference:.1e} voxels)": difference < 1e-5,
    }  # fmt: skip


def main() -> int:
    """0 where the claims hold."""
    parser = options(STEPS)
    parser.add_argument("--precision", default="auto", help="half: faster where the processor has instructions for it")
    args = parser.parse_args()
    with workplace(args.work) as work:
        given = (args.steps, args.precision, work)
        networks = trained_side_by_side(trained, dict.fromkeys(VARIANTS, given), args.processes)
    found = errors(networks)
    mae = {name: float(values.mean()) for name, values in found.items()}
    print(f"\nMAE on {PAIRS} unseen pairs")
    for name in ("nothing", *VARIANTS):
        share = 100 * (found[name] < found["RegNet"]).mean()
        print(f"{name:14s} {mae[name]:.3f} mm   better than RegNet on {share:.0f} % of them")
    training = RegNetTraining(Settings(**COMMON), None)
    tre = targets(networks["RegNet"], training.working)
    print(f"\nTRE on {HEADS} head phantoms")
    for name, value in tre.items():
        print(f"{name:18s} {value:.2f} mm")
    print()
    holds = verdicts(mae, tre, apart())
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
