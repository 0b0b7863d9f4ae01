"""Nodes in a real MRML scene, and a stand-in for the worker that moves images by a known transform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: oblique, anisotropic, off origin, left-handed in z
OBLIQUE = np.array([[0.0, -1.2, 0.3, 5.0], [1.4, 0.0, 0.0, -8.0], [0.0, 0.35, 1.9, 12.0], [0, 0, 0, 1.0]])


@pytest.fixture
def scene(slicer_host: Any) -> Any:
    import slicer

    slicer.mrmlScene.Clear(0)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)


def blobs(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """(Z, Y, X) smooth bright spots on a dark ground that fade before the edges, 0..1000."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    out = np.zeros(shape)
    for _ in range(12):
        centre = random.uniform(-0.55, 0.55, 3)[:, None, None, None]
        out += random.uniform(0.3, 1) * np.exp(-(((grid - centre) / random.uniform(0.12, 0.3)) ** 2).sum(0))
    return (1000 * out / out.max()).astype(np.float32)


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The nearest index-to-world matrix with axes at right angles."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    u, _, vt = np.linalg.svd(matrix[:3, :3] / spacing)
    out = matrix.copy()
    out[:3, :3] = (u @ vt) * spacing
    return out


def vtk_matrix(array: np.ndarray) -> Any:
    import slicer.util

    return slicer.util.vtkMatrixFromArray(array)


@pytest.fixture
def make_volume(scene: Any) -> Any:
    import slicer.util

    def make(
        array: np.ndarray, matrix: np.ndarray | None = None, name: str = "volume", kind: str = "Scalar"
    ) -> Any:
        ijk_to_ras = vtk_matrix(orthogonal(OBLIQUE if matrix is None else matrix))
        node = slicer.util.addVolumeFromArray(array, ijk_to_ras, name, f"vtkMRML{kind}VolumeNode")
        node.CreateDefaultDisplayNodes()
        return node

    return make


@pytest.fixture
def make_segmentation(scene: Any) -> Any:
    """(volume, {name: boolean array}) -> segmentation node with a colour and a terminology each."""
    import slicer.util

    def make(volume: Any, segments: dict[str, np.ndarray], name: str = "segments") -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for k, (title, mask) in enumerate(segments.items()):
            key = node.GetSegmentation().AddEmptySegment(f"id-{k}", title)
            segment = node.GetSegmentation().GetSegment(key)
            segment.SetColor(0.1 + 0.2 * k, 0.9 - 0.2 * k, 0.5)
            segment.SetTag("TerminologyEntry", f"Category^1^x~Type^{k}^{title}~^^~Anatomy^2^y~^^~^^")
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, key, volume)
        return node

    return make


def write_result(
    folder: Path, transform: sitk.Transform, *, dense: bool, segmentation: bool
) -> dict[str, Any]:
    """What the worker leaves: moving.nrrd under `transform` (fixed to moving) on the grid of fixed.nrrd."""
    fixed, moving = (sitk.ReadImage(str(folder / f"{side}.nrrd")) for side in ("fixed", "moving"))
    files = {"transform": "transform.nrrd" if dense else "transform.tfm"}
    if dense:
        to_field = sitk.TransformToDisplacementFieldFilter()
        to_field.SetReferenceImage(fixed)
        to_field.SetOutputPixelType(sitk.sitkVectorFloat32)
        field = to_field.Execute(transform)
        sitk.WriteImage(field, str(folder / files["transform"]))
        transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    else:
        sitk.WriteTransform(transform, str(folder / files["transform"]))
    sitk.WriteImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0), str(folder / "moved.nrrd"))
    files["moved"] = "moved.nrrd"
    ones = sitk.Image(fixed.GetSize(), sitk.sitkFloat32) + 1.0
    ones.CopyInformation(fixed)
    sitk.WriteImage(ones, str(folder / "jacobian.nrrd"))
    files["jacobian"] = "jacobian.nrrd"
    if segmentation:
        labels = sitk.ReadImage(str(folder / "moving_segmentation.seg.nrrd"))
        out = sitk.Resample(labels, fixed, transform, sitk.sitkNearestNeighbor, 0)
        sitk.WriteImage(out, str(folder / "segmentation.nrrd"))
        files["segmentation"] = "segmentation.nrrd"
    provenance = {"method": "test-method", "messages": ["A word."]}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return {"files": files, "metrics": {"numbers": 1}, "provenance": provenance}


@pytest.fixture
def fake_worker() -> Any:
    return write_result


@pytest.fixture
def known_transform() -> Any:
    """A rotation of some degrees with a shift, or the same with a smooth bend of up to about 3 mm."""

    def make(centre: tuple[float, ...], *, bent: bool) -> sitk.Transform:
        rigid = sitk.Euler3DTransform(centre, 0.05, -0.04, 0.08, (2.0, -1.5, 1.0))
        if not bent:
            return sitk.AffineTransform(np.array(rigid.GetMatrix()).tolist(), rigid.GetTranslation(), centre)
        bend = sitk.BSplineTransform(3, 3)
        bend.SetTransformDomainOrigin([c - 60 for c in centre])
        bend.SetTransformDomainPhysicalDimensions([120.0] * 3)
        bend.SetTransformDomainMeshSize([4] * 3)
        count = len(bend.GetParameters())
        bend.SetParameters(np.random.default_rng(3).uniform(-3, 3, count).tolist())
        return sitk.CompositeTransform([rigid, bend])

    return make
