"""The source files that the tests of the house read, and what they import."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "DeepRegistrationLib"
MODULES = ROOT / "DeepRegistration"


@dataclass(frozen=True)
class Import:
    """A dotted name, `from a import b` being `a.b`; deferred where it waits for a call or a type checker."""

    name: str
    line: int
    deferred: bool


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(path for name in listed if name and (path := ROOT / name).is_file())


def python_files(*folders: Path) -> list[Path]:
    """The committed Python files below the folders, in order."""
    return sorted(
        path
        for path in tracked_files()
        if path.suffix == ".py" and any(folder in path.parents for folder in folders)
    )


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    """DeepRegistrationLib/core/grid.py -> DeepRegistrationLib.core.grid; an __init__.py -> its package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_file(name: str) -> Path | None:
    """The file of a dotted name of the library, or None where the name is no module of it."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imports(path: Path) -> Iterator[Import]:
    """Every import of the file, relative ones made absolute."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    yield from _imports_below(tree(path), parts, deferred=False)


def _imports_below(node: ast.AST, parts: tuple[str, ...], deferred: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, deferred) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = parts[: len(parts) - child.level] if child.level else ()
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{base}.{alias.name}", child.lineno, deferred) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _imports_below(ast.Module([statement], []), parts, deferred=True)
            for statement in child.orelse:
                yield from _imports_below(ast.Module([statement], []), parts, deferred)
        else:
            waits = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports_below(child, parts, deferred or waits)


def relative(path: Path) -> str:
    """The path from the root, as an error message shows it."""
    return path.relative_to(ROOT).as_posix()
