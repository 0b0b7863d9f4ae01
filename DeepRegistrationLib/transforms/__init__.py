"""Concrete transforms, all mapping fixed-space LPS mm to moving-space LPS mm."""

from .affine import Affine
from .compose import compose
from .composition import Composition
from .displacement import DisplacementField
from .velocity import VelocityField

__all__ = ["Affine", "Composition", "DisplacementField", "VelocityField", "compose"]
