"""Every claim runs as its script does and holds: `make claims`. They take minutes each."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _is_claim(path: Path) -> bool:
    """Other files beside the claims are what they share."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").startswith("Claim")


CLAIMS = [path for path in sorted(HERE.glob("*.py")) if _is_claim(path)]


def test_there_is_one_to_check() -> None:
    assert len(CLAIMS) >= 2


@pytest.mark.parametrize("script", CLAIMS, ids=lambda path: path.stem)
def test_claim(script: Path) -> None:
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
