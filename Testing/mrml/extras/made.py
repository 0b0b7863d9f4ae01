"""What a generous method leaves, and what SimpleITK says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

SHAPE = (16, 18, 20)
#: index to RAS, turned about two axes: neither it nor its inverse is symmetric
TURNED = np.array([[0.94, -0.33, -0.09], [0.34, 0.91, 0.24], [0.0, -0.26, 0.97]])
MATRIX = np.eye(4)
MATRIX[:3, :3] = TURNED * (-1.5, -1.2, 1.3)
MATRIX[:3, 3] = (20.0, 15.0, -12.0)
PLACED = np.array([[0.8, -0.6, 0, 4.0], [0.6, 0.8, 0, -3.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
POINTS = np.array([[1.0, 2.0, 3.0], [-4.0, 8.5, 2.0], [0.0, 0.5, -7.0]])
SCORES = [{"similarity": 0.9, "overlap": 0.75}, {"similarity": 0.5}, {"similarity": 0.25, "overlap": 0.5}]


def ids(scene: Any) -> list[str]:
    return [scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())]


def spots(seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    out = np.zeros(SHAPE)
    for _ in range(10):
        centre = random.uniform(-0.4, 0.4, 3)[:, None, None, None]
        out += np.exp(-(((grid - centre) / 0.25) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.int16)


def rigid(index: int) -> sitk.AffineTransform:
    turned = sitk.Euler3DTransform((-8.0, -6.0, 2.0), 0.05 * index, -0.04, 0.1 * index, (2.0 * index, -1.5, 1.0))
    return sitk.AffineTransform(np.array(turned.GetMatrix()).tolist(), turned.GetTranslation(), turned.GetCenter())


def markups(path: Path, points: np.ndarray) -> None:
    control = [{"label": f"c{k}", "position": p} for k, p in enumerate(points.tolist())]
    content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": control}]}
    path.write_text(json.dumps(content))


def series_file(path: Path, reference: sitk.Image, arrays: list[np.ndarray]) -> None:
    image = sitk.GetImageFromArray(np.stack(arrays, axis=-1).astype(np.float32), isVector=True)
    image.CopyInformation(reference)
    sitk.WriteImage(image, str(path))


def by_hand(folder: Path, number: int, labels: bool = False) -> np.ndarray:
    """Moving under candidate `number` as SimpleITK resamples it."""
    fixed, moving = (sitk.ReadImage(str(folder / f"{side}.nrrd")) for side in ("fixed", "moving"))
    if labels:
        moving = sitk.ReadImage(str(folder / "moving_segmentation.seg.nrrd"))
    how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    return sitk.GetArrayFromImage(sitk.Resample(moving, fixed, rigid(number), how, 0.0))


def same_nodes(a: Any, b: Any) -> None:
    for field in ("maps", "series", "points"):
        assert {k: n.GetID() for k, n in getattr(a, field).items()} == {
            k: n.GetID() for k, n in getattr(b, field).items()
        }
    assert [n.GetID() for n in a.alternatives] == [n.GetID() for n in b.alternatives]
    assert a.alternatives_table is b.alternatives_table
