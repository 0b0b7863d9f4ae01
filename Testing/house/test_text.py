"""No committed text carries what belongs to one machine, or a note that something is unfinished."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from house.sources import LIBRARY, MODULES, ROOT, relative, tracked_files

# Absolute folders of a person's or a build machine; those every Unix has (/usr, /tmp) are not among them.
FOLDERS = ("work", "farm", "root", r"home/\w+", r"Users/\w+", "opt/wheels", "opt/pypi", "tmp/envs", "tmp/lab")
MACHINE_PATH = re.compile(rf"(?<![\w.:/*-])/(?:{'|'.join(FOLDERS)})\b")
# In pieces, so that this file does not carry them either.
WORDS = ("TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK")
LEFTOVER = re.compile(rf"\b(?:{'|'.join(WORDS)})\b|<<<<<" "<<|>>>>>" ">>")
LARGEST_FILE = 5 * 1024 * 1024


def text_lines(path: Path) -> list[str]:
    """The lines of a text file; none for a binary one."""
    content = path.read_bytes()
    return [] if b"\0" in content[:8192] else content.decode("utf-8").splitlines()


def places(pattern: re.Pattern[str], below: Path = ROOT) -> list[str]:
    return [
        f"{relative(path)}:{number} {line.strip()}"
        for path in tracked_files()
        if path.is_relative_to(below)
        for number, line in enumerate(text_lines(path), start=1)
        if pattern.search(line)
    ]


def test_no_machine_paths() -> None:
    assert not places(MACHINE_PATH), "\n".join(places(MACHINE_PATH))


def test_nothing_left_over() -> None:
    assert not places(LEFTOVER), "\n".join(places(LEFTOVER))


@pytest.mark.parametrize("folder", [LIBRARY, MODULES], ids=["library", "modules"])
def test_nothing_is_a_stub(folder: Path) -> None:
    stubs = places(re.compile("NotImplementedError"), below=folder)
    assert not stubs, "\n".join(stubs)


def test_no_large_files() -> None:
    """A clone with its history must stay below what the extensions index takes."""
    large = [relative(path) for path in tracked_files() if path.stat().st_size > LARGEST_FILE]
    assert not large, f"larger than 5 MB: {large}"


@pytest.mark.parametrize("line", ["open('/ho" "me/ann/x')", "see /wo" "rk/main", "(/ro" "ot/x)"])
def test_a_machine_path_is_seen(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["frame/work/x", "https://a.org/home/me", "../work/x", "network/root"])
def test_a_harmless_path_is_not(line: str) -> None:
    assert not MACHINE_PATH.search(line)
