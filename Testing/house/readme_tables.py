"""Writes the tables of README.md that come from what the methods declare: `make readme`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def methods_table() -> str:
    """What `python -m DeepRegistrationLib methods --markdown` prints."""
    import DeepRegistrationLib as dr
    from DeepRegistrationLib.descriptions import methods_table as table

    return table(dr.methods())


def presets_table() -> str:
    """Every preset once, in the order of the methods, with those that offer it."""
    import DeepRegistrationLib as dr

    titles: dict[str, str] = {}
    offered: dict[str, list[str]] = {}
    for method in dr.methods():
        for preset in method.presets:
            titles.setdefault(preset.id, preset.title)
            offered.setdefault(preset.id, []).append(f"`{method.id}`")
    rows = ["| Preset | In the panel | Methods |", "| --- | --- | --- |"]
    rows += [f"| `{preset}` | {titles[preset]} | {', '.join(offered[preset])} |" for preset in titles]
    return "\n".join(rows)


TABLES = {"methods": methods_table, "presets": presets_table}


def between(text: str, name: str) -> str:
    """What stands between the markers of a table; raises ValueError where they are not there once each."""
    found = re.findall(rf"^<!-- {name} -->\n(.*?)^<!-- /{name} -->$", text, re.DOTALL | re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"README.md has {len(found)} pairs of markers '<!-- {name} -->' where one is wanted.")
    return str(found[0]).strip()


def renewed(text: str) -> str:
    """`text` with every table as it should be."""
    for name, table in TABLES.items():
        between(text, name)
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, rest = text.split(start, 1)
        text = f"{head}{start}{table()}\n{end}{rest.split(end, 1)[1]}"
    return text


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"README.md: tables {', '.join(TABLES)}")
