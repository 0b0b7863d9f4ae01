"""Claim on networks in half precision, which they work in on NVIDIA's cards: by themselves they say the same there as
on the processor in single precision, but for a tenth of a millimetre.

The cases: real lungs, a drawn chest and a real head and neck (lung_ct_synthetic and headneck_rt, where they lie beside
the checkout), aligned affinely; each network gets those it knows. Without a card one is pretended (Testing/cards),
which rounds as autocast has it.

It holds: by .001 mm on average for displacement-embeddings, lapirn, mlvirnet and regnet, and .03 to .04 mm for
voxelmorph-plus-plus, whose answers are off by 4.0 and 2.8 mm there.

    python Testing/claims/half_precision.py        exits with 1 where the claim fails; about two minutes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import lungs  # puts the checkout and Testing on the path
import torch
from verdicts import told

from cards import card_of
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.io import read_image
from DeepRegistrationLib.methods.initialisation import prealign
from DeepRegistrationLib.methods.pipeline import register_problem

#: mm, mean over the fixed mask, or the fixed scan
MOST = 0.1

HEAD = lungs.REAL.parent / "headneck_rt"
OF_LUNGS = ("displacement-embeddings", "mlvirnet", "regnet", "voxelmorph-plus-plus")


def cases() -> Iterator[tuple[str, RegistrationProblem, Sequence[str]]]:
    """Name, scans, and the networks that know such."""
    for name, problem in lungs.problems(lungs.CHESTS[:1]).items():
        yield name, problem, OF_LUNGS
    if HEAD.is_dir():
        scans = (read_image(HEAD / f"{side}_ct.nii.gz") for side in ("fixed", "moving"))
        yield "head and neck", RegistrationProblem(*scans), ("lapirn",)


def apart(problem: RegistrationProblem, network: str) -> torch.Tensor:
    """(N,) mm between the network's answers, at voxels of the fixed mask, or all."""

    def answer(device: torch.device) -> torch.Tensor:
        context = Context(device)
        result = register_problem(problem, network, values={"refine": False}, context=context)
        assert result.provenance is not None and result.provenance.device == str(device)
        return result.transform.displacement(problem.fixed.grid)

    here = answer(torch.device("cpu"))
    with card_of("cuda") as card:
        there = answer(card)
    difference = (here - there).norm(dim=0)
    mask = problem.fixed_mask
    return difference.flatten() if mask is None else difference[mask.resampled(problem.fixed.grid).data[0] > 0.5]


def main() -> int:
    """0 where the claim holds."""
    torch.set_num_threads(2)
    holds = {}
    for name, problem, networks in cases():
        bare = lungs.bare(problem)
        start = prealign(bare, "affine", Context(torch.device("cpu")))
        for network in networks:
            mm = apart(replace(bare, initial_transform=start), network)
            sentence = f"{name}: {network} differs by {float(mm.mean()):.4f} mm, {float(mm.max()):.3f} mm at most"
            print(sentence, flush=True)
            holds[sentence] = float(mm.mean()) <= MOST
    return told(holds)


if __name__ == "__main__":
    sys.exit(main())
