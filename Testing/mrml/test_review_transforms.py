"""The transform that the worker reads takes every fixed point where Slicer takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import slicer.util
import vtk

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.mrml.node_maps import write_map
from DeepRegistrationLib.mrml.slabs import finish
from DeepRegistrationLib.mrml.volumes import image_from
from mrml.test_review_inputs import TURN, linear, thin_plate

RAS = np.array([-1.0, -1.0, 1.0])
SIZE = (26, 22, 18)
#: oblique, anisotropic, left-handed, off origin, about the middle of the B-spline's domain
MATRIX = np.eye(4)
MATRIX[:3, :3] = np.linalg.qr(np.array([[0.9, 0.2, -0.1], [-0.3, 0.8, 0.3], [0.2, -0.4, -0.9]]))[0] * (1.5, 1.9, 2.3)
MATRIX[:3, 3] = MATRIX[:3, :3] @ (-12.5, -10.5, -8.5)


@pytest.fixture
def grid(scene: Any) -> Any:
    return image_from(np.zeros(SIZE[::-1], np.int16), MATRIX)


def bend(seed: int = 3, size: float = 3.0) -> sitk.BSplineTransform:
    spline = sitk.BSplineTransform(3, 3)
    spline.SetTransformDomainOrigin([-70.0] * 3)
    spline.SetTransformDomainPhysicalDimensions([140.0] * 3)
    spline.SetTransformDomainMeshSize([5] * 3)
    count = len(spline.GetParameters())
    spline.SetParameters(np.random.default_rng(seed).uniform(-size, size, count).tolist())
    return spline


def rigid() -> sitk.Transform:
    return sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.05, -0.04, 0.08, (2.0, -1.5, 1.0))


def field_image(spacing: float = 2.0, reach: float = 60.0) -> sitk.Image:
    count = int(2 * reach / spacing) + 1
    return sitk.TransformToDisplacementField(
        bend(), sitk.sitkVectorFloat64, [count] * 3, [-reach] * 3, [spacing] * 3, np.eye(3).ravel().tolist()
    )


def loaded(scene: Any, path: Path) -> Any:
    """The node that Slicer's own reader makes of a file."""
    node = slicer.modules.transforms.logic().AddTransform(str(path), scene, None)
    assert node is not None
    return node


def from_file(write: Callable[[str], None], ending: str) -> Callable[[Any, Path], Any]:
    def make(scene: Any, folder: Path) -> Any:
        path = folder / f"given{ending}"
        write(str(path))
        return loaded(scene, path)

    return make


def below_parents(scene: Any, folder: Path) -> Any:
    node = from_file(lambda p: sitk.WriteTransform(bend(), p), ".tfm")(scene, folder)
    middle, top = linear(scene, TURN), thin_plate(scene)
    node.SetAndObserveTransformNodeID(middle.GetID())
    middle.SetAndObserveTransformNodeID(top.GetID())
    return node


def composite() -> sitk.Transform:
    return sitk.CompositeTransform([rigid(), bend(), sitk.ScaleTransform(3, (1.1, 0.95, 1.02)), bend(7, 2.0)])


NODES: dict[str, Callable[[Any, Path], Any]] = {
    "linear": lambda scene, _: linear(scene, TURN),
    "rigid .tfm": from_file(lambda p: sitk.WriteTransform(rigid(), p), ".tfm"),
    "linear composite .h5": from_file(
        lambda p: sitk.WriteTransform(sitk.CompositeTransform([rigid(), sitk.ScaleTransform(3, (1.1, 1, 1))]), p), ".h5"
    ),
    "B-spline .tfm": from_file(lambda p: sitk.WriteTransform(bend(), p), ".tfm"),
    "composite .h5": from_file(lambda p: sitk.WriteTransform(composite(), p), ".h5"),
    "field .nrrd": from_file(lambda p: sitk.WriteImage(field_image(), p), ".nrrd"),
    "field .h5": from_file(lambda p: sitk.WriteTransform(sitk.DisplacementFieldTransform(field_image()), p), ".h5"),
    "thin plate": lambda scene, _: thin_plate(scene),
    "below parents": below_parents,
}


def read(path: Path) -> sitk.Transform:
    if path.suffix == ".tfm":
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def voxel_centres(count: int = 60) -> np.ndarray:
    """(N, 3) RAS."""
    random = np.random.default_rng(5)
    index = np.stack([random.integers(0, n, count) for n in SIZE], axis=1)
    return index @ MATRIX[:3, :3].T + MATRIX[:3, 3]


@pytest.mark.parametrize("reverse", [False, True], ids=["as it is", "the other way round"])
@pytest.mark.parametrize("kind", NODES)
def test_maps_points_as_slicer_does(scene: Any, grid: Any, tmp_path: Path, kind: str, reverse: bool) -> None:
    node = NODES[kind](scene, tmp_path)
    file = finish(write_map(node, tmp_path, "transform", grid, reverse))
    assert file == ("transform.tfm" if node.IsTransformToWorldLinear() else "transform.nrrd")
    written = read(tmp_path / file)
    there = vtk.vtkGeneralTransform()
    (node.GetTransformToWorld if reverse else node.GetTransformFromWorld)(there)
    for point in voxel_centres():
        expected = np.array(there.TransformPoint(point.tolist())) * RAS
        got = np.array(written.TransformPoint((point * RAS).tolist()))
        # a field that is kept on its own grid is linear in ITK and cubic in Slicer
        own = kind.startswith("field") and not reverse
        np.testing.assert_allclose(got, expected, atol=0.02 if own else 2e-5)
    assert np.linalg.norm(expected - point * RAS) > 0.3


