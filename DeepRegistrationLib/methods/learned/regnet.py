"""RegNet: small displacements regressed from patches of two sizes, then refined for the pair at hand.

    T(x) = A(x + u(x)),   u = RegNet(fixed, moving o A), then instance optimisation (methods/network_inference.py)

It was trained with displacements of up to 8 mm along each axis and knows no larger ones: what the pre-alignment A
leaves should be within that. Nothing of it is a measure of likeness; the images themselves tell how far they are off.

Sokooti et al.: Nonrigid image registration using multi-scale 3D convolutional neural networks, MICCAI 2017,
doi:10.1007/978-3-319-66182-7_27. Differs from the paper: see networks/regnet.py and training/regnet.py; the answer is
refined.
"""

from __future__ import annotations

from ...networks.footprint import Footprint
from ..network_inference import learned_spec
from ..network_parameters import NETWORK_LUNG_CT, QUICK_LOOK

#: bytes: the layers of the padded small patches, measured; margin: the larger patch
FOOTPRINT = Footprint(bytes_per_voxel=1800, margin=28)

SPEC = learned_spec(
    "regnet",
    title="Learned deformable alignment of patches (RegNet)",
    description="A network trained with known deformations reads displacements of up to 8 mm off small and large "
    "patches of both scans.",
    paper="Sokooti et al.: Nonrigid image registration using multi-scale 3D convolutional neural networks, MICCAI 2017",
    doi="10.1007/978-3-319-66182-7_27",
    footprint=FOOTPRINT,
    defaults={"intensity_weight": 1.0, "smoothness": 0.6},
    presets=(NETWORK_LUNG_CT, QUICK_LOOK),
)
