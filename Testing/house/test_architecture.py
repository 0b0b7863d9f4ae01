"""Imports go one way, from the modules down to the core, and files stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from house.sources import (
    LIBRARY,
    MODULES,
    ROOT,
    Import,
    imports,
    module_file,
    module_name,
    python_files,
    relative,
    tree,
)

GROUND = {"core", "transforms", "ops"}
COMPUTING = GROUND | {"losses", "networks", "optim"}
ALL_BELOW_SLICER = COMPUTING | {"io", "metrics", "methods", "training"}
# Which folders of the library each one may import besides itself; "top" is the files beside the folders.
MAY_IMPORT = {
    "core": set(),
    "transforms": {"core"},
    "ops": {"core"},
    "io": {"core", "transforms"},
    "metrics": GROUND,
    "losses": GROUND,
    "networks": GROUND,
    "optim": GROUND,
    # a model is a card and weights; the other files of io know images and transforms
    "methods": COMPUTING | {"io.weights", "io.model_cards"},
    "training": COMPUTING | {"io.weights", "io.model_cards", "metrics", "methods"},
    "jobs": ALL_BELOW_SLICER,
    "reports": {"core", "transforms", "metrics", "io", "jobs"},
    # Nodes go to the worker in a job folder; a job knows no nodes.
    "mrml": ALL_BELOW_SLICER | {"jobs", "reports"},
    "gui": ALL_BELOW_SLICER | {"jobs", "reports", "mrml"},
    # The console and the command line, which has a file for each of its commands.
    "commands": ALL_BELOW_SLICER | {"jobs", "reports", "mrml", "top"},
    "top": ALL_BELOW_SLICER | {"jobs", "reports", "mrml", "commands"},
}
# What exists only inside Slicer, and where it may be imported.
SLICER_ONLY = {
    "slicer": {"mrml", "gui"},
    "qt": {"gui"},
    "ctk": {"gui"},
    "vtk": {"mrml", "gui", "io"},
    "vtkmodules": {"mrml", "gui", "io"},
}
LARGEST_FILE = 400
LARGEST_MODULE = 200
LONGEST_FUNCTION = 80

LIBRARY_FILES = python_files(LIBRARY)
MODULE_FILES = python_files(MODULES)
ALL_FILES = python_files(ROOT)


def layer_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else "top"


def layer_imported(found: Import) -> str | None:
    """The folder of the library that an import reaches, with the file for `io`; None outside the library."""
    first, *rest = found.name.split(".")
    if first != LIBRARY.name or rest == ["__version__"]:
        return None
    if not rest or rest[0] not in MAY_IMPORT:
        return "top"
    return ".".join(rest[:2]) if rest[0] == "io" else rest[0]


def wrong_arrows(path: Path) -> list[str]:
    layer = layer_of(path)
    allowed = MAY_IMPORT[layer] | {layer}
    reached = ((found, layer_imported(found)) for found in imports(path))
    return [
        f"{relative(path)}:{found.line} imports {found.name}, which {layer} may not"
        for found, target in reached
        if target and not {target, target.split(".")[0]} & allowed
    ]


def reached_at_import(path: Path) -> dict[str, str]:
    """Every name that importing the file imports in turn, each with the file that does so."""
    seen: dict[str, str] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        for found in imports(current):
            if found.deferred:
                continue
            # Importing a.b.c runs the files of a and a.b as well.
            parts = found.name.split(".")
            for end in range(1, len(parts) + 1):
                name = ".".join(parts[:end])
                if name not in seen:
                    seen[name] = relative(current)
                    source = module_file(name) if parts[0] == LIBRARY.name else None
                    if source:
                        waiting.append(source)
    return seen


def test_every_folder_has_its_place() -> None:
    assert LIBRARY_FILES, "the library has no files"
    unknown = {layer_of(path) for path in LIBRARY_FILES} - set(MAY_IMPORT)
    assert not unknown, f"say in MAY_IMPORT what these folders may import: {sorted(unknown)}"


def test_arrows_go_one_way() -> None:
    wrong = [line for path in LIBRARY_FILES for line in wrong_arrows(path)]
    assert not wrong, "\n".join(wrong)


def test_slicer_stays_in_its_folders() -> None:
    wrong = [
        f"{relative(path)}:{found.line} imports {found.name}"
        for path in LIBRARY_FILES
        for found in imports(path)
        if layer_of(path) not in SLICER_ONLY.get(found.name.split(".")[0], {layer_of(path)})
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_worker_loads_torch() -> None:
    """Slicer must come up, and survive, whatever torch does: what it imports loads none."""
    in_slicer = [path for path in LIBRARY_FILES if layer_of(path) in {"top", "jobs", "reports", "mrml", "gui"}]
    wrong = []
    for path in [*MODULE_FILES, *in_slicer]:
        reached = reached_at_import(path)
        wrong += [f"{relative(path)} loads torch through {reached['torch']}"] if "torch" in reached else []
    assert not wrong, "\n".join(wrong)


def test_no_star_imports() -> None:
    wrong = [
        f"{relative(path)}:{found.line}"
        for path in ALL_FILES
        for found in imports(path)
        if found.name.endswith(".*")
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_small() -> None:
    wrong = []
    for path in ALL_FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = LARGEST_MODULE if path in MODULE_FILES else LARGEST_FILE
        wrong += [f"{relative(path)} has {lines} lines, more than {limit}"] if lines > limit else []
    assert not wrong, "split by idea:\n" + "\n".join(wrong)


def test_functions_are_short() -> None:
    wrong = []
    for path in ALL_FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    wrong.append(f"{relative(path)}:{node.lineno} {node.name} has {lines} lines")
    assert not wrong, "split by idea:\n" + "\n".join(wrong)


def test_the_library_does_not_print() -> None:
    """Only the command line talks to a terminal."""
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in [*LIBRARY_FILES, *MODULE_FILES]
        if path.name not in ("cli.py", "__main__.py") and path.parent.name != "commands"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from ..ops import mind", ["DeepRegistrationLib.ops.mind"]),
        ("from . import image", ["DeepRegistrationLib.core.image"]),
        ("from .. import register", ["DeepRegistrationLib.register"]),
        ("def f():\n    import slicer.util", ["slicer.util"]),
    ],
)
def test_imports_are_read(source: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = LIBRARY / "core" / "grid.py"
    monkeypatch.setattr("house.sources.tree", lambda _: ast.parse(source))
    assert [found.name for found in imports(path)] == names
    assert module_name(path) == "DeepRegistrationLib.core.grid"
    layers = [layer_imported(found) for found in imports(path)]
    assert layers in (["ops"], ["core"], ["top"], [None])
    assert bool(wrong_arrows(path)) == (layers in (["ops"], ["top"]))