@pytest.mark.parametrize(
    ("kind", "transform"), [("rigid .tfm", rigid()), ("B-spline .tfm", bend()), ("composite .h5", composite())]
)
def test_is_the_map_of_the_file(scene: Any, grid: Any, tmp_path: Path, kind: str, transform: sitk.Transform) -> None:
    """What ITK applies from fixed to moving is what is reviewed: no direction is lost on the way."""
    node = NODES[kind](scene, tmp_path)
    written = read(tmp_path / finish(write_map(node, tmp_path, "transform", grid)))
    for point in voxel_centres() * RAS:
        np.testing.assert_allclose(
            written.TransformPoint(point.tolist()), transform.TransformPoint(point.tolist()), atol=1e-4
        )


def grid_node(scene: Any, array: np.ndarray, matrix: np.ndarray, *, to_parent: bool = False) -> Any:
    """A grid transform of (Z, Y, X, 3) displacements, RAS mm."""
    from vtk.util.numpy_support import numpy_to_vtk

    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[2::-1])
    image.SetSpacing(*spacing)
    image.SetOrigin(*matrix[:3, 3])
    image.GetPointData().SetScalars(numpy_to_vtk(array.reshape(-1, 3), deep=True))
    direction = np.eye(4)
    direction[:3, :3] = matrix[:3, :3] / spacing
    field = slicer.vtkOrientedGridTransform()
    field.SetDisplacementGridData(image)
    field.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(direction))
    field.SetInterpolationModeToLinear()
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "grid")
    (node.SetAndObserveTransformToParent if to_parent else node.SetAndObserveTransformFromParent)(field)
    return node


def smooth(amount: float = 2.0) -> np.ndarray:
    """(Z, Y, X, 3) float32 on SIZE."""
    z, y, x = np.meshgrid(*[np.linspace(0, 3, n) for n in SIZE[::-1]], indexing="ij")
    return (amount * np.stack([np.sin(x + y), np.cos(y - z), np.sin(z + 0.5 * x)], axis=-1)).astype(np.float32)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_field_is_written_as_it_is(scene: Any, grid: Any, tmp_path: Path, reverse: bool) -> None:
    array = smooth()
    node = grid_node(scene, array, MATRIX, to_parent=reverse)
    field = (node.GetTransformToParent if reverse else node.GetTransformFromParent)()
    field.SetDisplacementScale(0.5)
    field.SetDisplacementShift(0.25)
    image = sitk.ReadImage(str(tmp_path / finish(write_map(node, tmp_path, "t", grid, reverse))))
    assert image.GetPixelID() == sitk.sitkVectorFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ((0.5 * array + 0.25) * RAS).astype(np.float32))
    for index in ((0, 0, 0), (25, 3, 17)):
        expected = (MATRIX @ (*index, 1))[:3] * RAS
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected, atol=1e-9)


def test_a_field_that_is_too_small_is_sampled_with_what_slicer_takes_beyond_it(
    scene: Any, grid: Any, tmp_path: Path
) -> None:
    """Slicer holds the edge of a field where ITK falls to zero."""
    node = grid_node(scene, np.full((4, 4, 4, 3), 3.0, np.float32), np.diag([2.0, 2, 2, 1]))
    image = sitk.ReadImage(str(tmp_path / finish(write_map(node, tmp_path, "t", grid))))
    assert image.GetSize() == SIZE
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), np.broadcast_to(3.0 * RAS, (*SIZE[::-1], 3)), atol=1e-5)


def test_a_coarse_field_with_cubic_interpolation_is_sampled(scene: Any, grid: Any, tmp_path: Path) -> None:
    path = tmp_path / "given.nrrd"
    sitk.WriteImage(field_image(spacing=12.0), str(path))
    node = loaded(scene, path)
    image = sitk.ReadImage(str(tmp_path / finish(write_map(node, tmp_path, "t", grid))))
    assert image.GetSize() == SIZE


def test_a_large_map_is_sampled_coarsely(
    scene: Any, grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DeepRegistrationLib.mrml import transforms

    monkeypatch.setattr(transforms, "_MOST_SAMPLES", 1000)
    node = thin_plate(scene)
    path = tmp_path / finish(write_map(node, tmp_path, "t", grid))
    image = sitk.ReadImage(str(path))
    assert 500 < image.GetNumberOfPixels() < 1500
    for corner in ((0, 0, 0), tuple(n - 1 for n in image.GetSize())):
        full = tuple(0 if c == 0 else n - 1 for c, n in zip(corner, SIZE, strict=True))
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint(corner), (MATRIX @ (*full, 1))[:3] * RAS, atol=1e-9
        )


def test_an_inverse_that_does_not_exist_is_said_in_one_sentence(
    scene: Any, grid: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A field that folds can be reviewed as it is, but not the other way round."""
    node = grid_node(scene, smooth(40.0), MATRIX)
    with pytest.raises(InputError, match=r"inverse of the transform 'grid' cannot be found at \d+ %") as caught:
        finish(write_map(node, tmp_path, "t", grid, True))
    assert "\n" not in str(caught.value)
    assert "no convergence" not in capfd.readouterr().err.lower()
    assert finish(write_map(node, tmp_path, "t", grid)) == "t.nrrd"
    assert vtk.vtkObject.GetGlobalWarningDisplay() == 1


def test_values_that_are_no_numbers(scene: Any, grid: Any, tmp_path: Path) -> None:
    array = smooth()
    array[5, 5, 5] = np.nan
    small = grid_node(scene, array, MATRIX)
    small.SetAndObserveTransformNodeID(linear(scene, TURN).GetID())
    with pytest.raises(InputError, match="not finite"):
        finish(write_map(small, tmp_path, "t", grid))
