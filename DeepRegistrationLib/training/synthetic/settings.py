"""What is drawn: anatomy, motion and looks of synthetic pairs."""

from __future__ import annotations

from dataclasses import dataclass

FAMILIES: tuple[str, ...] = ("shapes", "tubes", "organs", "lungs", "heads")
MOTIONS: tuple[str, ...] = ("none", "smooth", "diffeomorphic", "breathing", "points")
LINEAR: tuple[str, ...] = ("none", "rigid", "affine", "aligned")
CONTRASTS: tuple[str, ...] = ("typical", "same", "different")
LESIONS: tuple[str, ...] = ("none", "fixed", "moving", "either")

#: two numbers a value is drawn uniformly between
Between = tuple[float, float]


@dataclass(frozen=True)
class SyntheticSettings:
    """Where several are named, each pair gets one of them at random; `Between` is drawn uniformly for each pair.

    families    what is shown: "shapes" (blobs), "tubes", "organs" (abdomen), "lungs" (chest), "heads"
    size        voxels along x, y[, z];  spacing  mm, of an isotropic grid
    motions     the deformation, fixed to moving:
                "none"; "smooth": random B-spline, which may fold where it is larger than smooth;
                "diffeomorphic": flow of one, never folds; "breathing": a flow along the body that slides along the
                wall of the chest or belly (of a random ellipsoid where there is none), over a small diffeomorphic one;
                "points": random vectors at random points, smoothed by a Gaussian (see `frequencies`)
    amplitude   mm, the largest displacement of the deformation ("points": its largest component)
    smoothness  mm between the knots of the random B-spline
    frequencies of "points": (standard deviation of the Gaussian mm, number of points), one drawn for each pair
    linear      rigid or affine motion on top of the deformation: up to `rotation` degrees about each axis,
                `translation` mm along each, `scaling` relative change along each; "aligned": what an affine alignment
                leaves of the deformation, as networks see it behind one
    variation   mm, largest component of a low-frequency deformation of the moving anatomy itself (it is no part of
                the truth): no two moving images are alike
    view        share of the anatomy along each axis that is in the field of view, anywhere in it
    contrast    "typical": intensities as such an anatomy has in CT or MR, both images alike; "same": random, both
                alike; "different": random for each image
    texture     contrast of the texture inside of tissues, shared by both images;  grain  voxels between its knots
    bias        strength of the smooth multiplicative field of each image: exp(+-bias)
    blur        voxels, standard deviation;  noise  standard deviation, intensities being 0..1
    thickness   slice thickness over spacing along a random axis
    window      how far from 0 and 1 the displayed range may end
    lesion      which image shows a lesion that the other one lacks; "either": one of the two
    lesion_radius  mm
    points      number of keypoints
    labels      whether segments are given (`Batch.fixed_labels`)
    """

    families: tuple[str, ...] = FAMILIES
    size: tuple[int, ...] = (64, 64, 64)
    spacing: float = 2.0
    motions: tuple[str, ...] = ("diffeomorphic",)
    amplitude: Between = (2.0, 12.0)
    smoothness: Between = (16.0, 32.0)
    frequencies: tuple[tuple[float, int], ...] = ((35.0, 80), (25.0, 100), (20.0, 100))
    linear: tuple[str, ...] = ("none",)
    rotation: float = 10.0
    translation: float = 10.0
    scaling: float = 0.1
    variation: Between = (0.0, 0.0)
    view: Between = (1.0, 1.0)
    contrast: str = "same"
    texture: Between = (0.02, 0.08)
    grain: Between = (2.5, 6.0)
    bias: Between = (0.0, 0.2)
    blur: Between = (0.3, 0.8)
    noise: Between = (0.0, 0.05)
    thickness: Between = (1.0, 2.5)
    window: float = 0.05
    lesion: str = "none"
    lesion_radius: Between = (4.0, 12.0)
    points: int = 64
    labels: bool = True

    def __post_init__(self) -> None:
        known = {"families": FAMILIES, "motions": MOTIONS, "linear": LINEAR}
        for name, choices in known.items():
            given = getattr(self, name)
            if not given or not set(given) <= set(choices):
                raise ValueError(f"{name}={given!r}: give some of {', '.join(choices)}")
        for name, choices in {"contrast": CONTRASTS, "lesion": LESIONS}.items():
            given = getattr(self, name)
            if given not in choices:
                raise ValueError(f"{name}={given!r}: give one of {', '.join(choices)}")
        if len(self.size) not in (2, 3) or min(self.size) < 16:
            raise ValueError(f"size={self.size!r}: give two or three numbers of at least 16 voxels")

    @property
    def shape(self) -> tuple[int, ...]:
        """[Z,] Y, X."""
        return tuple(reversed(self.size))
