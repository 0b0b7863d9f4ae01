"""The weights that LapIRN's authors published, for networks/lapirn.py.

Their arrays have the axes x, y, z where ours have z, y, x, and a field's channel 0 belongs to the last axis in both. So
every kernel is transposed, and the channels of fields, in and out, change places:

    ours(fixed, moving)[x, y, z](z, y, x) = theirs(moving, fixed)[z, y, x](x, y, z)

Repository cwmok/LapIRN; Mok, Chung: MICCAI 2020, doi:10.1007/978-3-030-59716-0_21.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.errors import InputError

#: largest displacement or velocity of a level of the published networks, half extents
REACH = 0.4
LEVELS = 3

#: level (coarsest first) -> how its tensors' names begin
_LEVELS = ("model_lvl2.model_lvl1.", "model_lvl2.", "")

#: theirs -> ours, within a level
_NAMES: Mapping[str, str] = {
    r"input_encoder_lvl1\.(\d)\.weight": r"encode.\1.weight",
    r"down_conv\.weight": "down.weight",
    r"resblock_group_lvl1\.(\d)\.conv1\.weight": r"units.\1.first.weight",
    r"resblock_group_lvl1\.(\d)\.conv2\.weight": r"units.\1.second.weight",
    r"up\.weight": "up.weight",
    r"output_lvl1\.(\d)\.weight": r"decode.\1.weight",
}


def convert_published(
    path: str | Path, diffeomorphic: bool | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors by our names, and the card's "network" and "working" settings for them.

    path           the published state dict (.pth); nothing but tensors is read from it
    diffeomorphic  whether it is of the diffeomorphic form; None: where the file's name has "diff"

    Raises InputError for a file that is no such state dict.
    """
    file = Path(path).expanduser()
    theirs = _state(file)
    tensors = {}
    for name, value in theirs.items():
        ours = _our_name(name)
        if ours is None or value.dim() != 5:
            raise InputError(f"{str(file)!r} holds {name!r}, which no published LapIRN has; give a file of its "
                             "repository's folder Model.")
        tensors[ours] = _transposed(value.float(), ours)
    channels = tensors["blocks.0.down.weight"].shape[0] if "blocks.0.down.weight" in tensors else 0
    network = {
        "dimension": 3, "levels": LEVELS, "channels": channels, "reach": REACH,
        "diffeomorphic": "diff" in file.stem.lower() if diffeomorphic is None else diffeomorphic,
        "units": "half extents",
    }  # fmt: skip
    _check(tensors, network, file)
    # the brains they were trained on were at 1 mm; scans in 0..1
    working = {"spacing": 1.0, "low": None, "high": None, "multiple": 2**LEVELS}
    return tensors, {"network": network, "working": working}


def _state(file: Path) -> Mapping[str, torch.Tensor]:
    if not file.is_file():
        raise InputError(f"There is no file {str(file)!r}.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise InputError(
            f"{str(file)!r} is no file of tensors, or holds a program besides them, which is never run; "
            "give the published weights."
        ) from None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{str(file)!r} is no state dict; give the published weights.")
    return state


def _our_name(theirs: str) -> str | None:
    """blocks.LEVEL...; None for a name that is none of theirs."""
    level, start = next((k, s) for k, s in enumerate(_LEVELS) if theirs.startswith(s))
    for pattern, name in _NAMES.items():
        found = re.fullmatch(pattern, theirs[len(start) :])
        if found:
            ours = found.expand(name)
            # every other module of theirs is a LeakyReLU
            ours = re.sub(r"units\.(\d)", lambda m: f"units.{int(m.group(1)) // 2}", ours)
            return f"blocks.{level}.{ours}"
    return None


def _transposed(kernel: torch.Tensor, ours: str) -> torch.Tensor:
    """(out, in, z, y, x) from (out, in, x, y, z), the components of fields in the order x, y, z."""
    kernel = kernel.permute(0, 1, 4, 3, 2)
    if ours.endswith("decode.2.weight"):
        kernel = kernel.flip(0)
    if ours.endswith("encode.0.weight") and kernel.shape[1] == 5:
        kernel = kernel[:, [0, 1, 4, 3, 2]]
    return kernel.contiguous()


def _check(tensors: Mapping[str, torch.Tensor], network: Mapping[str, Any], file: Path) -> None:
    from .lapirn import build

    with torch.device("meta"):
        wanted = build(network).state_dict() if network["channels"] else {}
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    if not wanted or shapes != {name: tuple(t.shape) for name, t in wanted.items()}:
        raise InputError(f"{str(file)!r} does not hold all weights of a LapIRN of {LEVELS} levels; copy it again.")
