"""Colour tables that Slicer reads from files when it starts and that segmentations and label maps refer to.

Only their names are Slicer's. The colours here are made by a rule, so no test should rely on them.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

_NAMES = {"GenericColors.txt": "region", "GenericAnatomyColors.txt": "tissue"}
_COUNT = 64


def write(folder: Path) -> None:
    """Write the files: one line for each colour, index, name, red, green, blue, opacity."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, word in _NAMES.items():
        lines = [f"# Color table file {file}", "0 background 0 0 0 0"]
        for index in range(1, _COUNT):
            # Hues a golden angle apart stay easy to tell apart.
            rgb = colorsys.hsv_to_rgb(index * 0.381966 % 1.0, 0.45 + 0.2 * (index % 3), 0.9)
            values = " ".join(str(round(255 * c)) for c in rgb)
            lines.append(f"{index} {word}_{index} {values} 255")
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
