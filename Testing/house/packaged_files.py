"""What a built extension carries: the library's files and the trained models, as the list that CMake reads.

Run it (`make package-list`) after adding, moving or removing a file.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "DeepRegistrationLib" / "files.cmake"
HEADER = """\
# What the extension packages besides its modules, relative to the top of the source tree.
# Written by `make package-list`: run it after adding, moving or removing a file.
"""


def _files_below(folder: Path) -> list[str]:
    """The files below `folder` as sorted paths from the root, without caches and hidden files."""
    found = (path.relative_to(ROOT) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if "__pycache__" not in path.parts and not any(part.startswith(".") for part in path.parts)
    )


def scripts() -> list[str]:
    """Every Python file of the library."""
    return [path for path in _files_below(ROOT / "DeepRegistrationLib") if path.endswith(".py")]


def resources() -> list[str]:
    """Every other file of the library, and the trained models."""
    library = _files_below(ROOT / "DeepRegistrationLib")
    others = [path for path in library if not path.endswith((".py", ".cmake"))]
    return others + _files_below(ROOT / "Resources" / "Models")


def cmake_text() -> str:
    """The content of files.cmake that fits the folders as they are now."""
    text = HEADER
    for name, paths in (("SCRIPTS", scripts()), ("RESOURCES", resources())):
        lines = "".join(f"  {path}\n" for path in paths)
        text += f"\nset(DeepRegistrationLib_PYTHON_{name}\n{lines}  )\n"
    return text


if __name__ == "__main__":
    LIST.write_text(cmake_text(), encoding="utf-8")
    print(f"{LIST.relative_to(ROOT)}: {len(scripts())} scripts, {len(resources())} other files")
