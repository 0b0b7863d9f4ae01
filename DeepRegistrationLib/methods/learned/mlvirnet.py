"""mlVIRNET: a multilevel network for large motion such as breathing, followed by instance optimisation.

See networks/mlvirnet.py for the network, methods/network_inference.py for how it is run.
"""

from __future__ import annotations

from ...networks.footprint import Footprint
from ..network_inference import learned_spec
from ..network_parameters import NETWORK_LUNG_CT, QUICK_LOOK

SPEC = learned_spec(
    "mlvirnet",
    title="Learned, level by level (mlVIRNET)",
    description="A network for large motion such as breathing: coarse motion first, each finer level corrects it.",
    paper="Hering, van Ginneken, Heldmann: mlVIRNET: Multilevel variational image registration network, MICCAI 2019",
    doi="10.1007/978-3-030-32226-7_29",
    # measured: 71 bytes a voxel at 128^3; the coarsest level's reach is larger than the margin, but adds little there
    footprint=Footprint(bytes_per_voxel=100, margin=48),
    defaults={"intensity_weight": 1.0, "smoothness": 0.6},
    presets=(NETWORK_LUNG_CT, QUICK_LOOK),
)
