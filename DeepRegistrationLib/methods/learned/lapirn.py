"""LapIRN: a Laplacian pyramid of networks, trained with segmentations of organs, then refined for the pair at hand.

    T(x) = A(x + u(x)),   u = LapIRN(fixed, moving o A), then instance optimisation (methods/network_inference.py)

Segmentations teach the network which structures belong together; to align two scans it needs none. The model that
comes with it knows CTs of head and neck; for other scans train or fine-tune one (`train lapirn`).

Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks, 2021,
doi:10.1007/978-3-030-71827-5_7. Differs from the paper: see networks/lapirn.py and training/lapirn.py; the answer is
refined.
"""

from __future__ import annotations

from ...core.spec import Preset
from ...networks.footprint import Footprint
from ..network_inference import learned_spec
from ..network_parameters import QUICK_LOOK

#: bytes: 28 channels (those of the published weights) five times over and the scans, measured; margin: convolutions of
#: all three levels one after the other
FOOTPRINT = Footprint(bytes_per_voxel=700, margin=192)

SPEC = learned_spec(
    "lapirn",
    title="Learned deformable alignment (LapIRN)",
    description="A trained network that has seen which organs belong together finds the deformation; no segmentations "
    "are needed to use it.",
    paper="Mok, Chung: Large deformation image registration with anatomy-aware Laplacian pyramid networks",
    doi="10.1007/978-3-030-71827-5_7",
    footprint=FOOTPRINT,
    defaults={"intensity_weight": 1.0, "smoothness": 0.6},
    presets=(
        Preset(
            "head-neck-ct",
            "Head and neck (CT)",
            {
                "spacing": 3.0,
                "intensity_minimum": -200.0,
                "intensity_maximum": 300.0,
                "smoothness": 0.6,
                "intensity_weight": 1.0,
                "keep_answer": True,
                "iterations": 40,
                "coarse_iterations": 0,
            },
        ),
        QUICK_LOOK,
    ),
)
