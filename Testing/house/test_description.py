"""What the extensions index, pip, citation and licence say agrees, and names files that exist."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import struct
import tomllib
from pathlib import Path

import pytest

from house.sources import LIBRARY, MODULES, ROOT

CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
DESCRIPTION = json.loads((ROOT / "DeepRegistration.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
# The text of http://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
# Keys of Slicer's catalogue-entry schema 1.0.1: required, and allowed besides.
REQUIRED_KEYS = {"$schema", "category", "scm_url"}
OPTIONAL_KEYS = {"scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"}


def extension(name: str) -> str:
    """The value of set(EXTENSION_<name> "...") as the checks of the index read it."""
    found = re.search(rf'set\s*\(EXTENSION_{name}\s*"([^"]+)"[ ]*\)', CMAKE)
    assert found, f"CMakeLists.txt sets no EXTENSION_{name}"
    return found.group(1)


def requirements(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith(("#", "-r"))}


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n"), f"{path.name} is no PNG"
    return struct.unpack(">II", head[16:24])


def test_the_description_file_follows_the_schema() -> None:
    assert set(DESCRIPTION) >= REQUIRED_KEYS
    assert set(DESCRIPTION) <= REQUIRED_KEYS | OPTIONAL_KEYS
    assert b"\r" not in (ROOT / "DeepRegistration.json").read_bytes()


def test_the_description_file_agrees_with_cmake() -> None:
    project = re.search(r"project\s*\(\s*([^\s)]+)", CMAKE)
    assert project and project.group(1) == "DeepRegistration"
    assert DESCRIPTION["build_dependencies"] == extension("DEPENDS").split()
    assert DESCRIPTION["category"] == extension("CATEGORY")
    assert DESCRIPTION["scm_url"].removesuffix(".git") == extension("HOMEPAGE") == PROJECT["urls"]["Homepage"]
    repository = DESCRIPTION["scm_url"].rsplit("/", 1)[1]
    assert repository.startswith("Slicer"), "the index wants a repository name that starts with Slicer"


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_of_the_catalogue_exist(name: str) -> None:
    """Each URL is the raw address of a file on the branch that the index builds."""
    owner_and_name = extension("HOMEPAGE").removeprefix("https://github.com/")
    base = f"https://raw.githubusercontent.com/{owner_and_name}/{DESCRIPTION['scm_revision']}/"
    for url in extension(name).split():
        assert url.startswith(base)
        assert (ROOT / url.removeprefix(base)).is_file(), f"{url} names a file that is not in the project"


def test_every_module_has_its_icon_and_panel() -> None:
    for module in MODULES.glob("*.py"):
        assert png_size(MODULES / "Resources" / "Icons" / f"{module.stem}.png") == (128, 128)
        assert (MODULES / "Resources" / "UI" / f"{module.stem}.ui").is_file()


def test_the_licence_is_apache_2() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_SHA256
    assert PROJECT["license"] == "Apache-2.0"
    assert "license: Apache-2.0" in CITATION


def test_one_version_everywhere() -> None:
    tree = ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8"))
    versions = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert versions == [PROJECT["version"]]
    assert f"version: {PROJECT['version']}" in CITATION


def test_pip_and_make_install_the_same() -> None:
    declared = {line for line in PROJECT["dependencies"] if not line.startswith("torch")}
    assert requirements("requirements.txt") == declared | set(PROJECT["optional-dependencies"]["scene"])


def test_the_makefile_pins_a_torch_that_pip_accepts() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = re.search(r"^TORCH \?= torch==(\d+)\.(\d+)", makefile, re.MULTILINE)
    least = re.search(r"torch>=(\d+)\.(\d+)", " ".join(PROJECT["dependencies"]))
    assert pinned and least
    assert tuple(map(int, pinned.groups())) >= tuple(map(int, least.groups()))
