"""Seeded analytic phantoms with exactly known maps: fixed(x) = anatomy(x), moving(y) = anatomy(T^-1(y)).

    case = phantoms.thorax(seed=1, motion_mm=20)
    case.problem             RegistrationProblem with labels, landmarks and mask
    case.true_transform      T, fixed to moving; landmarks are exact, the inverse is solved to 0.001 mm

Any grids will do: oblique, left-handed, anisotropic, off-origin. Anatomy is of life size
and sits in the middle of the fixed grid, upright in LPS; `placement` sets the moving patient elsewhere.
"""

from .abdomen import abdomen
from .brain import brain
from .case import PhantomCase
from .motion import Motion, random_bumps
from .thorax import thorax
from .tori import tori

__all__ = ["Motion", "PhantomCase", "abdomen", "brain", "random_bumps", "thorax", "tori"]
