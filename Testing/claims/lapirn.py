"""Claims on LapIRN, on drawn abdomens that no network has seen.

1. Dice: with segmentations to learn from > without > before.
2. Dice: three levels > one.
3. The weights published for the original network, converted, give its published fields to 1e-4 in both forms (where
   they lie beside the checkout).

All are trained here, from a seed, through the trainer, with equally many steps altogether, on pairs of different
patients; the single level may reach as far as the three together. Axial slices of drawn abdomens stand for volumes: the
same organs in every patient, elsewhere and of other size and shape. What the shipped model reaches on real patients is
what Testing/claims/lapirn_real.py measures.

Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks, 2021,
doi:10.1007/978-3-030-71827-5_7.

    python Testing/claims/lapirn.py        exits with 1 where a claim fails; about ten minutes on two cores
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT))

from verdicts import told  # noqa: E402

from DeepRegistrationLib.core.grid import Grid  # noqa: E402
from DeepRegistrationLib.core.image import Image, ImageKind  # noqa: E402
from DeepRegistrationLib.methods.network_models import load_network  # noqa: E402
from DeepRegistrationLib.networks.catalogue import build  # noqa: E402
from DeepRegistrationLib.networks.lapirn_published import convert_published  # noqa: E402
from DeepRegistrationLib.networks.working import WorkingSettings  # noqa: E402
from DeepRegistrationLib.ops.warp import warp  # noqa: E402
from DeepRegistrationLib.training.case_pairs import CasePairs  # noqa: E402
from DeepRegistrationLib.training.cases import Case, Role, TrainingCases  # noqa: E402
from DeepRegistrationLib.training.measured import dice, folding, means  # noqa: E402
from DeepRegistrationLib.training.request import TrainingRequest  # noqa: E402
from DeepRegistrationLib.training.run import run_training  # noqa: E402
from DeepRegistrationLib.training.synthetic.anatomy import segments_of  # noqa: E402
from DeepRegistrationLib.training.synthetic.pairs import SyntheticPairs  # noqa: E402
from DeepRegistrationLib.training.synthetic.settings import SyntheticSettings  # noqa: E402

PUBLISHED = _ROOT.parent / "shared" / "weights" / "lapirn"

#: mm and voxels of a slice; patients to learn from, to validate on and to judge by
SPACING, SIZE = 2.0, 160
TRAINED, VALIDATED, JUDGED = 40, 6, 16
#: of the first patient's drawing
SEED = 31_000

STEPS = 1500
SETTINGS: Mapping[str, Any] = {
    "spacing": SPACING, "low": 0.0, "high": 1.0, "size": SIZE, "length": SIZE, "channels": 16,
}  # fmt: skip
REACH = 4.0
WAYS: Mapping[str, Mapping[str, Any]] = {
    "without segmentations": {"overlap_weight": 0.0},
    "one level": {"levels": 1, "reach": REACH * (1 + 2 + 4)},
    "with segmentations": {},
}


def patient(number: int, role: Role) -> Case:
    """A slice of an abdomen as in CT, drawn from SEED + number and deformed."""
    said = SyntheticSettings(
        families=("organs",), size=(SIZE, SIZE), spacing=SPACING, motions=("diffeomorphic",), amplitude=(30.0, 50.0),
        smoothness=(50.0, 90.0), contrast="typical", noise=(0.02, 0.05),
    )  # fmt: skip
    batch = SyntheticPairs(said).sample(torch.Generator().manual_seed(SEED + number), torch.device("cpu"))
    assert batch.moving_labels is not None
    grid = Grid((SIZE, SIZE), (SPACING, SPACING))
    names = dict(enumerate(segments_of("organs"), start=1))
    values = torch.arange(1, len(names) + 1, dtype=torch.float32).reshape(-1, 1, 1)
    labels = (batch.moving_labels[0, : len(names)] * values).sum(dim=0, keepdim=True).to(torch.uint8)
    return Case(f"patient {number}", Image(batch.moving[0], grid), Image(labels, grid, ImageKind.LABELS, names), role)


def trained(name: str, cases: TrainingCases, steps: int, work: Path) -> nn.Module:
    """The network, by its model as it was written."""
    request = TrainingRequest(
        "lapirn", work / name.replace(" ", "-"), settings={**SETTINGS, **WAYS[name]}, cases=cases,
        cases_from="drawn abdomens", steps=steps, validate_every=max(1, steps // 12), device="cpu", seed=1, resume=True,
    )  # fmt: skip
    model = run_training(request)
    print(f"trained: {name}", model.card.get("results"), flush=True)
    return load_network(model)


def unseen(segments: list[str]) -> CasePairs:
    """Patients after those that were learned from, each with the next."""
    cases = [patient(TRAINED + VALIDATED + k, Role.VALIDATE) for k in range(JUDGED)]
    pairs = [(a.name, b.name) for a, b in zip(cases, [*cases[1:], cases[0]], strict=True)]
    return CasePairs(cases, pairs, segments, WorkingSettings(SPACING, 0.0, 1.0, 8), (SIZE, SIZE))


@torch.no_grad()
def judged(network: nn.Module | None, pairs: CasePairs) -> dict[str, float]:
    """Means over the unseen pairs; None: before."""
    rows = []
    for fixed, moving in pairs.pairs:
        batch = pairs.pair(fixed, moving)
        assert batch.fixed_labels is not None and batch.moving_labels is not None
        u = torch.zeros(1, 2, SIZE, SIZE) if network is None else network(batch.fixed, batch.moving).displacement
        moved = warp(batch.moving_labels, u)
        rows.append({"Dice": dice(batch.fixed_labels, moved), "folding %": folding(u)})
    return means(rows)


def parity() -> dict[str, float]:
    """Largest difference to the published fields, in their units, by form; empty where they are not here."""
    if not PUBLISHED.is_dir():
        return {}
    kept = np.load(PUBLISHED / "parity_96.npz")
    # their arrays have the axes x, y, z, and a field's first channel belongs to the last axis
    fixed, moving = (torch.from_numpy(kept[name].T.copy())[None, None] for name in ("fixed", "moving"))
    found = {}
    for form in ("disp", "diff"):
        tensors, settings = convert_published(PUBLISHED / f"LapIRN_{form}_fea7.pth")
        network = build("lapirn", settings["network"])
        network.load_state_dict(tensors)
        with torch.no_grad():
            field = network(fixed, moving).displacement[0].numpy()
        half_extent = (fixed.shape[-1] - 1) / 2
        found[form] = float(np.abs(field / half_extent - kept[f"flow_{form}"][::-1].transpose(0, 3, 2, 1)).max())
    return found


def verdicts(rows: Mapping[str, Mapping[str, float]], apart: Mapping[str, float]) -> dict[str, bool]:
    """What is claimed, in words, and whether it holds."""
    overlap = {name: row["Dice"] for name, row in rows.items()}
    both, without, one = (overlap[n] for n in ("with segmentations", "without segmentations", "one level"))
    said = {
        f"Dice with segmentations ({both:.3f}) > without ({without:.3f}) > before ({overlap['before']:.3f})":
            both > without > overlap["before"],
        f"Dice of three levels ({both:.3f}) > one ({one:.3f})": both > one,
    }  # fmt: skip
    for form, value in apart.items():
        said[f"published weights ({form}) give the published field: apart by {value:.1e} < 1e-4"] = value < 1e-4
    return said


def main() -> int:
    """0 where the claims hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, help="folder for the trainings, to go on from")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    roles = [Role.TRAIN] * TRAINED + [Role.VALIDATE] * VALIDATED
    cases = TrainingCases([patient(k, role) for k, role in enumerate(roles)])
    pairs = unseen(cases.segments())
    rows = {"before": judged(None, pairs)}
    with tempfile.TemporaryDirectory() as temporary:
        for name in WAYS:
            rows[name] = judged(trained(name, cases, args.steps, args.work or Path(temporary)), pairs)
    print(f"\nMeans over {len(pairs.pairs)} unseen pairs of patients, {args.steps} steps each\n")
    for name, row in rows.items():
        print(f"{name:24s}" + "  ".join(f"{c} {v:.3f}" for c, v in row.items()))
    apart = parity()
    if not apart:
        print("\nthe published weights are not here: their parity was skipped")
    holds = verdicts(rows, apart)
    print()
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
