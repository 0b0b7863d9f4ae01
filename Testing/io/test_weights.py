"""Models by their card: what is found where, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.core.errors import InputError, OutputError
from DeepRegistrationLib.io import model_cards
from DeepRegistrationLib.io.model_cards import find_models, model_folders, read_model, shipped_folder
from DeepRegistrationLib.io.weights import load_weights, read_notes, read_tensors, write_model, write_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5], dtype=torch.float64)}


def card(**changes: Any) -> dict[str, Any]:
    training = {"command": "python x.py", "data": "none", "seed": 0, "steps": 1}
    said = {
        "id": "one", "title": "One", "architecture": "test", "settings": {"k": 1}, "training": training, "results": {},
    }  # fmt: skip
    return {**said, **changes}


def rewrite(folder: Path, **changes: Any) -> None:
    file = folder / "card.json"
    said = {k: v for k, v in {**json.loads(file.read_text(encoding="utf-8")), **changes}.items() if v is not None}
    file.write_text(json.dumps(said))


def test_a_model_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_model(tmp_path / "one", TENSORS, card())
    model = read_model(tmp_path / "one")
    loaded = load_weights(model)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[k], v) and loaded[k].dtype == v.dtype for k, v in TENSORS.items())
    assert (model.id, model.title, model.architecture, model.settings) == ("one", "One", "test", {"k": 1})
    content = (tmp_path / "one" / "model.safetensors").read_bytes()
    assert model.sha256 == hashlib.sha256(content).hexdigest()
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["card.json", "model.safetensors"]


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one", TENSORS, card())
    content = bytearray(model.weights.read_bytes())
    content[-1] ^= 1
    model.weights.write_bytes(content)
    assert read_tensors(model.weights)  # still a sound file, only another one
    with pytest.raises(InputError, match="SHA-256"):
        load_weights(model)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_is_refused_unopened(name: str, how: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    file = tmp_path / name
    if how == "torch":
        torch.save(Trap(), file)
    else:
        file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="is a pickle") as error:
        read_tensors(file)
    assert str(error.value).count(".safetensors") >= 1
    assert not (tmp_path / "sprung").exists()


def test_a_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    """The first byte of a safetensors file is the lowest of its header's length."""
    for length in range(1, 140, 8):
        write_tensors(tmp_path / "x.safetensors", {"n" * length: torch.zeros(1)})
        assert list(read_tensors(tmp_path / "x.safetensors")) == ["n" * length]


@pytest.mark.parametrize("content", [b"\x10", b"not weights at all", b"\x40\0\0\0\0\0\0\0{}"])
def test_rubbish_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.safetensors"):
        read_tensors(file)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", TENSORS)
    content = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[:-3])
    with pytest.raises(InputError, match="cut short"):
        read_tensors(tmp_path / "x.safetensors")


def test_notes_are_kept_beside_the_tensors(tmp_path: Path) -> None:
    said = {"state": '{"step": 3}', "ä": ""}
    write_tensors(tmp_path / "x.safetensors", TENSORS, said)
    assert read_notes(tmp_path / "x.safetensors") == said
    assert read_tensors(tmp_path / "x.safetensors").keys() == TENSORS.keys()
    write_tensors(tmp_path / "x.safetensors", TENSORS)
    assert read_notes(tmp_path / "x.safetensors") == {}


def test_missing_weights_are_named(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one", TENSORS, card())
    model.weights.unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_weights(model)


@pytest.mark.parametrize("key", list(model_cards.FIELDS))
def test_a_card_says_everything(key: str, tmp_path: Path) -> None:
    write_model(tmp_path / "one", TENSORS, card())
    rewrite(tmp_path / "one", **{key: None})
    with pytest.raises(InputError, match=key):
        read_model(tmp_path / "one")


@pytest.mark.parametrize("key", model_cards.TRAINING)
def test_a_card_tells_of_the_training(key: str, tmp_path: Path) -> None:
    training = {k: v for k, v in card()["training"].items() if k != key}
    with pytest.raises(InputError, match=key):
        write_model(tmp_path / "one", TENSORS, card(training=training))


@pytest.mark.parametrize("name", ["../model.safetensors", "sub/model.safetensors", "/model.safetensors"])
def test_weights_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    write_model(tmp_path / "one", TENSORS, card())
    rewrite(tmp_path / "one", weights=name)
    with pytest.raises(InputError, match="another folder"):
        read_model(tmp_path / "one")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"text"'])
def test_a_broken_card_is_refused(text: str, tmp_path: Path) -> None:
    write_model(tmp_path / "one", TENSORS, card())
    (tmp_path / "one" / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json"):
        read_model(tmp_path / "one")


def test_models_are_looked_for_in_order(tmp_path: Path) -> None:
    for folder, id_, architecture in (("a/x", "one", "test"), ("b/y", "one", "test"), ("b/z", "two", "other")):
        (tmp_path / folder).mkdir(parents=True)
        write_model(tmp_path / folder, TENSORS, card(id=id_, architecture=architecture))
    (tmp_path / "b" / "broken").mkdir()
    (tmp_path / "b" / "broken" / "card.json").write_text("{}")
    problems: list[str] = []
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "not there"]
    assert [m.folder for m in find_models(folders=folders, problems=problems)] == [
        tmp_path / "a" / "x", tmp_path / "b" / "z",
    ]  # fmt: skip
    assert len(problems) == 1 and "broken" in problems[0]
    assert [m.id for m in find_models("other", folders)] == ["two"]


def test_a_user_names_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(model_cards.ENVIRONMENT, os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folders = model_folders()
    assert folders[:2] == [tmp_path / "a", tmp_path / "b"]
    assert folders[-1] == shipped_folder()
    assert len(folders) == 4 and folders[2].name == "Models"


@pytest.mark.parametrize("place", ["Resources/Models", "DeepRegistrationLib/Resources/Models"])
def test_shipped_models_are_found_beside_and_within(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the library in the source tree and in Slicer, within it as a Python package."""
    monkeypatch.setattr(model_cards, "_LIBRARY", tmp_path / "DeepRegistrationLib")
    (tmp_path / place / "one").mkdir(parents=True)
    write_model(tmp_path / place / "one", TENSORS, card())
    assert [m.id for m in find_models(folders=[shipped_folder()])] == ["one"]


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_tensors(tmp_path / "no" / "x.safetensors", TENSORS)
    assert not list(tmp_path.iterdir())


def test_every_shipped_model_is_sound() -> None:
    problems: list[str] = []
    models = find_models(folders=[shipped_folder()], problems=problems)
    assert not problems
    assert all(load_weights(m) and m.id == m.folder.name for m in models)
