"""Points that a network matched reach the result: where, in which frames, and after the result was written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.io.weights import write_model
from DeepRegistrationLib.jobs import ResultFolder
from DeepRegistrationLib.jobs.perform import save
from DeepRegistrationLib.methods import network_start
from DeepRegistrationLib.methods.network_inference import learned_spec
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.footprint import Footprint
from DeepRegistrationLib.ops.smoothing import gaussian_smooth
from DeepRegistrationLib.transforms import Affine

#: networks of random weights, and what their cards say of them
NETWORKS: dict[str, dict[str, Any]] = {
    "voxelmorph-plus-plus": {
        "reach": [8.0, 8.0, 8.0], "keypoints": 80, "encoder": [4, 6, 6, 6, 8],
        "decoder": [[8, 8], [8, 6], [8, 8]], "heat_map": [4, 6, 6, 6, 6, 4, 1],
    },
    "displacement-embeddings": {
        "channels": [4, 8, 8, 8], "half_width": 4, "components": 50, "stored": 50, "keypoints": 80, "smoothing": 0.1,
    },
    "lapirn": {"channels": 4, "levels": 2},
}  # fmt: skip
MATCHING = ("voxelmorph-plus-plus", "displacement-embeddings")

TURN = np.array([[0.0, -1.0, 0.0], [0.8, 0.0, 0.6], [-0.6, 0.0, 0.8]])
#: no multiples of what the networks want, stored lying on its side
FIXED = Grid((37, 45, 42), (3.0, 3.0, 3.0), (-40.0, 30.0, 7.0), TURN)


def texture(grid: Grid) -> Image:
    data = gaussian_smooth(torch.randn(1, *grid.shape, generator=torch.Generator().manual_seed(4)), 1.5)
    return Image(100 * data / data.std(), grid)


#: where the pre-alignment takes the fixed scan
A = Affine(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), [15.0, -4.0, 60.0])


def problem() -> RegistrationProblem:
    fixed = texture(FIXED)
    corners = A.apply(torch.as_tensor(FIXED.corners)).numpy()
    low, high = corners.min(axis=0) - 6, corners.max(axis=0) + 6
    moving = Grid([int(n) for n in np.ceil((high - low) / 2.5)], (2.5,) * 3, low)
    return RegistrationProblem(fixed, fixed.resampled(moving, A.inverse().transform), initial_transform=A)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RegistrationResult]:
    from DeepRegistrationLib.io import model_cards

    monkeypatch.setenv(model_cards.ENVIRONMENT, str(tmp_path / "models"))
    monkeypatch.setattr(model_cards, "shipped_folder", lambda: tmp_path / "shipped")

    def registered(architecture: str, given: RegistrationProblem | None = None, **values: Any) -> RegistrationResult:
        torch.manual_seed(2)
        network = build(architecture, NETWORKS[architecture])
        for name, parameter in network.named_parameters():
            if architecture == "voxelmorph-plus-plus" and name.startswith("head.layers") and parameter.dim() > 1:
                parameter.data *= 5  # heat maps that are not flat
        card = {
            "id": architecture, "title": "Random", "architecture": architecture, "results": {},
            "settings": {
                "network": NETWORKS[architecture],
                "working": {"spacing": 3.0, "low": -300.0, "high": 300.0, "multiple": 16},
            },
            "training": {"command": "python x.py", "data": "none", "seed": 0, "steps": 0},
        }  # fmt: skip
        write_model(tmp_path / "models" / architecture, network.state_dict(), card)
        spec = learned_spec(
            architecture, title="T", description="D.", paper="None", doi="", footprint=Footprint(100)
        )
        values = {"initialisation": "given", "coarse_iterations": 3, "iterations": 3, **values}
        return register_problem(given or problem(), spec, values=values, context=Context(torch.device("cpu")))

    return registered


@pytest.mark.parametrize("architecture", MATCHING)
def test_points_lie_in_the_frames_of_the_scans(architecture: str, run: Any, tmp_path: Path) -> None:
    """The network's own answer takes each fixed point to its partner: A and the stored axes are in both."""
    result = run(architecture, refine=False)
    fixed, moving = (result.points[f"{side}_correspondences"].points for side in ("fixed", "moving"))
    assert 30 < len(fixed) == len(moving) <= 80
    index = FIXED.index_from_world(fixed.numpy())
    assert (index > -0.5).all() and (index < np.array(FIXED.size) - 0.5).all(), "none lies in the padding"
    off = (result.transform.apply(fixed) - moving).norm(dim=1)
    moved = (A.apply(fixed) - moving).norm(dim=1)
    assert float(moved.median()) > 1.0 and float(off.median()) < 0.25 * float(moved.median())
    # and after it was written down
    save(result, tmp_path / "saved")
    back = ResultFolder(tmp_path / "saved").result()
    for side, points in (("fixed", fixed), ("moving", moving)):
        assert torch.allclose(back.points[f"{side}_correspondences"].points, points, atol=1e-5)


def test_refinement_leaves_the_points_as_they_were(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run("displacement-embeddings", refine=False)
    assert run("displacement-embeddings").points == {}, "what is worse than none is left out, and its points with it"
    monkeypatch.setattr(network_start, "_WORSE", 1e9)
    refined = run("displacement-embeddings")
    for name, points in alone.points.items():
        assert torch.equal(refined.points[name].points, points.points)
    assert "before the refinement" in " ".join(refined.provenance.messages) and not alone.provenance.messages
    x = alone.points["fixed_correspondences"].points
    assert float((refined.transform.apply(x) - alone.transform.apply(x)).norm(dim=1).max()) > 0.01


def test_points_lie_where_the_mask_is(run: Any) -> None:
    given = problem()
    inside = torch.zeros(FIXED.shape, dtype=torch.uint8)
    inside[10:30, 10:30, 10:30] = 1
    result = run("voxelmorph-plus-plus", replace(given, fixed_mask=Image(inside[None], FIXED)), refine=False)
    index = FIXED.index_from_world(result.points["fixed_correspondences"].points.numpy())
    assert len(index) > 5 and (index > 8).all() and (index < 31).all()


def test_a_dense_network_gives_none(run: Any) -> None:
    assert run("lapirn", refine=False).points == {}


def test_there_are_none_where_nothing_can_be_matched(run: Any) -> None:
    given = problem()
    mask = torch.zeros(FIXED.shape, dtype=torch.uint8)
    mask[20, 20, 20] = 1
    result = run("voxelmorph-plus-plus", replace(given, fixed_mask=Image(mask[None], FIXED)), refine=False)
    assert result.points == {}


@pytest.mark.parametrize("architecture", MATCHING)
def test_a_network_that_takes_long_besides_its_layers_can_be_cancelled_there(architecture: str) -> None:
    from DeepRegistrationLib.networks.catalogue import TickingNetwork
    from DeepRegistrationLib.networks.inference import predict

    network = build(architecture, NETWORKS[architecture])
    assert isinstance(network, TickingNetwork)
    scan = texture(Grid((32, 32, 32), (1.0, 1.0, 1.0))).data[0]
    before = network.tick
    told: list[float] = []
    layers = sum(1 for m in network.modules() if not any(True for _ in m.children()))
    predict(network, scan, scan, None, multiple=16, report=told.append)
    assert told == sorted(told) and len(told) > layers + 20 and network.tick is before
    stop = Progress(cancelled=lambda: True)
    with pytest.raises(Cancelled):
        predict(network, scan, scan, None, multiple=16, report=stop.update)
    assert network.tick is before
