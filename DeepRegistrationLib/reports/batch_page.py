"""The table over many results: index.html to sort by clicking, batch.csv and batch.json."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import elements
from .batch import BatchCase, measured
from .outliers import STANDS_OUT, deviations
from .tables import as_csv, json_text
from .writing import write_texts

#: key of BatchCase -> head of its column, digits
COLUMNS: dict[str, tuple[str, int]] = {
    "outlier": ("Outlier (robust z)", 1),
    "dice_before": ("Dice before", 3),
    "dice_after": ("Dice after", 3),
    "hd95_after": ("HD95 after (mm)", 1),
    "tre_before": ("TRE before (mm)", 2),
    "tre_after": ("TRE after (mm)", 2),
    "folding_percent": ("Folding (%)", 3),
    "jacobian_min": ("Smallest Jacobian", 2),
    "sd_log_jacobian": ("SDlogJ", 3),
    "inverse_p95": ("Inverse error, 95 % (mm)", 2),
    "uncertainty_mean": ("Uncertainty (mm)", 2),
    "outside_percent": ("Mapped outside (%)", 1),
    "seconds": ("Seconds", 1),
}

# A click on a head sorts by it, a second one the other way round; what is missing stays last. Heads are buttons, so
# the keyboard reaches them.
_SCRIPT = """
(function(){var t=document.querySelector("table.sortable"),b=t.tBodies[0];
t.querySelectorAll("thead th").forEach(function(h,c){h.querySelector("button").addEventListener("click",function(){
var up=h.getAttribute("aria-sort")!=="ascending";
t.querySelectorAll("thead th").forEach(function(o){o.removeAttribute("aria-sort")});
h.setAttribute("aria-sort",up?"ascending":"descending");
var v=function(r){return r.cells[c].getAttribute("data-value")};
Array.from(b.rows).sort(function(p,q){var x=v(p),y=v(q);
if(x===""||y==="")return (x==="")-(y==="");
var d=h.hasAttribute("data-number")?x-y:x.localeCompare(y);return up?d:-d}).forEach(function(r){b.appendChild(r)})})})
})()
""".replace("\n", "")


def write_batch(root: Path, cases: Sequence[BatchCase]) -> list[Path]:
    """Write index.html, batch.csv and batch.json into `root`; their paths. Raises OutputError.

    The page links to the report of every case that has one.
    """
    root = Path(root)
    return write_texts(
        root,
        {
            "index.html": batch_html(root, cases),
            "batch.csv": batch_csv(cases),
            "batch.json": json_text({"cases": [case_dictionary(case) for case in cases]}),
        },
    )


def case_dictionary(case: BatchCase) -> dict[str, Any]:
    """A case as JSON knows it."""
    return {**asdict(case), "path": str(case.path), "warnings": list(case.warnings)}


def batch_csv(cases: Sequence[BatchCase]) -> str:
    """One row a case."""
    heads = ("name", "method", "reason", *COLUMNS, "warnings", "error")
    rows = (
        (c.name, c.method, c.reason, *(getattr(c, key) for key in COLUMNS), " ".join(c.warnings), c.error)
        for c in cases
    )
    return as_csv(heads, rows)


def batch_html(root: Path, cases: Sequence[BatchCase]) -> str:
    """The page; `root` is where it will lie."""
    body = [
        "<header><h1>Registrations side by side</h1>",
        *(elements.paragraph(sentence) for sentence in _summary(cases)),
        "</header><main>",
        _table(root, cases),
        elements.section("How outliers are found", elements.paragraph(_EXPLANATION)),
        "</main>",
        "<footer>A dash: not measured. For research, not for diagnosis.</footer>",
    ]
    return elements.document("Registrations side by side", body, _SCRIPT, wide=True)


_EXPLANATION = (
    "Every number is compared with the median of all results: the difference in its bad direction, divided by the "
    "median absolute deviation (times 1.4826), is its robust z. The outlier column is the largest of them; from "
    f"{STANDS_OUT:g} on a number is marked. High folding is bad, low Dice is bad; a number that is missing does not "
    "count. At the top stand results that cannot be used, then those that fold inside a segment, then the others by "
    "their outlier value. A small value is no proof that a result is right: all of them may be wrong in the same way."
)


def _summary(cases: Sequence[BatchCase]) -> list[str]:
    broken = sum(bool(case.error) for case in cases)
    folding = sum(bool(case.folding_segment) and not case.error for case in cases)
    odd = sum(case.stands_out for case in cases) - broken - folding
    said = [f"{len(cases)} {'result' if len(cases) == 1 else 'results'}, those to look at first at the top."]
    counts = [
        (broken, "cannot be used"),
        (folding, "fold inside a segment" if folding != 1 else "folds inside a segment"),
        (odd, "stand out by a number" if odd != 1 else "stands out by a number"),
    ]
    some = [f"{count} {words}" for count, words in counts if count]
    return [*said, ", ".join(some) + "." if some else "None stands out."]


def _table(root: Path, cases: Sequence[BatchCase]) -> str:
    columns = {key: head for key, head in COLUMNS.items() if any(getattr(c, key) is not None for c in cases)}
    heads = [("Case", False), ("Why look at it", False), ("Method", False)]
    heads += [(title, True) for title, _ in columns.values()]
    heads.append(("Warnings", True))
    head = "".join(
        f'<th scope="col"{" class=number data-number" if is_number else ""}>'
        f'<button type="button">{escape(text)}</button></th>'
        for text, is_number in heads
    )
    odd = _odd(cases)
    body = "\n".join(_row(root, case, columns, odd[k]) for k, case in enumerate(cases))
    caption = "All results; click a head to sort by it"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table class="sortable">'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n"
        f"<tfoot>{_medians(cases, columns)}</tfoot></table></div>"
    )


def _odd(cases: Sequence[BatchCase]) -> list[set[str]]:
    """For every case the keys of the numbers that stand out."""
    whole = [k for k, case in enumerate(cases) if not case.error]
    found: list[set[str]] = [set() for _ in cases]
    for k, each in zip(whole, deviations([measured(cases[k]) for k in whole]), strict=True):
        found[k] = {deviation.measure.key for deviation in each if deviation.z >= STANDS_OUT}
    return found


def _row(root: Path, case: BatchCase, columns: dict[str, tuple[str, int]], odd: set[str]) -> str:
    report = case.path / "report.html"
    name = escape(case.name)
    if report.is_file():
        name = f'<a href="{escape(_relative(report, root))}">{name}</a>'
    why = case.error or case.reason
    cells = [
        f'<th scope="row" data-value="{escape(case.name)}">{name}</th>',
        f'<td{" class=odd" if case.stands_out else ""} data-value="{escape(why)}">{escape(why) or elements.DASH}</td>',
        f'<td data-value="{escape(case.method)}">{escape(case.method) or elements.DASH}</td>',
    ]
    for key, (_, digits) in columns.items():
        # what cannot be used comes before every number
        value = 1e9 if key == "outlier" and case.error else getattr(case, key)
        text = elements.DASH if value is None or value == 1e9 else f"{value:.{digits}f}"
        marked = key in odd or (key == "outlier" and case.outlier >= STANDS_OUT)
        mark = ' <span aria-label="stands out">\u25cf</span>' if marked else ""
        kind = "number odd" if marked else "number"
        data = "" if value is None else f"{value:.9g}"
        cells.append(f'<td class="{kind}" data-value="{data}">{text}{mark}</td>')
    listed = "; ".join(case.warnings)
    cells.append(
        f'<td class="number" data-value="{len(case.warnings)}" title="{escape(listed)}">{len(case.warnings)}</td>'
    )
    return f"<tr>{''.join(cells)}</tr>"


def _relative(report: Path, root: Path) -> str:
    """The address of a report as seen from the page; any sign may be in the name of a folder."""
    return quote(Path(os.path.relpath(report.resolve(), root.resolve())).as_posix())


def _medians(cases: Sequence[BatchCase], columns: dict[str, tuple[str, int]]) -> str:
    cells = ['<th scope="row">Median</th>', "<td></td>", "<td></td>"]
    for key, (_, digits) in columns.items():
        known = [v for case in cases if not case.error and (v := getattr(case, key)) is not None]
        text = f"{statistics.median(known):.{digits}f}" if known else elements.DASH
        cells.append(f'<td class="number">{text}</td>')
    return f"<tr>{''.join(cells)}<td></td></tr>"
