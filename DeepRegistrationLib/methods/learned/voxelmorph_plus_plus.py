"""VoxelMorph++: heat maps of where keypoints go, a thin plate through them, then instance optimisation.

    T(x) = A(x + u(x)),   u = VoxelMorph++(fixed, moving o A), then refined (methods/network_inference.py)

The network looks at the whole region at once and finds motion of several centimetres in one pass, roughly. The model
that comes with it knows the lungs of breathing chests in CT that were drawn: with a mask of the fixed lungs its
keypoints lie there, and it is better. For other scans train or fine-tune one (`train voxelmorph-plus-plus`), from the
images and from keypoints that a discrete search matches. With the preset for lungs a discrete search goes on from its
answer; where that is worse than none, as may be after an affine alignment that left little, it is left out, and the
search begins with nothing.

Heinrich, Hansen: VoxelMorph++: going beyond the cranial vault with keypoint supervision and multi-channel instance
optimisation, WBIR 2022, doi:10.1007/978-3-031-11203-4_10. Differs from the paper: see
networks/voxelmorph_plus_plus.py; the refinement is that of all networks here.
"""

from __future__ import annotations

from ...networks.footprint import Footprint
from ..network_inference import learned_spec
from ..network_parameters import QUICK_LOOK, SEARCHED_LUNG_CT

#: bytes: 32 channels a few times over at full resolution, 64 at half; it has to see the scans whole
FOOTPRINT = Footprint(bytes_per_voxel=800)

SPEC = learned_spec(
    "voxelmorph-plus-plus",
    title="Learned alignment of large motion (VoxelMorph++)",
    description="A trained network predicts where distinct points go, over distances of centimetres, and the "
    "deformation between them is then refined.",
    paper="Heinrich, Hansen: VoxelMorph++: going beyond the cranial vault with keypoint supervision and "
    "multi-channel instance optimisation",
    doi="10.1007/978-3-031-11203-4_10",
    footprint=FOOTPRINT,
    defaults={"intensity_weight": 1.0, "smoothness": 0.6},
    presets=(SEARCHED_LUNG_CT, QUICK_LOOK),
)
