"""What a built extension carries is what the source tree holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import packaged_files
from house.sources import MODULES, ROOT, python_files, relative

STUB = Path(__file__).parent / "slicer_stub"
MODULE_RESOURCES = MODULES / "Resources"


def find_cmake() -> str:
    """The cmake of the test environment, else that of the system."""
    beside = shutil.which("cmake", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("cmake")
    if not found:
        pytest.skip("cmake is not installed (requirements-dev.txt names it)")
    return found


def run(*command: str | Path, **options) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of the extension, configured against the stand-in for Slicer."""
    folder = tmp_path_factory.mktemp("build")
    # Nothing is compiled, so the compilers that project() looks for need not exist.
    compilers = [
        f"-DCMAKE_{language}_COMPILER{rest}" for language in ("C", "CXX") for rest in ("=true", "_FORCED=ON")
    ]
    generator = ["-G", "Unix Makefiles", "-DCMAKE_MAKE_PROGRAM=true"] if os.name == "posix" else []
    run(find_cmake(), "-S", ROOT, "-B", folder, f"-DSlicer_DIR={STUB}", *compilers, *generator)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripted modules in the installed extension."""
    folder = tmp_path_factory.mktemp("install")
    run(find_cmake(), "--install", built, "--prefix", folder)
    return next(folder.rglob("qt-scripted-modules"))


def expected_files() -> list[str]:
    """Paths inside the folder of scripted modules: library, models, modules and their resources."""
    library = packaged_files.scripts() + packaged_files.resources()
    modules = [path.relative_to(MODULES).as_posix() for path in python_files(MODULES)]
    resources = [
        path.relative_to(MODULES).as_posix()
        for path in MODULE_RESOURCES.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]
    return sorted(library + modules + resources)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_list_of_files_is_current() -> None:
    listed = set(packaged_files.LIST.read_text(encoding="utf-8").split())
    wanted = set(packaged_files.cmake_text().split())
    missing, gone = sorted(wanted - listed), sorted(listed - wanted)
    assert listed == wanted, f"run `make package-list`: missing {missing}, no longer there {gone}"


def test_the_build_tree_has_every_file(built: Path) -> None:
    assert files_in(next(built.rglob("qt-scripted-modules"))) == expected_files()


def test_the_install_tree_has_every_file(installed: Path) -> None:
    assert files_in(installed) == expected_files()


def test_the_installed_library_is_found_beside_the_modules(installed: Path, tmp_path: Path) -> None:
    code = "import DeepRegistrationLib as dr; print(dr.__file__); print(len(list(dr.methods())))"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    where, count = run(sys.executable, "-c", code, cwd=tmp_path, env=environment).splitlines()
    assert Path(where).is_relative_to(installed)
    assert int(count) > 0


def test_every_module_has_its_test_inside_slicer(built: Path) -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in built.rglob("CTestTestfile.cmake"))
    missing = [relative(path) for path in MODULES.glob("*.py") if f"py_{path.stem}" not in tests]
    assert not missing, f"add to MODULE_NAMES in DeepRegistration/CMakeLists.txt: {missing}"
    assert "py_ImportInSlicer" in tests
