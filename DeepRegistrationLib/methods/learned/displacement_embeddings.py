"""Displacement embeddings: large motion found at keypoints in one pass, then refined for the pair at hand.

    T(x) = A(x + u(x)),   u = network(fixed, moving o A), then instance optimisation (methods/network_inference.py)

The network compares some 1,500 distinctive points with everything within ten cells (forty millimetres with the model
that comes with it) to every side, so that motion may be as large as that. Where there is a fixed mask the points lie
within it. The model knows synthetic anatomy of random contrast only: it asks for no kind of scan in particular.

Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image registration using
displacement embeddings, MIDL 2020, arXiv:2005.13338. Differs from the paper: see networks/displacement_embeddings.py
and training/displacement_embeddings.py; the answer is refined.
"""

from __future__ import annotations

from ...networks.footprint import Footprint
from ..network_inference import learned_spec
from ..network_parameters import KEPT_LUNG_CT, QUICK_LOOK

#: bytes: the feature network's first layers at full resolution, measured; keypoints lie anywhere, so it sees all
FOOTPRINT = Footprint(bytes_per_voxel=170)

SPEC = learned_spec(
    "displacement-embeddings",
    title="Learned alignment of large motion (displacement embeddings)",
    description="A trained network compares distinctive points with all their surroundings at once and finds large "
    "motion, such as breathing, in a single pass.",
    paper="Hansen, Heinrich: Tackling the problem of large deformations in deep learning based medical image "
    "registration using displacement embeddings",
    doi="10.48550/arXiv.2005.13338",
    footprint=FOOTPRINT,
    presets=(KEPT_LUNG_CT, QUICK_LOOK),
)
