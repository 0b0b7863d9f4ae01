"""The way of a registration: parameters, pre-alignment, memory plans, the record, what is left untouched."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest
import torch

from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled, DeviceMemoryError, InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.methods import memory
from DeepRegistrationLib.methods.peak_memory import PeakMemory
from DeepRegistrationLib.methods.pipeline import register_problem
from DeepRegistrationLib.transforms import Affine, DisplacementField
from methods.tiny import Parameters, blob, make_spec

CPU = torch.device("cpu")
GIB = 1024**3


@pytest.fixture
def problem():
    return RegistrationProblem(blob((10.0, 20.0, 12.0)), blob((12.0, 23.0, 12.0)))


def run(problem, spec=None, progress=None, seed=0, **values):
    context = Context(CPU, progress or Progress(), seed)
    return register_problem(problem, spec or make_spec(), values=values, context=context)


def free(monkeypatch, amount):
    monkeypatch.setattr("DeepRegistrationLib.core.device.available_memory", lambda device: amount)


def test_the_transform_maps_fixed_to_moving(problem):
    # asymmetric blobs are cut by the field of view, hence a tolerance
    t = run(problem).transform
    assert torch.allclose(t.translation, torch.tensor([2.0, 3.0, 0.0], dtype=torch.float64), atol=0.6)


def test_provenance_is_enough_to_repeat_a_run(problem):
    made = run(problem, seed=5, shift="2.5").provenance
    assert made.method == "tiny" and made.seed == 5 and made.device == "cpu"
    assert made.parameters == asdict(Parameters(shift=2.5))
    assert made.versions["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert {"DeepRegistration", "python", "torch", "numpy"} <= set(made.versions)
    assert made.seconds > 0 and made.peak_memory_bytes > 10_000_000
    assert made.initialisation == "none" and made.messages == ()


def test_seconds_are_those_of_the_run(problem):
    assert 0.3 <= run(problem, seconds=0.3).provenance.seconds < 5


def test_presets_and_values(problem):
    context = Context(CPU)
    made = register_problem(problem, make_spec(), preset="fast", values={"seconds": 0.1}, context=context)
    assert made.provenance.parameters["shift"] == 1.0 and made.provenance.parameters["seconds"] == 0.1
    with pytest.raises(InputError, match="no preset 'slow'"):
        register_problem(problem, make_spec(), preset="slow", context=context)
    with pytest.raises(InputError, match="did you mean 'shift'"):
        run(problem, shfit=1)


def test_a_given_transform_is_started_from_without_being_asked_twice(problem):
    start = Affine.from_translation([1.0, 2.0, 3.0])
    given = RegistrationProblem(problem.fixed, problem.moving, initial_transform=start)
    assert run(given).provenance.initialisation == "given"
    said = run(given, initialisation="none").provenance
    assert said.initialisation == "none" and any("not used" in m for m in said.messages)


def test_the_method_sees_the_prealigned_start_and_the_result_the_problem_as_given(problem):
    seen = []

    def method(working, parameters, context):
        seen.append(working.initial_transform)
        return RegistrationResult(working, working.initial_transform)

    start = Affine.from_translation([1.0, 2.0, 3.0])
    given = RegistrationProblem(problem.fixed, problem.moving, initial_transform=start)
    result = run(given, make_spec(run=method))
    assert seen == [start] and result.transform is start
    assert result.problem is given


def test_centres_bring_fields_of_view_together_and_the_user_is_told(problem):
    far = blob((512.0, 523.0, 512.0), origin=(500.0, 500.0, 500.0))
    result = run(RegistrationProblem(problem.fixed, far), initialisation="centres")
    assert any("do not overlap" in m for m in result.provenance.messages)
    assert torch.allclose(
        result.transform.translation, torch.tensor([502.0, 503.0, 500.0]).double(), atol=0.6
    )


def test_progress_never_runs_backwards_and_ends_at_one(problem):
    heard = []
    run(problem, progress=Progress(heard.append), seconds=0.2)
    fractions = [report.fraction for report in heard]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) > 3
    assert heard[-1].stage == "Finished"


def test_cancel_stops_the_run(problem):
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        run(problem, progress=Progress(cancelled=lambda: next(calls)), seconds=60)


def test_a_transform_of_no_numbers_is_an_error_and_not_a_result(problem):
    def method(working, parameters, context):
        field = torch.full((3, *working.fixed.grid.shape), float("nan"))
        return RegistrationResult(working, DisplacementField(field, working.fixed.grid))

    with pytest.raises(InputError, match="no usable alignment"):
        run(problem, make_spec(run=method))


# ---------------------------------------------------------------------- memory


def bytes_a_voxel(count):
    def needed(grid, parameters):
        return count * grid.voxels

    return needed


@pytest.fixture
def large():
    """64^3 voxels at 1 mm; a byte count of a voxel is then easy to turn into a plan."""
    size, spacing = (64, 64, 64), (1.0, 1.0, 1.0)
    return RegistrationProblem(
        blob((30.0, 30.0, 30.0), size, spacing), blob((33.0, 30.0, 30.0), size, spacing)
    )


def test_coarser_where_full_resolution_does_not_fit(large, monkeypatch):
    free(monkeypatch, 64**3 * 1000 // 4)  # a quarter: two times coarser (an eighth) fits
    sizes = []

    def method(working, parameters, context):
        sizes.append((working.fixed.grid.size, working.moving.grid.size))
        field = torch.ones((3, *working.fixed.grid.shape))
        extra = working.fixed
        return RegistrationResult(
            working, DisplacementField(field, working.fixed.grid), maps={"extra": extra}
        )

    result = run(large, make_spec(run=method, memory=bytes_a_voxel(1000)))
    assert sizes == [((32, 32, 32), (32, 32, 32))]
    (said,) = result.provenance.messages
    assert "about 2 mm" in said and "250" in said and "62 MB" in said
    assert result.problem is large and result.grid == large.fixed.grid
    assert result.maps["extra"].grid == large.fixed.grid
    # the coarse field covers the whole of the fine grid
    assert torch.allclose(result.transform.displacement(large.fixed.grid), torch.ones(3, 64, 64, 64))


def test_a_chosen_working_spacing_is_not_finer_than_the_scans():
    @dataclass(frozen=True)
    class WithSpacing:
        spacing: float | None = None

    assert memory.coarser_working(WithSpacing(1.5), 2.0).spacing == 2.0
    assert memory.coarser_working(WithSpacing(3.0), 2.0).spacing == 3.0
    assert memory.coarser_working(WithSpacing(), 2.0).spacing is None
    assert memory.coarser_working(Parameters(), 2.0) == Parameters()


def test_coarse_answer_is_the_same_in_millimetres(large, monkeypatch):
    fine = run(large).transform.translation
    free(monkeypatch, 64**3 * 1000 // 20)
    coarse = run(large, make_spec(memory=bytes_a_voxel(1000)))
    assert coarse.provenance.messages
    assert torch.allclose(coarse.transform.translation, fine, atol=0.1)


def test_averaging_keeps_the_world_and_every_part_of_the_field_of_view():
    grid = Grid((21, 18, 16), (1.0, 1.0, 4.0), (5.0, -3.0, 7.0))
    x = grid.world_points().movedim(-1, 0)
    plan = memory.Plan(CPU, CPU, 2, 2.0, 0, 0, 0)
    working = memory.coarsened(RegistrationProblem(Image(x, grid), Image(x, grid)), plan).fixed
    # x and y joined in pairs; the coarse z stays; the odd last column gets a block of its own
    assert working.grid.size == (11, 9, 16)
    assert working.grid.spacing == (2.0, 2.0, 4.0)
    inner = (..., slice(0, 10))
    assert torch.allclose(working.data[inner], working.grid.world_points().movedim(-1, 0)[inner], atol=1e-4)
    last = working.grid.index_from_world(grid.corners)
    assert (last >= -0.5).all() and (last <= torch.tensor(working.grid.size).numpy() - 0.5).all()


def test_nothing_fits(large, monkeypatch):
    free(monkeypatch, 1000)
    with pytest.raises(DeviceMemoryError) as caught:
        run(large, make_spec(memory=bytes_a_voxel(1000)))
    assert "64 x 64 x 64" in str(caught.value) and "crop" in str(caught.value)


def test_memory_that_runs_out_leads_to_the_next_plan(large, monkeypatch):
    free(monkeypatch, 10 * GIB)

    def method(working, parameters, context):
        if working.fixed.grid.size[0] > 22:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
        return RegistrationResult(working, Affine.identity(3))

    (said,) = run(large, make_spec(run=method)).provenance.messages
    assert "about 3 mm" in said


def test_the_way_torch_says_that_memory_ran_out_is_understood(problem):
    def method(working, parameters, context):
        torch.empty(2**55)
        return RegistrationResult(working, Affine.identity(3))

    with pytest.raises(DeviceMemoryError, match="ran out of memory"):
        run(problem, make_spec(run=method))


def test_memory_that_always_runs_out_is_a_sentence(large):
    with pytest.raises(DeviceMemoryError, match="ran out of memory"):
        run(large, fail="memory")


def test_other_errors_of_a_method_are_not_taken_for_memory(problem):
    with pytest.raises(RuntimeError, match="a bug on purpose"):
        run(problem, fail="bug")


def test_order_of_plans_on_a_graphics_card(monkeypatch):
    gpu, grid = torch.device("cuda:0"), Grid((64, 64, 64))
    free(monkeypatch, 10 * GIB)
    spec = make_spec(memory=bytes_a_voxel(1))
    tried = [(p.device.type, p.coarser) for p in memory.plans(grid, spec, Parameters(), gpu)]
    assert tried[:3] == [("cuda", 1), ("cuda", 2), ("cpu", 1)]
    assert len(tried) == len(set(tried)) == 8
    assert "ran on cpu" in memory.plans(grid, spec, Parameters(), gpu)[2].sentence()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_signs_of_memory_running_out(error, expected):
    assert memory.is_out_of_memory(error) is expected


def test_peak_memory_counts_this_block_only():
    def peak_of(count):
        with PeakMemory(CPU) as peak:
            torch.ones(count).sum()
        return peak.bytes

    small = peak_of(1)
    assert peak_of(50_000_000) - small > 150_000_000
    try:
        open("/proc/self/clear_refs", "w").close()
    except OSError:
        pytest.skip("the mark of the peak cannot be reset here")
    assert abs(peak_of(1) - small) < 50_000_000


@pytest.mark.parametrize("how", ["none", "centres", "given", "landmarks"])
def test_not_even_the_stages_report_backwards(how):
    """Progress hides a step back from its listener; none may be taken in the first place."""
    from dataclasses import replace

    from DeepRegistrationLib.core.points import PointSet

    told = []

    class Recorder(Progress):
        def update(self, fraction, stage=None):
            told.append(fraction)
            super().update(fraction, stage)

    marks = PointSet(torch.tensor([[1.0, 2, 3], [9, 2, 3], [1, 9, 3], [1, 2, 9]]))
    given = RegistrationProblem(blob((10.0, 20.0, 12.0)), blob((12.0, 23.0, 12.0)))
    given = replace(given, fixed_landmarks=marks, moving_landmarks=marks)
    if how == "given":
        given = replace(given, initial_transform=Affine.identity(3))
    run(given, progress=Recorder(), initialisation=how, seconds=0.2)
    assert told == sorted(told)
