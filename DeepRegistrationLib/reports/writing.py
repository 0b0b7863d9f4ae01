"""Text files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..jobs.outputs import output_folder, writing_failed


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write file name -> text into the folder, which is made where it is missing; their paths.

    Raises OutputError where the place refuses.
    """
    with output_folder(folder) as target:
        return [_write(target / name, text) for name, text in texts.items()]


def _write(path: Path, text: str) -> Path:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8", newline="") as file:
            temporary = file.name
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise writing_failed(path.parent, error) from error
    return path
