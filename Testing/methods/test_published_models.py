"""Published weights become a model that can be listed and run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.cli import main
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.io.model_cards import find_models
from DeepRegistrationLib.methods.network_models import load_network, working_settings
from DeepRegistrationLib.methods.published_models import import_published
from DeepRegistrationLib.networks.lapirn import LapIRN


def published_state() -> dict[str, torch.Tensor]:
    """Random weights by the published names, four channels."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "input_encoder_lvl1.2.weight": (4, 4, 3, 3, 3), "down_conv.weight": (4, 4, 3, 3, 3),
        "up.weight": (4, 4, 2, 2, 2), "output_lvl1.0.weight": (4, 8, 3, 3, 3), "output_lvl1.2.weight": (3, 4, 3, 3, 3),
        **{f"resblock_group_lvl1.{2 * k}.conv{c}.weight": (4, 4, 3, 3, 3) for k in range(5) for c in (1, 2)},
    }  # fmt: skip
    state = {}
    for start, inputs in (("model_lvl2.model_lvl1.", 2), ("model_lvl2.", 5), ("", 5)):
        for name, shape in {"input_encoder_lvl1.0.weight": (4, inputs, 3, 3, 3), **shapes}.items():
            state[start + name] = torch.rand(shape, generator=generator)
    return state


def test_a_published_file_becomes_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "LapIRN_diff_fea1.pth"
    state = published_state()
    torch.save(state, file)
    said = ["models", "--import", str(file), "--as", "lapirn", "--model", str(tmp_path / "models" / "brains")]
    assert main(said) == 0
    assert "brains" in capsys.readouterr().out
    (model,) = find_models("lapirn", [tmp_path / "models"])
    network = load_network(model)
    assert isinstance(network, LapIRN) and network.diffeomorphic
    assert model.id == "brains"
    assert working_settings(model).multiple == 8
    # a kernel of theirs is over x, y, z, ours over z, y, x
    theirs = state["model_lvl2.down_conv.weight"]
    assert torch.equal(network.blocks[1].down.weight[..., 0, 1, 2], theirs[..., 2, 1, 0])  # type: ignore[union-attr]
    # the last layer's first channel belongs to their last axis, and so to our first component's opposite
    last = network.blocks[2].decode[2].weight  # type: ignore[union-attr, index]
    assert torch.equal(last[0, :, 0, 1, 2], state["output_lvl1.2.weight"][2, :, 2, 1, 0])
    assert main(["models", "--folder", str(tmp_path / "models")]) == 0
    assert "Published weights" in capsys.readouterr().out


def test_other_kinds_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no converter"):
        import_published(tmp_path / "a.pth", "regnet", tmp_path / "m")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="LapIRN"):
        import_published(tmp_path / "a.pth", "lapirn", tmp_path / "m")
    assert not (tmp_path / "m").exists()
