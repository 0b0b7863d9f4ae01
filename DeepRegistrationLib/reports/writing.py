"""Text files written whole or not at all."""

from __future__ import annotations

import os
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
    # not by `tempfile`, whose files nobody else may read
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise writing_failed(path.parent, error) from error
    return path
