"""What README.md shows exists and works: commands, options, names, files, links, tables."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from house.readme_tables import README, TABLES, between, methods_table, renewed
from house.sources import ROOT

TEXT = README.read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
APT_PACKAGES = ROOT / "Testing" / "host" / "apt-packages.txt"
COMMAND = ["python", "-m", "DeepRegistrationLib"]
#: what the variable ARGS of a make target goes to
PASSED_ON = {"demo": "demo", "bench": "bench"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Every line of the shell blocks, in words."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def inline_code() -> list[str]:
    """What stands between backticks in the running text and the tables."""
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def make_commands() -> list[list[str]]:
    inline = [shlex.split(code) for code in inline_code() if code.startswith("make ")]
    return [words for words in [*commands(), *inline] if words[0] == "make"]


def library_commands() -> list[list[str]]:
    """What follows `python -m DeepRegistrationLib`."""
    return [words[3:] for words in commands() if words[:3] == COMMAND]


def run(*words: str, cwd: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'Testing'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def options(help_text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", help_text))


# ------------------------------------------------------------------------------------------------ tables


def test_the_tables_are_what_the_methods_declare() -> None:
    assert renewed(TEXT) == TEXT, "run `make readme`"


def test_the_table_of_methods_is_what_the_command_prints() -> None:
    assert run("-m", "DeepRegistrationLib", "methods", "--markdown").strip() == between(TEXT, "methods")


def test_a_stale_table_is_seen() -> None:
    stale = TEXT.replace(methods_table(), "| nothing |")
    assert stale != TEXT and renewed(stale) == TEXT


@pytest.mark.parametrize("name", [*TABLES, "measured"])
def test_every_row_has_the_cells_of_the_head(name: str) -> None:
    rows = [line for line in between(TEXT, name).splitlines() if line.startswith("|")]
    assert len(rows) > 2
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(cells) == 1, f"rows of {sorted(cells)} bars"


def test_every_measured_case_is_one_of_the_benchmark() -> None:
    from bench.cases import CASES

    named = set(re.findall(r"^\| `(\w+)`", between(TEXT, "measured"), re.MULTILINE))
    assert named and named <= {case.id for case in CASES}


# ------------------------------------------------------------------------------------------ make and apt


def test_every_make_target_and_variable_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE))
    assert [words for words in make_commands() if words[1:2] == ["demo"]]
    for _make, target, *rest in make_commands():
        assert target in targets, f"make {target}"
        for word in rest:
            assert word.partition("=")[0] in variables, f"make {target} {word}"


@pytest.mark.parametrize("target", PASSED_ON)
def test_options_handed_on_by_make_exist(target: str) -> None:
    given = [word for words in make_commands() if words[1] == target for word in words[2:]]
    used = {name for word in given if word.startswith("ARGS=") for name in options(word)}
    known = options(run("-m", PASSED_ON[target], "--help"))
    assert known and used <= known


def test_the_system_packages_are_those_that_make_installs() -> None:
    lines = [line.partition("#")[0].strip() for line in APT_PACKAGES.read_text(encoding="utf-8").splitlines()]
    (named,) = [words for words in commands() if "--no-install-recommends" in words]
    assert [word for word in named[4:] if not word.startswith("-")] == [line for line in lines if line]


# -------------------------------------------------------------------------------------- files and links


def links() -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", TEXT)


def anchor(heading: str) -> str:
    """The name that a heading gets on a page of GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_relative_links_resolve() -> None:
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    inside = [link for link in links() if "://" not in link]
    assert inside
    for link in inside:
        path, _, part = link.partition("#")
        assert not path or (ROOT / path).exists(), link
        assert path or part in anchors, link


def test_folders_and_files_named_in_the_text_exist() -> None:
    tops = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    named = [code for code in inline_code() if re.fullmatch(r"[\w./-]+", code)]
    paths = [code for code in named if "/" in code and code.split("/")[0] in tops - {"demo-output"}]
    assert len(paths) > 5
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing, missing


