"""Transforms in ITK's files (.tfm, .txt, .h5, .mat) and as displacement field images (.nrrd, .nii.gz, .mha).

What is written maps fixed-space points to moving-space points in LPS millimetres, as SimpleITK's and Slicer's
resampling want it.

A dense field is written on the grid it is asked on, without a border of zeros. Inside that grid, up to half a
voxel beyond the outer voxel centres, ITK and Slicer agree with this library. Further out ITK and this library
take zero displacement while Slicer holds the edge value. A border of zeros would make them agree, but it
would bend the outermost half voxel of the fixed image, and it would tear space wherever the displacement at
the edge is large, as after an affine pre-alignment, so that Slicer could not invert the transform there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from ..core.errors import InputError, OutputError
from ..core.grid import Grid
from ..core.transform import Transform
from ..transforms import Affine, Composition, DisplacementField, VelocityField, compose
from .convert import grid_of, with_geometry
from .images import VOLUME_ENDINGS, described, read_sitk, write_sitk
from .integrity import Damaged, check_complete
from .paths import AnyPath, ending, readable, reason, replacing, required_ending

LINEAR_ENDINGS = (".tfm", ".txt", ".mat", ".h5", ".hdf5")
_DENSE_ENDINGS = (".h5", ".hdf5")

#: samples along each cell of a B-spline's control lattice where no grid is given, and the most along an axis
_SAMPLES_A_CELL = 8
_MOST_SAMPLES = 256
#: what ITK says of a kind of transform it has not been built with
_UNKNOWN_KIND = re.compile(r'Could not create an instance of "(\w+)"')
#: mm, below any bending
_NOTHING = 1e-3


def read_transform(path: AnyPath, grid: Grid | None = None) -> Transform:
    """T: fixed-space to moving-space LPS mm, from an ITK transform file or a displacement field image.

    grid  where kinds of transform that have no counterpart here (B-splines) are sampled, exactly at its voxel
          centres; by default B-splines are sampled on their own domain, finely

    Raises InputError for a missing or damaged file and for kinds of transform that are not known here.
    """
    if ending(path, VOLUME_ENDINGS):
        return described(path, lambda: field_from_sitk(read_sitk(path)))
    file = readable(path, "transform")
    try:
        check_complete(file)
        read = sitk.ReadTransform(str(file))
    except (RuntimeError, Damaged) as error:
        raise InputError(_unreadable(file, error)) from error
    return described(path, lambda: from_sitk_transform(read, grid))


def write_transform(transform: Transform, path: AnyPath, grid: Grid | None = None, *, compress: bool = False) -> None:
    """Writes the transform whole or not at all; the ending of the name chooses the form.

    .tfm .txt .mat        linear transforms
    .h5                   linear and dense ones, compositions part by part
    .nrrd .nii.gz .mha    displacement field (float32, mm, LPS) on `grid`, by default the field's own

    Raises OutputError for an unknown ending, a form that cannot hold the transform, and failures of writing.
    """
    suffix = required_ending(path, LINEAR_ENDINGS + VOLUME_ENDINGS, "transform")
    if suffix in VOLUME_ENDINGS:
        write_sitk(field_to_sitk(transform, grid), path, compress)
        return
    if not transform.is_linear and suffix not in _DENSE_ENDINGS:
        raise OutputError(f"{str(path)!r} holds linear transforms only; end the name in .nrrd, .nii.gz or .h5.")
    itk = to_sitk_transform(transform, grid)
    with replacing(path, suffix) as temporary:
        sitk.WriteTransform(itk, str(temporary))
        if transform.is_linear:
            _check_written(itk, temporary)


def _check_written(transform: sitk.Transform, file: Path) -> None:
    """ITK writes its text files to a full disk without an error: they are read back."""
    held, wanted = sitk.ReadTransform(str(file)).GetParameters(), transform.GetParameters()
    if len(held) != len(wanted) or not np.allclose(held, wanted, rtol=1e-6):
        raise Damaged("it does not hold all numbers")


# ---------------------------------------------------------------------- dense fields


def field_to_sitk(transform: Transform, grid: Grid | None = None) -> sitk.Image:
    """Displacements T(x) - x, LPS mm, as a float32 vector image on `grid`.

    Raises OutputError where no grid is given and the transform has none of its own.
    """
    grid = grid or _own_grid(transform)
    if grid is None:
        raise OutputError("To write a transform as a displacement field its grid is needed; give the fixed image's.")
    return _vector_image(transform.displacement(grid).detach().cpu(), grid)


def field_from_sitk(image: sitk.Image) -> DisplacementField:
    """From a vector image with as many components as axes, LPS mm. Raises InputError for any other image."""
    d, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if components != d or d not in (2, 3):
        raise InputError(
            f"It holds {components} value(s) a voxel in {d}-D and is no displacement field, which has one "
            "component for each axis; give a transform file."
        )
    values = np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("The displacement field holds values that are not finite numbers; export it again.")
    field = torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 0)))
    return DisplacementField(field, grid_of(image))


def _vector_image(field: torch.Tensor, grid: Grid, dtype: type = np.float32) -> sitk.Image:
    values: NDArray[Any] = np.ascontiguousarray(np.moveaxis(field.numpy(), 0, -1), dtype=dtype)
    return with_geometry(sitk.GetImageFromArray(values, isVector=True), grid)


def _own_grid(transform: Transform) -> Grid | None:
    if isinstance(transform, (DisplacementField, VelocityField)):
        return transform.grid
    return None


# ---------------------------------------------------------------------- SimpleITK transforms


def to_sitk_transform(transform: Transform, grid: Grid | None = None) -> sitk.Transform:
    """The same map as a SimpleITK transform.

    Linear ones become an AffineTransform. Others are sampled on `grid` where one is given; without it, fields
    keep their own grids and compositions stay compositions.
    """
    d = transform.dimension
    if transform.is_linear:
        return _affine_to_sitk(as_affine(transform))
    if grid is None and isinstance(transform, Composition):
        out = sitk.CompositeTransform(d)
        for part in reversed(transform.parts):  # ITK applies the transform that was added last first
            out.AddTransform(to_sitk_transform(part))
        return out
    grid = grid or _own_grid(transform)
    if grid is None:
        raise OutputError("To hand this transform to ITK a grid to sample it on is needed; give the fixed image's.")
    field = transform.displacement(grid).detach().cpu()
    return sitk.DisplacementFieldTransform(_vector_image(field, grid, np.float64))


def from_sitk_transform(transform: sitk.Transform, grid: Grid | None = None) -> Transform:
    """The same map as a Transform of this library; see `read_transform` for `grid`.

    Linear ones, displacement fields and their compositions are taken over as they are, B-splines are sampled;
    other kinds can only be sampled on a `grid`. Raises InputError for those where none is given.
    """
    d = transform.GetDimension()
    if d not in (2, 3):
        raise InputError(f"A transform of 2 or 3 dimensions is wanted, but this one has {d}.")
    leaves = list(_leaves(transform))
    if grid is not None and grid.dimension == d and not all(_has_counterpart(leaf) for leaf in leaves):
        return _on_grid(transform, leaves, grid)
    return compose(*map(_from_leaf, leaves)) if leaves else Affine.identity(d)


def _leaves(transform: sitk.Transform) -> Iterator[sitk.Transform]:
    """The parts of a composition, also of compositions within it; what acts first comes first."""
    transform = transform.Downcast()
    if isinstance(transform, sitk.CompositeTransform):
        for k in reversed(range(transform.GetNumberOfTransforms())):  # ITK applies the one added last first
            yield from _leaves(transform.GetNthTransform(k))
    else:
        yield transform


def _has_counterpart(leaf: sitk.Transform) -> bool:
    return isinstance(leaf, sitk.DisplacementFieldTransform) or leaf.IsLinear()


def _from_leaf(leaf: sitk.Transform) -> Transform:
    if isinstance(leaf, sitk.DisplacementFieldTransform):
        return field_from_sitk(leaf.GetDisplacementField())
    if isinstance(leaf, sitk.BSplineTransform):
        return _sampled(leaf, _spline_grid(leaf))
    if leaf.IsLinear():
        return _affine_from_sitk(leaf)
    raise InputError(f"A transform of the kind {leaf.GetName()} is not known here; export it as a field.")


def _on_grid(transform: sitk.Transform, leaves: Sequence[sitk.Transform], grid: Grid) -> Transform:
    """T = A(x + v(x)): A all linear parts of T, v sampled on `grid`; exact at its voxel centres, A outside.

    Sampling T itself would leave points outside the grid where they are, far from their neighbours inside.
    """
    sampled = _sampled(transform, grid)
    linear = [_affine_from_sitk(leaf) for leaf in leaves if leaf.IsLinear()]
    v, total = sampled.field, None
    if linear:
        total = as_affine(compose(*linear))
        back = as_affine(total.inverse().transform)
        v = torch.einsum("wk,k...->w...", back.matrix.to(torch.float32), v) + back.displacement(grid)
    bent = [leaf for leaf in leaves if isinstance(leaf, sitk.BSplineTransform)]
    if float(v.abs().max()) < _NOTHING and any(np.abs(b.GetParameters()).max() > _NOTHING for b in bent):
        raise InputError(
            "The B-spline covers nothing of the image it is wanted for; choose the one it was computed for."
        )
    return DisplacementField(v, grid) if total is None else compose(DisplacementField(v, grid), total)


def as_affine(transform: Transform) -> Affine:
    """A transform whose `is_linear` is true, multiplied out."""
    d = transform.dimension
    corners = torch.cat([torch.zeros(1, d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)])
    if isinstance(transform, Affine):
        return transform
    moved = transform.apply(corners).numpy()
    return Affine((moved[1:] - moved[0]).T, moved[0])


def _affine_to_sitk(transform: Affine) -> sitk.AffineTransform:
    out = sitk.AffineTransform(transform.dimension)
    out.SetMatrix(transform.matrix.numpy().ravel().tolist())
    out.SetTranslation(transform.translation.tolist())
    return out


def _affine_from_sitk(transform: sitk.Transform) -> Affine:
    # any linear transform, whatever its parameters and centre are, is known from d + 1 of its points
    d = transform.GetDimension()
    zero = np.array(transform.TransformPoint([0.0] * d))
    columns = [np.array(transform.TransformPoint(unit)) - zero for unit in np.eye(d).tolist()]
    return Affine(np.stack(columns, axis=1), zero)


def _sampled(transform: sitk.Transform, grid: Grid) -> DisplacementField:
    direction = [v for row in grid.direction for v in row]
    image = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat32, grid.size, grid.origin, grid.spacing, direction
    )
    return field_from_sitk(image)


def _spline_grid(transform: sitk.BSplineTransform) -> Grid:
    """The domain of the spline from edge to edge: outside a spline is zero, as a field is."""
    mesh = transform.GetTransformDomainMeshSize()
    size = [min(_MOST_SAMPLES, _SAMPLES_A_CELL * m) for m in mesh]
    extent = transform.GetTransformDomainPhysicalDimensions()
    spacing = [e / n for e, n in zip(extent, size, strict=True)]
    direction = transform.GetTransformDomainDirection()
    corner = Grid(size, spacing, transform.GetTransformDomainOrigin(), direction)
    return Grid(size, spacing, corner.world_from_index([0.5] * len(size)), direction)


def _unreadable(file: Path, error: Exception) -> str:
    if isinstance(error, Damaged):
        return f"The transform file {str(file)!r} is damaged, {error}; copy or export it again."
    unknown = _UNKNOWN_KIND.search(str(error))
    if unknown:
        return (
            f"{str(file)!r} holds a transform of the kind {unknown[1]}, which cannot be read here; load it in Slicer "
            "and export it as a displacement field (.nrrd, .nii.gz, .mha)."
        )
    try:
        start = file.read_bytes()[:4096]
    except OSError:
        start = b""
    if start.lstrip().startswith((b"(Transform", b"//")):
        return (
            f"{str(file)!r} is a parameter file of elastix; have transformix write the deformation field "
            "(-def all) and give that image."
        )
    return (
        f"The transform file {str(file)!r} could not be read ({reason(error)}); give an ITK transform "
        "(.tfm, .txt, .h5, .mat) or a displacement field (.nrrd, .nii.gz, .mha)."
    )
