"""Disagreement of perturbed runs: where it is large, that it repeats, what it claims and what it perturbs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled, InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.core.spec import Choice, MethodSpec, Range, Unit
from DeepRegistrationLib.methods import ensemble, registry
from DeepRegistrationLib.methods.ensemble import uncertainty_by_disagreement
from DeepRegistrationLib.ops.smoothing import gaussian_smooth
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.tiny import blob, make_spec

CPU = torch.device("cpu")


def estimate(problem, spec, *, values=None, seed=0, members=3, strength=1.0, context=None):
    return uncertainty_by_disagreement(
        problem,
        spec,
        preset=None,
        values=values,
        context=context or Context(CPU, seed=seed),
        members=members,
        strength=strength,
    )


@pytest.fixture
def problem():
    return RegistrationProblem(blob((10.0, 20.0, 12.0)), blob((12.0, 23.0, 12.0)))


# ---------------------------------------------------------------------- what it measures


def test_larger_where_nothing_shows_than_where_there_is_structure() -> None:
    """A texture fills the left half; the right half is flat but for noise. The method is the real one."""
    grid = Grid((96, 64), (1.5, 1.5), (20.0, -30.0), [[0.8, -0.6], [0.6, 0.8]])
    noise = torch.Generator().manual_seed(5)
    texture = gaussian_smooth(torch.randn(1, *grid.shape, generator=noise), 2.0) * 400
    texture[..., 48:] = 0

    def scan(shift: int) -> Image:
        # the anatomy moves by whole voxels along the second axis
        moved = torch.roll(texture, shift, dims=1)
        return Image(moved + 2.0 * torch.randn(moved.shape, generator=noise), grid)

    pair = RegistrationProblem(scan(0), scan(2))
    settings = {"initialisation": "none", "iterations": 20, "coarse_iterations": 15}
    context = Context(CPU, seed=3)
    found = estimate(pair, registry()["convex-adam"], values=settings, members=4, context=context)
    assert found.grid == grid and found.unit == "mm" and found.channels == 1
    structure, flat = found.data[0, 8:-8, 8:40], found.data[0, 8:-8, 56:-8]
    assert float(flat.mean()) > 2 * float(structure.mean())
    assert float(structure.mean()) < 0.75  # half a voxel
    (said,) = [m for m in context.messages if "disagreement" in m]
    assert "not a probability" in said and "4 perturbed runs" in said


def test_equals_the_formula(problem) -> None:
    """sqrt(mean_k |T_k - mean T|^2) of known answers, whatever their number."""
    grid = problem.fixed.grid
    rng = np.random.default_rng(0)
    answers = torch.from_numpy(rng.normal(size=(5, 3, *grid.shape))).float() * 3
    left = iter(answers)

    def method(working, parameters, context):
        return RegistrationResult(working, DisplacementField(next(left), grid))

    found = estimate(problem, make_spec(run=method), members=5).data[0]
    u = answers.double().numpy()
    expected = np.sqrt(((u - u.mean(axis=0)) ** 2).sum(axis=1).mean(axis=0))
    assert np.abs(found.numpy() - expected).max() < 1e-5


def test_runs_that_agree_are_certain_to_the_map_and_it_says_what_it_is(problem) -> None:
    """Agreement is not correctness: a method that is always wrong has a map of zeros, and the note says so."""

    def wrong(working, parameters, context):
        return RegistrationResult(working, Affine.from_translation([80.0, 0.0, 0.0]))

    context = Context(CPU)
    found = estimate(problem, make_spec(run=wrong), context=context)
    assert float(found.data.abs().max()) < 1e-4
    said = " ".join(context.messages)
    assert "not a probability" in said and "cannot see an error that all runs share" in said
    assert ensemble.note(3) == "disagreement of 3 perturbed runs, not a probability"
    for text in (said, ensemble.__doc__, uncertainty_by_disagreement.__doc__):
        for claim in ("confidence", "probability of", "% sure", "likelihood", "p-value"):
            assert claim not in text


def test_same_seed_same_map_other_seed_another(problem) -> None:
    a, b, c = (estimate(problem, make_spec(), seed=s) for s in (7, 7, 8))
    assert torch.equal(a.data, b.data)
    assert float(a.data.max()) > 0 and not torch.allclose(a.data, c.data)


def test_stronger_perturbations_disagree_more(problem) -> None:
    weak, strong = (estimate(problem, make_spec(), strength=s, members=4) for s in (0.2, 2.0))
    assert float(strong.data.mean()) > 3 * float(weak.data.mean())


# ---------------------------------------------------------------------- what is perturbed


def _recording(seen):
    def method(working, parameters, context):
        seen.append((working, parameters, context))
        return RegistrationResult(working, working.initial_transform or Affine.identity(working.dimension))

    return method


def test_start_is_shifted_and_turned_about_the_fixed_centre(problem) -> None:
    seen = []
    start = Affine.from_translation([5.0, -4.0, 3.0])
    given = RegistrationProblem(problem.fixed, problem.moving, initial_transform=start)
    found = estimate(given, make_spec(run=_recording(seen)), members=40)
    centre = torch.as_tensor(problem.fixed.grid.centre)[None]
    jitters = []
    for working, parameters, _ in seen:
        assert parameters.initialisation == "given"
        jitters.append((working.initial_transform.apply(centre) - start.apply(centre))[0].numpy())
        matrix = working.initial_transform.matrix.numpy()
        assert np.allclose(matrix.T @ matrix, np.eye(3)) and np.linalg.det(matrix) == pytest.approx(1)
        assert 0 < np.degrees(np.arccos((np.trace(matrix) - 1) / 2)) < 10
    spread = np.std(jitters, axis=0)
    limit = 0.01 * max(problem.fixed.grid.extent)  # 0.48 mm: a small object is not thrown about by 2 mm
    assert (spread > 0.6 * limit).all() and (spread < 1.5 * limit).all()
    # at the centre the turn does nothing, so the map there is the spread of the shifts
    assert float(found.at(centre)) == pytest.approx(np.linalg.norm(np.std(jitters, axis=0)), rel=0.1)


def test_images_get_noise_and_are_left_as_they_were(problem) -> None:
    seen, before = [], problem.fixed.data.clone()
    whole = Image((problem.moving.data * 10).to(torch.int16), problem.moving.grid)
    pair = RegistrationProblem(problem.fixed, whole)
    estimate(pair, make_spec(run=_recording(seen)), members=2)
    assert torch.equal(problem.fixed.data, before) and pair.moving.data.dtype == torch.int16
    for working, _, _ in seen:
        for noisy, clean in ((working.fixed, pair.fixed), (working.moving, pair.moving)):
            assert noisy.data.dtype == torch.float32
            low, high = np.percentile(clean.data.numpy(), [1, 99])
            assert float((noisy.data - clean.data).std()) == pytest.approx(0.03 * (high - low), rel=0.05)
    first, second = (working.fixed.data for working, _, _ in seen)
    assert not torch.equal(first, second)


@dataclass(frozen=True)
class _Settings:
    stiffness: Annotated[float, Range(0, 1)] = 0.9
    weight: Annotated[float, Range(0, 100)] = 0.0
    share: Annotated[float, Range(0.5, 0.55)] = 0.52
    level: Annotated[float, Range(-1000, 1000)] = -200.0
    length: Annotated[float, Range(0.1, 50), Unit("mm")] = 2.0
    spacing: Annotated[float | None, Range(0.1, 50)] = None
    count: Annotated[int, Range(1, 100)] = 40
    kind: Annotated[str, Choice({"a": "A", "b": "B"})] = "a"
    both: bool = True


def test_only_weights_change_and_stay_in_their_range(problem) -> None:
    seen = []
    spec = make_spec(run=_recording(seen), parameters=_Settings, presets=())
    estimate(problem, spec, members=30)
    made = [asdict(p) for _, p, _ in seen]
    default = asdict(_Settings())
    for name in ("level", "length", "spacing", "count", "kind", "both", "weight"):
        assert {m[name] for m in made} == {default[name]}, name
    stiffness = np.array([m["stiffness"] for m in made])
    assert stiffness.min() >= 0.9 / 1.2 - 1e-9 and stiffness.max() <= 1.0 and len(np.unique(stiffness)) > 10
    assert stiffness.min() < 0.8
    share = np.array([m["share"] for m in made])
    assert share.min() >= 0.5 and share.max() <= 0.55
    assert len({c.seed for _, _, c in seen}) == 30


def test_every_registered_method_can_be_perturbed() -> None:
    """Whatever a method declares, the changed settings are ones it accepts."""
    draw = np.random.default_rng(0)
    for listed in registry():
        spec: MethodSpec = listed
        for preset in (None, *(p.id for p in spec.presets)):
            settings = asdict(spec.make_parameters(preset))
            changed = ensemble._jittered(spec, settings, draw, 1.0)
            assert changed.keys() == settings.keys()
            spec.make_parameters(None, changed)


# ---------------------------------------------------------------------- conduct


def test_prealignment_is_made_once_and_its_outcome_perturbed(problem, monkeypatch) -> None:
    from DeepRegistrationLib.methods import initialisation

    asked = []
    original = initialisation.prealign

    def counted(p, how, context, **wanted):
        asked.append(how)
        return original(p, how, context, **wanted)

    monkeypatch.setattr(initialisation, "prealign", counted)
    estimate(problem, make_spec(), values={"initialisation": "centres"})
    assert asked == ["centres", "given", "given", "given"]


def test_progress_rises_and_a_cancel_is_noticed(problem) -> None:
    told = []

    class Recorder(Progress):
        def update(self, fraction, stage=None):
            told.append((fraction, stage))
            super().update(fraction, stage)

    estimate(problem, make_spec(), context=Context(CPU, Recorder()))
    fractions = [f for f, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any("Perturbed run 2 of 3" in (stage or "") for _, stage in told)
    answers = iter([False] * 6 + [True])
    with pytest.raises(Cancelled):
        estimate(problem, make_spec(), context=Context(CPU, Progress(cancelled=lambda: next(answers))))


def test_a_run_that_fails_does_not_count_and_too_few_are_an_error(problem) -> None:
    failing = iter([False, True, False])

    def sometimes(working, parameters, context):
        if next(failing):
            raise InputError("No luck this time; try again.")
        return RegistrationResult(working, Affine.identity(3))

    context = Context(CPU)
    estimate(problem, make_spec(run=sometimes), context=context)
    assert "1 of 3 perturbed runs found no alignment" in context.messages[0]
    assert "2 perturbed runs" in context.messages[1]

    def never(working, parameters, context):
        raise InputError("No luck this time; try again.")

    with pytest.raises(InputError, match=r"Only 0 of 3 .* No luck"):
        estimate(problem, make_spec(run=never))


def test_what_cannot_work_is_said_first(problem) -> None:
    with pytest.raises(InputError, match="members=1"):
        estimate(problem, make_spec(), members=1)
    with pytest.raises(InputError, match="strength=0"):
        estimate(problem, make_spec(), strength=0.0)
    flat = Image(torch.ones(1, *problem.fixed.grid.shape), problem.fixed.grid)
    with pytest.raises(InputError, match="constant"):
        estimate(RegistrationProblem(flat, problem.moving), make_spec())
    with pytest.raises(InputError, match="did you mean 'shift'"):
        estimate(problem, make_spec(), values={"shfit": 1})