# --------------------------------------------------------------------------------- names and commands


def test_python_names_exist() -> None:
    import DeepRegistrationLib as dr
    from DeepRegistrationLib import io

    known = {"dr": set(dr.__all__), "io": set(dir(io))}
    inline = [code for code in inline_code() if code.startswith("help(")]
    for code in [*blocks("python"), *inline]:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                assert node.attr in known[node.value.id], f"{node.value.id}.{node.attr}"


def test_options_and_settings_in_the_text_exist() -> None:
    """`--option`, and `--set name=value` with the parameters that convex-adam has."""
    import DeepRegistrationLib as dr
    from DeepRegistrationLib.core.spec import parameters_of

    known = options(run("-m", "DeepRegistrationLib", "register", "--help"))
    (spec,) = [method for method in dr.methods() if method.id == "convex-adam"]
    parameters = {parameter.name for parameter in parameters_of(spec.parameters)} | {"name"}
    found = [code for code in inline_code() if code.startswith("--")]
    assert found
    for code in found:
        assert options(code) <= known, code
        assert set(re.findall(r"--set (\w+)=", code)) <= parameters, code


def quick(example: str) -> str:
    """The example with the preset that takes seconds instead of half a minute; a training of two small steps."""
    if example.startswith("train "):
        return f"{example} --steps 2 --set size=16 --set length=16 --set spacing=10 --set channels=4"
    return example.replace("lung-ct", "fast")


@pytest.fixture(scope="module")
def small_chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name: a coarse phantom. See `quick`."""
    import phantoms
    from DeepRegistrationLib.core.grid import Grid
    from DeepRegistrationLib.io import write_image, write_segmentation

    folder = tmp_path_factory.mktemp("examples")
    grid = Grid((35, 26, 30), (10.0,) * 3, (-175.0, -131.0, -155.0))
    problem = phantoms.thorax(grid, grid, seed=1).problem
    for side in ("fixed", "moving"):
        write_image(getattr(problem, side), folder / f"{side}.nii.gz")
        write_segmentation(getattr(problem, f"{side}_segmentation"), folder / f"{side}.seg.nrrd")
    for k in range(3):
        case = folder / "cases" / f"patient {k}"
        case.mkdir(parents=True)
        shutil.copy(folder / "fixed.nii.gz", case / "ct.nii.gz")
        shutil.copy(folder / "fixed.seg.nrrd", case / "labels.seg.nrrd")
    return folder


def test_the_console_example_runs(small_chest: Path) -> None:
    (code,) = [block for block in blocks("python") if "slicer" not in block]
    assert len(code.splitlines()) == 5
    assert "Correlation" in run("-c", quick(code), cwd=small_chest)
    assert (small_chest / "moved.nii.gz").is_file()


def test_the_command_line_examples_run(small_chest: Path) -> None:
    """In the order of the page, where each goes on from what the one before has written."""
    assert {words[0] for words in library_commands()} >= {"register", "apply", "evaluate", "report", "train", "models"}
    printed = {}
    for words in library_commands():
        line = shlex.join(words)
        ready = shlex.split(quick(line) if words[0] in ("register", "train") and len(words) > 1 else line)
        printed[words[0]] = run(*COMMAND[1:], *ready, cwd=small_chest)
    assert "Dice" in printed["evaluate"]
    assert (small_chest / "training" / "model" / "card.json").is_file()
    assert (small_chest / "moved.seg.nrrd").is_file()
    written = {path.name for path in (small_chest / "result").iterdir()}
    listed = set(re.findall(r"^\| `(\w+\.[\w.]+)` \|", TEXT, re.MULTILINE))
    assert listed - {"inverse.nrrd"} <= written, "the table of files names what register does not write"
    assert written - listed <= {"report.html", "report.csv", "report.json"}, "files that the table lacks"
