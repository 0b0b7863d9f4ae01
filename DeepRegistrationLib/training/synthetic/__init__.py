"""Synthetic anatomy: pairs of images drawn on the fly, with a map between them that is known exactly.

    pairs = SyntheticPairs(SyntheticSettings(size=(64, 64, 64), contrast="different"))
    batch = pairs.sample(torch.Generator().manual_seed(7), torch.device("cpu"))      fixed(x) ~ moving(x + u(x))

Random numbers come from the generator, on the CPU, alone: one seed gives the same pair on every device.
"""

from .boxes import bounding_boxes
from .pairs import SyntheticPairs
from .settings import SyntheticSettings

__all__ = ["SyntheticPairs", "SyntheticSettings", "bounding_boxes"]
