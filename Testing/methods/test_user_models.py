"""A user's own models are methods of their own, as long as their folder is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.registry import Registry
from DeepRegistrationLib.core.spec import parameters_of
from DeepRegistrationLib.io import model_cards
from DeepRegistrationLib.methods import registry
from DeepRegistrationLib.methods.network_inference import learned_spec
from DeepRegistrationLib.methods.user_models import cards_now, user_methods
from DeepRegistrationLib.networks.footprint import Footprint

SPEC = learned_spec(
    "told", title="Told", description="For tests.", paper="None", doi="", footprint=Footprint(100, 4),
    defaults={"smoothness": 0.7},
)  # fmt: skip


def add(folder: Path, name: str, architecture: str = "told") -> Path:
    """A card; listing looks at nothing else."""
    card = {
        "id": name, "title": f"Model {name}", "architecture": architecture, "weights": "model.safetensors",
        "sha256": "0" * 64, "settings": {}, "results": {},
        "training": {"command": "python x.py", "data": "none", "seed": 0, "steps": 0},
    }  # fmt: skip
    (folder / name).mkdir(parents=True)
    (folder / name / model_cards.CARD).write_text(json.dumps(card))
    return folder / name


def test_each_model_of_a_known_architecture_is_a_method(tmp_path: Path) -> None:
    for name, architecture in (
        ("mine", "told"), ("told", "told"), ("other", "feature-fusion"), ("Not An Id", "told"), ("more-2", "told"),
    ):  # fmt: skip
        add(tmp_path, name, architecture)
    found = user_methods([SPEC], [tmp_path])
    assert [s.id for s in found] == ["mine", "more-2"]
    (mine, _) = found
    assert (mine.title, mine.family, mine.run) == ("Model mine", "learned", SPEC.run)
    assert mine.description.endswith(".") and SPEC.title in mine.description


def test_its_parameters_are_those_of_the_architecture_with_the_model_chosen(tmp_path: Path) -> None:
    add(tmp_path, "mine")
    (mine,) = user_methods([SPEC], [tmp_path])
    theirs, ours = parameters_of(SPEC.parameters), parameters_of(mine.parameters)
    assert [p.name for p in ours] == [p.name for p in theirs]
    made = mine.make_parameters()
    assert made == mine.make_parameters(values=json.loads(json.dumps(asdict(made))))
    assert made.model == "mine" and made.smoothness == 0.7
    with pytest.raises(InputError, match="model='automatic' is not one of mine"):
        mine.make_parameters(values={"model": "automatic"})
    assert asdict(made) == {**asdict(SPEC.make_parameters()), "model": "mine"}


def test_the_list_follows_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cards, "user_folder", lambda: tmp_path / "none")
    monkeypatch.setenv(model_cards.ENVIRONMENT, str(tmp_path))
    methods = Registry()
    methods.add(SPEC)

    def ids() -> list[str]:
        methods.keep_up(cards_now(), lambda: user_methods(methods))
        return [s.id for s in methods]

    assert ids() == ["told"]
    mine = add(tmp_path, "mine")
    assert ids() == ["told", "mine"]
    methods.add(replace(SPEC, id="added-by-hand"))
    add(tmp_path, "yours")
    assert ids() == ["told", "added-by-hand", "mine", "yours"]
    shutil.rmtree(mine)
    assert ids() == ["told", "added-by-hand", "yours"]


def test_the_registry_stays_one_object() -> None:
    assert registry() is registry()


def test_listing_models_loads_no_torch(tmp_path: Path) -> None:
    for spec in registry():
        if spec.family == "learned":
            add(tmp_path, f"my-{spec.id}", spec.id)
    code = (
        "import sys; from DeepRegistrationLib.methods import registry\n"
        "from DeepRegistrationLib.core.spec import parameters_of\n"
        "for s in registry(): [dict(p.choice.titles) for p in parameters_of(s.parameters) if p.choice]\n"
        "print([m for m in ('torch', 'slicer', 'vtk', 'SimpleITK') if m in sys.modules], *(s.id for s in registry()))"
    )
    environment = {"DEEPREGISTRATION_MODELS": str(tmp_path), "PATH": ""}
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    loaded, *ids = out.stdout.split()
    assert loaded == "[]"
    assert {p.name for p in tmp_path.iterdir()} <= set(ids)
