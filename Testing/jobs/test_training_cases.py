"""Cases from folders and tables as users keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.jobs.training_cases import find_cases, parse_names, read_cases
from DeepRegistrationLib.training.cases import Role

GRID = Grid((5, 4, 3), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0))


def scan(path: Path, value: float = 1.0, grid: Grid = GRID) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_image(Image(torch.full((1, *grid.shape), value), grid), path)
    return str(path)


def labels(path: Path, names: dict[int, str] | None = None, grid: Grid = GRID) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = torch.zeros((1, *grid.shape), dtype=torch.uint8)
    data[..., 1], data[..., 2] = 1, 2
    io.write_segmentation(Image(data, grid, ImageKind.LABELS, names or {}), path)
    return str(path)


def case(folder: Path, value: float = 1.0) -> None:
    scan(folder / "ct.nii.gz", value)
    labels(folder / "labels.nii.gz")


def test_a_folder_a_case(tmp_path: Path) -> None:
    for k in (1, 2, 10):
        case(tmp_path / f"pt_{k}", k)
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "empty").mkdir()
    (tmp_path / "names.json").write_text('{"1": "liver"}')
    (tmp_path / "pt_10" / "names.json").write_text('{"1": "liver", "2": "spleen"}')
    cases = {c.name: c for c in read_cases(tmp_path).cases}
    assert list(cases) == ["pt_1", "pt_10", "pt_2"]
    assert [float(c.scan.data.max()) for c in cases.values()] == [1, 10, 2]
    assert cases["pt_1"].labels and cases["pt_1"].labels.names == {1: "liver", 2: "label 2"}
    assert cases["pt_10"].labels and cases["pt_10"].labels.names == {1: "liver", 2: "spleen"}


def test_names_from_the_command_and_from_the_file(tmp_path: Path) -> None:
    case(tmp_path / "a")
    scan(tmp_path / "b" / "mr.nrrd")
    labels(tmp_path / "b" / "mr.seg.nrrd", {1: "kidney", 2: "liver"})
    given = read_cases(tmp_path, "1=liver, 2=spleen")
    a, b = given.cases
    assert a.labels and a.labels.names == {1: "liver", 2: "spleen"}
    assert b.labels and b.labels.names == {1: "kidney", 2: "liver"}  # what a file says itself counts more
    assert given.segments() == ["liver"]
    (tmp_path / "n.json").write_text('{"1": "x"}')
    assert parse_names(tmp_path / "n.json") == {1: "x"}
    for wrong in ("a=b", "1=x,2"):
        with pytest.raises(InputError, match="1=brainstem"):
            parse_names(wrong)


def test_files_side_by_side(tmp_path: Path) -> None:
    for name in ("pt_1", "pt_2", "pt_3"):
        scan(tmp_path / f"{name}.nii.gz")
    labels(tmp_path / "pt_1_labels.nii.gz")
    labels(tmp_path / "seg-pt_2.nii.gz")
    labels(tmp_path / "pt_3.seg.nrrd")
    scan(tmp_path / "pt_4.nrrd")
    found = find_cases(tmp_path).files
    assert [(f.name, Path(f.labels).name if f.labels else None) for f in found] == [
        ("pt_1", "pt_1_labels.nii.gz"), ("pt_2", "seg-pt_2.nii.gz"), ("pt_3", "pt_3.seg.nrrd"), ("pt_4", None),
    ]  # fmt: skip


@pytest.mark.parametrize("head", [True, False])
def test_a_table(head: bool, tmp_path: Path) -> None:
    case(tmp_path / "pt_1")
    case(tmp_path / "pt_2")
    rows = ["pt_1/ct.nii.gz,pt_1/labels.nii.gz,train", f"{tmp_path}/pt_2/ct.nii.gz,,Validation", ""]
    (tmp_path / "cases.csv").write_text("\n".join((["# mine", "image,label,role"] if head else []) + rows))
    one, two = read_cases(tmp_path / "cases.csv").cases
    assert (one.name, one.role, one.labels is None) == ("pt_1", Role.TRAIN, False)
    assert (two.name, two.role, two.labels is None) == ("pt_2", Role.VALIDATE, True)


def test_a_table_in_json_with_pairs(tmp_path: Path) -> None:
    rows = [{"image": scan(tmp_path / f"{n}.nrrd"), "name": n.upper()} for n in ("in", "out")]
    rows[0]["label"] = labels(tmp_path / "l.nrrd")
    said = {"cases": rows, "pairs": [["IN", "OUT"]], "names": {"1": "lung", "2": "heart"}}
    (tmp_path / "cases.json").write_text(json.dumps(said))
    found = read_cases(tmp_path / "cases.json")
    assert found.pairs == (("IN", "OUT"),) and found.segments() == ["lung", "heart"]
    (tmp_path / "cases.json").write_text(json.dumps(rows))
    assert [c.name for c in read_cases(tmp_path / "cases.json").cases] == ["IN", "OUT"]
    (tmp_path / "cases.json").write_text(json.dumps({**said, "pairs": [["IN", "nobody"]]}))
    with pytest.raises(InputError, match="nobody"):
        find_cases(tmp_path / "cases.json")


def test_the_same_are_held_out_each_time(tmp_path: Path) -> None:
    for k in range(10):
        scan(tmp_path / f"{k}.nrrd")
    held = {f.name for f in find_cases(tmp_path).files if f.role == "validate"}
    assert len(held) == 2 and held != {"0", "1"}
    scan(tmp_path / "more.nrrd")
    again = {f.name for f in find_cases(tmp_path).files if f.role == "validate"}
    assert len(again) == 2 and len(again & held) >= 1
    chosen = find_cases(tmp_path, hold_out=["3", "7"]).files
    assert [f.name for f in chosen if f.role == "validate"] == ["3", "7"]
    with pytest.raises(InputError, match="'99'"):
        find_cases(tmp_path, hold_out=["99"])


@pytest.mark.parametrize(("number", "held"), [(1, 0), (2, 0), (3, 1), (5, 1), (8, 2)])
def test_of_few_cases_few_are_held_out(number: int, held: int, tmp_path: Path) -> None:
    for k in range(number):
        scan(tmp_path / f"{k}.nrrd")
    assert sum(f.role == "validate" for f in find_cases(tmp_path).files) == held


def test_a_segmentation_elsewhere_is_refused(tmp_path: Path) -> None:
    scan(tmp_path / "a" / "ct.nrrd")
    labels(tmp_path / "a" / "labels.nrrd", grid=Grid((5, 4, 3), (1.0, 1.0, 1.0), (900.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="'a' does not touch"):
        read_cases(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match="No cases"):
        find_cases(tmp_path)
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(InputError, match="neither"):
        find_cases(tmp_path / "notes.md")
    image = scan(tmp_path / "a" / "t1.nrrd")
    scan(tmp_path / "a" / "t2.nrrd")
    with pytest.raises(InputError, match=r"t1\.nrrd, t2\.nrrd"):
        find_cases(tmp_path)
    for text, words in {
        "image,label,role\na/none.nrrd,,": "none.nrrd",
        f"image,label,role\n{image},,test": "'test'",
        "image,label\n,x": "names no image",
        f"image,name\n{image},x\n{image},x": "called 'x'",
    }.items():
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(InputError, match=words):
            find_cases(tmp_path / "t.csv")
    for text in ("{", "3", '{"cases": [1]}', '[{"image": 0}]', f'{{"cases": [{{"image": "{image}"}}], "pairs": [1]}}'):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(InputError, match=r"t\.json"):
            find_cases(tmp_path / "t.json")
    (tmp_path / "names.json").write_text("[1]")
    (tmp_path / "a" / "t2.nrrd").unlink()
    with pytest.raises(InputError, match="names"):
        find_cases(tmp_path)


@pytest.mark.data
def test_the_head_and_neck_cases() -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "train" / "headneck_ct"
    if not folder.is_dir():
        pytest.skip("the training cases are not beside the checkout")
    files = find_cases(folder).files
    assert len(files) == 39 and all(f.labels for f in files)
    assert sum(f.role == "validate" for f in files) == 8
