"""Which way a transform works, measured at the node and put into words; names are not trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..core.errors import InputError
from .places import Place, place_of
from .volumes import image_matrix, oriented_image

#: points along each axis of the fixed volume that are looked at
LATTICE = 9
#: smaller movements are called none, mm
STILL_MM = 1e-3


class Aligned(Protocol):
    """What a transform is about. `use_inverse`: the node maps the other way round, its inverse is meant."""

    @property
    def transform(self) -> slicer.vtkMRMLTransformNode: ...

    @property
    def fixed(self) -> slicer.vtkMRMLVolumeNode: ...

    @property
    def moving(self) -> slicer.vtkMRMLVolumeNode: ...

    @property
    def use_inverse(self) -> bool: ...


@dataclass(frozen=True)
class Movement:
    """How the transform moves the tissue of moving, at points spread over fixed (RAS mm, N x 3).

    places  points of the fixed volume
    origins where their partners lie in moving before the transform acts
    inside  (N) whether that is within the moving volume
    """

    places: NDArray[np.float64]
    origins: NDArray[np.float64]
    inside: NDArray[np.bool_]

    @property
    def steps(self) -> NDArray[np.float64]:
        """(M, 3) from where moving tissue lies to where it goes, mm; of all places where none has tissue."""
        chosen = self.inside if self.inside.any() else np.ones_like(self.inside)
        return (self.places - self.origins)[chosen]


def movement(nodes: Aligned, points: int = LATTICE) -> Movement:
    """Look at `points`^3 places of the fixed volume. Raises InputError where the transform gives no finite places."""
    places = lattice(nodes.fixed, points)
    origins = through(partner_map(nodes), places)
    if not np.isfinite(origins).all():
        raise InputError(
            f"The transform {nodes.transform.GetName()!r} maps points to nowhere; load it again or choose another one."
        )
    return Movement(places, origins, is_inside(nodes.moving, origins, place_of(nodes.moving, nodes.transform)))


def partner_map(nodes: Aligned) -> vtk.vtkGeneralTransform:
    """Fixed points to moving points: *from* world of the node, with all its parents, or *to* world."""
    found = vtk.vtkGeneralTransform()
    if nodes.use_inverse:
        nodes.transform.GetTransformToWorld(found)
    else:
        nodes.transform.GetTransformFromWorld(found)
    return found


def lattice(volume: slicer.vtkMRMLVolumeNode, points: int) -> NDArray[np.float64]:
    """(N, 3) places in the world spread evenly over the inner part of the volume."""
    image = oriented_image(volume)
    size = np.array(image.GetDimensions())
    axes = [(np.arange(points) + 0.5) / points * n - 0.5 if n > 1 else np.zeros(1) for n in size]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    m = image_matrix(image)
    return place_of(volume).to_world(index @ m[:3, :3].T + m[:3, 3])


def through(transform: vtk.vtkAbstractTransform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) `points` mapped by `transform`."""
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetDataTypeToDouble()
    after.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    transform.TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).copy()


def is_inside(
    volume: slicer.vtkMRMLVolumeNode, points: NDArray[np.float64], place: Place | None = None
) -> NDArray[np.bool_]:
    """(N) whether world points lie within the volume, where it lies or where `place` puts it."""
    place = place or place_of(volume)
    image = oriented_image(volume)
    if place.matrix is not None:
        own = points @ np.linalg.inv(place.matrix)[:3, :3].T + np.linalg.inv(place.matrix)[:3, 3]
    else:
        own = through(place.transform.GetInverse(), points)
    inverse = np.linalg.inv(image_matrix(image))
    index = own @ inverse[:3, :3].T + inverse[:3, 3]
    inside = (index >= -0.5) & (index <= np.array(image.GetDimensions()) - 0.5)
    return np.asarray(inside.all(axis=1))


# ---------------------------------------------------------------------- in words

_TOWARDS = (
    ("towards the left (R to L)", "towards the right (L to R)"),
    ("towards the back (A to P)", "towards the front (P to A)"),
    ("towards the feet (S to I)", "towards the head (I to S)"),
)
# the mean movement is a direction of all where it is this part of the mean distance
_COMMON = 0.5
_FEW_PARTNERS = 0.5


def direction_words(nodes: Aligned) -> str:
    """Which way the transform works, how far and where to, measured at the node. Two or three sentences.

    Raises InputError where the transform gives no finite places.
    """
    fixed, moving = nodes.fixed.GetName(), nodes.moving.GetName()
    found = movement(nodes)
    if nodes.use_inverse:
        start = (
            f"Read the other way round, looks up each point of {fixed} at its partner in {moving}; put on {fixed}, it"
        )
        steps, what, onto = -found.steps, fixed, moving
    else:
        start = f"Looks up each point of {fixed} at its partner in {moving}; put on {moving}, it"
        steps, what, onto = found.steps, moving, fixed
    lengths = np.linalg.norm(steps, axis=1)
    if lengths.max() < STILL_MM:
        return f"{start} moves nothing: every point stays where it is."
    words = (
        f"{start} moves {what} onto {onto} by {lengths.mean():.1f} mm on average (up to {lengths.max():.1f} mm), "
        f"{_where_to(steps)}."
    )
    return words + _warning(nodes, found)


def _where_to(steps: NDArray[np.float64]) -> str:
    mean, distance = steps.mean(axis=0), float(np.linalg.norm(steps, axis=1).mean())
    axis = int(np.abs(mean).argmax())
    if np.linalg.norm(mean) < _COMMON * distance:
        return "in no common direction"
    return f"mostly {_TOWARDS[axis][int(mean[axis] > 0)]}"


def _warning(nodes: Aligned, found: Movement) -> str:
    """Words where hardly a fixed point finds a partner, and whether the other way round would."""
    share = found.inside.mean()
    if share >= _FEW_PARTNERS:
        return ""
    back = vtk.vtkGeneralTransform()
    if nodes.use_inverse:
        nodes.transform.GetTransformFromWorld(back)
    else:
        nodes.transform.GetTransformToWorld(back)
    other = is_inside(nodes.moving, through(back, found.places), place_of(nodes.moving, nodes.transform)).mean()
    words = f" Only {share:.0%} of {nodes.fixed.GetName()} finds a partner inside {nodes.moving.GetName()}"
    if other > share + 0.3:
        return f"{words}; the other way round it would be {other:.0%}, so the transform may be meant the other way."
    return f"{words}."
