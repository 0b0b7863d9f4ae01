"""Driver of one peer on one pair, run in that peer's environment: ``python -m bench.peers --tool elastix``.

Writes ``field.nrrd`` (displacement, LPS mm, fixed to moving, on the fixed grid) and ``record.json`` (cost and
versions). Packages are imported and images loaded before the clock starts; turning the answer into a field
comes after it stops. Every tool runs with the defaults its package ships.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from . import measure


class Peer(Protocol):
    packages: tuple[str, ...]

    def prepare(self, fixed: Path, moving: Path) -> None:
        """Import the tool and load the images."""

    def register(self) -> None:
        """The call that is timed."""

    def field(self) -> Any:
        """The answer as a SimpleITK displacement field."""


def _load(path: Path) -> Any:
    import SimpleITK as sitk

    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def _lowest(image: Any) -> float:
    import SimpleITK as sitk

    return float(sitk.GetArrayViewFromImage(image).min())


def _vectors(array: Any, like: Any) -> Any:
    """A SimpleITK vector image on the grid of like from an array (z, y, x, 3)."""
    import numpy as np
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float64), isVector=True)
    image.CopyInformation(like)
    return image


class Elastix:
    """itk-elastix with its default parameter maps: affine then B-spline, or rigid alone."""

    packages: tuple[str, ...] = ("itk-elastix", "itk-core")

    def __init__(self, rigid: bool, seed: int) -> None:
        self.stages = ("rigid",) if rigid else ("affine", "bspline")
        self.seed = seed

    def prepare(self, fixed: Path, moving: Path) -> None:
        import itk

        self.itk = itk
        self.like = _load(fixed)
        self.fixed, self.moving = itk.imread(str(fixed), itk.F), itk.imread(str(moving), itk.F)
        self.maps = itk.ParameterObject.New()
        for stage in self.stages:
            values = self.maps.GetDefaultParameterMap(stage)
            values["RandomSeed"] = (str(self.seed or 121212),)
            self.maps.AddParameterMap(values)

    def register(self) -> None:
        # the thread count comes from the environment: passing number_of_threads makes the default
        # B-spline map end in a segmentation fault in the releases this was written with
        _, self.answer = self.itk.elastix_registration_method(
            self.fixed, self.moving, parameter_object=self.maps, log_to_console=False
        )

    def field(self) -> Any:
        field = self.itk.transformix_deformation_field(self.moving, self.answer)
        return _vectors(self.itk.array_from_image(field), self.like)


class Ants:
    """antspyx with the defaults of ``registration``: SyN (affine, then mutual information), or Rigid."""

    packages: tuple[str, ...] = ("antspyx",)

    def __init__(self, rigid: bool, seed: int) -> None:
        self.kind = "Rigid" if rigid else "SyN"
        self.seed = seed or 1  # 0 means "take the clock" there

    def prepare(self, fixed: Path, moving: Path) -> None:
        import ants

        self.ants = ants
        self.fixed, self.moving = ants.image_read(str(fixed)), ants.image_read(str(moving))
        self.folder = tempfile.TemporaryDirectory()

    def register(self) -> None:
        prefix = os.path.join(self.folder.name, "stage")
        self.answer = self.ants.registration(
            self.fixed, self.moving, type_of_transform=self.kind, random_seed=self.seed, outprefix=prefix
        )

    def field(self) -> Any:
        import SimpleITK as sitk

        composed = self.ants.apply_transforms(
            self.fixed,
            self.moving,
            self.answer["fwdtransforms"],
            compose=os.path.join(self.folder.name, "composed"),
        )
        return sitk.Cast(sitk.ReadImage(composed), sitk.sitkVectorFloat64)


class ConvexAdam:
    """convexAdam's MIND registration with the package's defaults; moving is brought to the fixed grid first.

    With affine=True an affine alignment by mutual information (SimpleITK) comes first, inside the clock: the
    tool has no linear stage of its own, and some pairs are out of its reach without one.
    """

    packages: tuple[str, ...] = ("convexAdam", "torch")

    def __init__(self, affine: bool, threads: int, seed: int) -> None:
        self.affine, self.threads, self.seed = affine, threads, seed

    def prepare(self, fixed: Path, moving: Path) -> None:
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt

        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        self.torch, self.call = torch, convex_adam_pt
        self.fixed, self.moving = _load(fixed), _load(moving)

    def register(self) -> None:
        import SimpleITK as sitk

        self.linear = self._align() if self.affine else sitk.Transform(3, sitk.sitkIdentity)
        moving = sitk.Resample(self.moving, self.fixed, self.linear, sitk.sitkLinear, _lowest(self.moving))
        arrays = [self.torch.from_numpy(sitk.GetArrayFromImage(image)) for image in (self.fixed, moving)]
        self.voxels = self.call(*arrays, device=self.torch.device("cpu"))

    def _align(self) -> Any:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(50)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(0.1, self.seed or 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsGradientDescent(1.0, 200, 1e-6, 10)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2.0, 1.0, 0.0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(self._best_start(method), inPlace=False)
        return method.Execute(self.fixed, self.moving)

    def _best_start(self, method: Any) -> Any:
        """Best by the metric: headers as they are, volume centres together, or centres of mass together."""
        import SimpleITK as sitk

        ways = sitk.CenteredTransformInitializerFilter
        starts = [
            sitk.AffineTransform(
                sitk.CenteredTransformInitializer(self.fixed, self.moving, sitk.AffineTransform(3), way)
            )
            for way in (ways.GEOMETRY, ways.GEOMETRY, ways.MOMENTS)
        ]
        starts[0].SetTranslation((0.0, 0.0, 0.0))
        values = []
        for start in starts:
            method.SetInitialTransform(start, inPlace=False)
            try:
                values.append(method.MetricEvaluate(self.fixed, self.moving))
            except RuntimeError:  # no overlap of the two fields of view
                values.append(float("inf"))
        return starts[values.index(min(values))]

    def field(self) -> Any:
        import numpy as np
        import SimpleITK as sitk

        # the tool answers in voxels along the array axes z, y, x of the fixed image
        direction = np.asarray(self.fixed.GetDirection()).reshape(3, 3) * np.asarray(self.fixed.GetSpacing())
        residual = np.asarray(self.voxels, dtype=np.float64)[..., ::-1] @ direction.T
        if not np.isfinite(residual).all():
            # happens where the moved image is constant; ITK would quietly turn it into the identity
            raise SystemExit("convexAdam answered with displacements that are not finite.")
        warp = sitk.DisplacementFieldTransform(_vectors(residual, self.fixed))
        # of a composite the transform added last is applied first
        whole = sitk.CompositeTransform([self.linear, warp])
        return sitk.TransformToDisplacementField(
            whole,
            sitk.sitkVectorFloat64,
            self.fixed.GetSize(),
            self.fixed.GetOrigin(),
            self.fixed.GetSpacing(),
            self.fixed.GetDirection(),
        )


def make(tool: str, rigid: bool, threads: int, seed: int) -> Peer:
    if tool == "elastix":
        return Elastix(rigid, seed)
    if tool == "antspyx":
        return Ants(rigid, seed)
    if tool in {"convexadam", "affine+convexadam"} and not rigid:
        return ConvexAdam(tool.startswith("affine+"), threads, seed)
    raise SystemExit(f"'{tool}' has no {'rigid' if rigid else 'deformable'} run here.")


def main() -> int:
    parser = measure.driver_arguments(__doc__ or "")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--rigid", action="store_true")
    args = parser.parse_args()
    measure.pin(args.threads)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    peer = make(args.tool, args.rigid, args.threads, args.seed)
    peer.prepare(args.fixed, args.moving)
    cost = measure.timed(peer.register)
    sitk.WriteImage(sitk.Cast(peer.field(), sitk.sitkVectorFloat32), str(args.out / "field.nrrd"))
    packages: tuple[str, ...] = ("numpy", "SimpleITK", *peer.packages)
    versions = {name: importlib.metadata.version(name) for name in packages}
    measure.write_record(args.out, {**cost, "versions": versions, "transform": "field.nrrd"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
