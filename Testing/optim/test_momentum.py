"""From level to level in the search of a momentum."""

from __future__ import annotations

import pytest
import torch

from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.optim import metamorphosis
from DeepRegistrationLib.optim.metamorphosis import Level, MomentumProblem, Settings, optimise


def test_a_start_that_folds_the_finer_grid_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = Grid((24, 20), (2.0, 2.0))
    levels = []
    for grid in (fine.with_size((12, 10)), fine):
        apart = (grid.world_points() - torch.as_tensor(fine.centre)).norm(dim=-1)
        source = torch.exp(-0.5 * (apart.float() / 8) ** 2)
        levels.append(Level(grid, source, source.roll(2, 0)))
    settings = Settings((8.0,), regularity=1e-3, steps=4, iterations=0)
    tilted = 400 * levels[1].source * fine.index_points()[..., 0].float() / 24
    problem = MomentumProblem(levels[1], settings)
    assert problem.objective(tilted / problem.scaling)[0] == float("inf")
    monkeypatch.setattr(metamorphosis, "_carried", lambda *_: tilted)
    outcome = optimise(levels, settings, Progress())
    assert outcome.course().backward[-1].isfinite().all()
    share = outcome.momentum / tilted
    assert 0 < float(share[10, 12]) < 1 and torch.allclose(share[5:15, 5:15], share[10, 12])
