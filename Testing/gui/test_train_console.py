"""`dr.train` inside Slicer: through the worker, with the same events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

import DeepRegistrationLib as dr
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.training.request import LossEvent, MessageEvent, ValidationEvent
from gui.conftest import blobs


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Three scans with unnamed labels, whose names lie beside them."""
    folder = tmp_path / "cases"
    for k in (1, 2, 3):
        (folder / f"pt_{k}").mkdir(parents=True)
        image = sitk.GetImageFromArray(blobs(k))
        sitk.WriteImage(image, str(folder / f"pt_{k}" / "ct.nii.gz"))
        sitk.WriteImage(sitk.Cast(image > 500, sitk.sitkUInt8), str(folder / f"pt_{k}" / "labels.nii.gz"))
    (folder / "names.json").write_text('{"1": "liver"}')
    return folder


def test_trains_in_the_worker(
    scene: Any, runner: Any, cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DeepRegistrationLib.training import run

    def here(*_: Any) -> None:
        raise AssertionError("the application itself is not to train")

    monkeypatch.setattr(run, "run_training", here)
    monkeypatch.chdir(tmp_path)
    heard, seen = [], []
    model = dr.train("tiny-for-tests", "out", cases=cases, steps=12, title="Mine", id="mine", channels=3,
                     report=heard.append, progress=seen.append)  # fmt: skip
    assert (model.id, model.title, model.folder) == ("mine", "Mine", tmp_path / "out" / "model")
    assert model.settings["segments"] == ["liver"] and model.settings["network"]["channels"] == 3
    losses = [e for e in heard if isinstance(e, LossEvent)]
    assert losses[-1].step == 12 and set(losses[-1].losses) == {"image", "smoothness"}
    assert losses[-1].total == pytest.approx(sum(losses[-1].losses.values())) and losses[-1].learning_rate > 0
    validations = [e for e in heard if isinstance(e, ValidationEvent)]
    assert [e.step for e in validations] == [0, 10, 12] and "Squared error" in validations[0].validation.numbers
    assert seen[-1].fraction > 0.9
    with pytest.raises(InputError, match="resume"):
        dr.train("tiny-for-tests", "out", cases=cases, steps=14)
    model = dr.train("tiny-for-tests", "out", cases=cases, steps=14, resume=True, channels=3, report=heard.append)
    assert any(isinstance(e, MessageEvent) and "goes on" in e.text for e in heard)
    assert model.card["training"]["steps"] == 14


def test_what_cannot_be_trained_is_one_sentence(scene: Any, runner: Any, cases: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor a table"):
        dr.train("tiny-for-tests", tmp_path / "out", cases=[1, 2])
    with pytest.raises(InputError, match="no recipe 'tiny-for-test'"):
        dr.train("tiny-for-test", tmp_path / "out", cases=cases)
    with pytest.raises(InputError, match="channel"):
        dr.train("tiny-for-tests", tmp_path / "out", cases=cases, chanels=3)
