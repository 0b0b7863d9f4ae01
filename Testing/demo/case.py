"""Which files of a folder are the two scans, and what is known of them besides. Chosen by name alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

SIDES = ("fixed", "moving")
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
LABEL_ENDINGS = (".seg.nrrd", *IMAGE_ENDINGS)
POINT_ENDINGS = (".mrk.json", ".fcsv", ".txt", ".csv")

#: kinds of scan, the preferred one first; the words that stand for them in names
KINDS = {
    "CT": ("ct", "cbct"),
    "T1": ("t1", "t1w", "t1c"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair",),
    "PD": ("pd",),
    "MR": ("mr", "mri"),
    "PET": ("pet",),
    "US": ("us", "ultrasound"),
}
#: what is no scan though it is an image
_NOT_A_SCAN = re.compile(r"label|seg|mask|dose|ptv|landmark|displacement|transform|rgb")

#: words in names that tell the part of the body, and the preset for CT and for MR
_PARTS = (
    (r"head_?neck|headneck|h_?n_", {"CT": "head-neck-ct"}),
    (r"lung|thorax|chest|breath", {"CT": "lung-ct"}),
    (r"abdomen|liver|pelvis", {"CT": "abdomen-ct"}),
    (r"brain", {"MR": "brain-mr"}),
)


class NoCase(ValueError):
    """The folder holds no pair of scans."""


@dataclass(frozen=True)
class Case:
    """The files of one pair. Masks stand in for labels where there are none: both are only measured.

    kinds   key of KINDS for fixed and moving, "" where the name does not tell
    truth   points of fixed and where the true motion takes them, (2, N, 3) LPS mm, .npy (phantom only)
    """

    name: str
    images: dict[str, Path]
    kinds: dict[str, str]
    labels: dict[str, Path] = field(default_factory=dict)
    landmarks: dict[str, Path] = field(default_factory=dict)
    truth: Path | None = None

    def preset(self) -> tuple[str, str]:
        """(preset id, why it was chosen); the empty id stands for the method's own defaults."""
        fixed, moving = self.kinds["fixed"], self.kinds["moving"]
        if fixed != moving and fixed and moving:
            return "multimodal", f"the scans are of different kinds, {fixed} and {moving}"
        family = "CT" if fixed == "CT" else "MR" if fixed in ("T1", "T2", "FLAIR", "PD", "MR") else ""
        words = " ".join([self.name, *(stem(p) for p in self.images.values())]).lower()
        for pattern, presets in _PARTS:
            found = re.search(pattern, words)
            if found and family in presets:
                return presets[family], f"'{found.group()}' in the names of {fixed} scans"
        return "", f"the names tell no part of the body that a preset for {fixed or 'unknown'} scans is for"

    def structure(self) -> str:
        """What a label without a name is called: by the name of a mask, else "label"."""
        words = stem(self.labels["fixed"]).partition("_")[2] if self.labels else ""
        return words.replace("_", " ") if words.endswith("mask") else "label"


def stem(path: Path) -> str:
    """The name without its ending; `.nii.gz` and `.seg.nrrd` count as one ending."""
    name = path.name
    for ending in sorted({*LABEL_ENDINGS, *POINT_ENDINGS}, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def find_case(folder: Path) -> Case:
    """Look through a folder; raises NoCase where there is no `fixed_*` and `moving_*` scan in it."""
    if not folder.is_dir():
        raise NoCase(f"There is no folder '{folder}'; give one that holds a fixed_* and a moving_* scan.")
    files = sorted(p for p in folder.iterdir() if p.is_file())
    scans = {side: _scans(files, side) for side in SIDES}
    for side, found in scans.items():
        if not found:
            raise NoCase(
                f"'{folder}' holds no file {side}_* that is a scan ({', '.join(IMAGE_ENDINGS)}); add one."
            )
    images, kinds = _pair(scans)
    labels = _both(files, ("labels", "label", "segmentation", "seg"), LABEL_ENDINGS) or _both(
        files, ("mask",), LABEL_ENDINGS
    )
    truth = folder / "truth.npy"
    return Case(
        name=folder.resolve().name,
        images=images,
        kinds=kinds,
        labels=labels,
        landmarks=_both(files, ("landmarks", "points"), POINT_ENDINGS),
        truth=truth if truth.is_file() else None,
    )


def _scans(files: list[Path], side: str) -> dict[str, Path]:
    """Kind -> file. Of two files of one kind the shorter name counts: `t1` before `t1_head`."""
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda p: (len(p.name), p.name)):
        rest = _rest(path, side, IMAGE_ENDINGS)
        if rest is not None and not _NOT_A_SCAN.search(rest):
            found.setdefault(_kind(rest), path)
    return found


def _kind(words: str) -> str:
    parts = re.split(r"[^a-z0-9]+", words)
    return next((kind for kind, names in KINDS.items() if any(p in names for p in parts)), "")


def _pair(scans: dict[str, dict[str, Path]]) -> tuple[dict[str, Path], dict[str, str]]:
    """One scan a side: of the same kind where there are such, else the preferred kind of each side."""
    order = [*KINDS, ""]
    shared = [kind for kind in order if all(kind in scans[side] for side in SIDES)]
    kinds = {side: shared[0] if shared else next(k for k in order if k in scans[side]) for side in SIDES}
    return {side: scans[side][kinds[side]] for side in SIDES}, kinds


def _both(files: list[Path], words: tuple[str, ...], endings: tuple[str, ...]) -> dict[str, Path]:
    """A file of each side whose name ends with one of the words; nothing unless both sides have one."""
    for word in words:
        found = {}
        for side in SIDES:
            named = [p for p in files if (rest := _rest(p, side, endings)) and rest.split("_")[-1] == word]
            if named:
                found[side] = min(named, key=lambda p: (len(p.name), p.name))
        if len(found) == len(SIDES):
            return found
    return {}


def _rest(path: Path, side: str, endings: tuple[str, ...]) -> str | None:
    """What follows `fixed` or `moving` in the name, lower case; None for any other file."""
    name = path.name.lower()
    if not name.endswith(endings):
        return None
    start, _, rest = stem(path).lower().partition("_")
    return rest if start == side else None
