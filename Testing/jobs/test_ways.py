"""Console, command line and worker give the same result, bit by bit; inside Slicer nothing loads torch."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

import DeepRegistrationLib as dr
import phantoms
from DeepRegistrationLib import io
from DeepRegistrationLib.core.errors import Cancelled, InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.jobs import JobFolder, ResultFolder, Runner
from DeepRegistrationLib.jobs.blocking import register_in_worker, wait
from DeepRegistrationLib.jobs.outputs import as_stored
from DeepRegistrationLib.jobs.perform import Request
from DeepRegistrationLib.methods import registry
from DeepRegistrationLib.transforms import Affine, DisplacementField, compose
from methods.tiny import blob

CHECKOUT = Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, str(Path(__file__).with_name("with_tiny.py"))]


@pytest.fixture(scope="module")
def runner():
    with Runner(LAUNCH) as runner:
        yield runner


def through_the_worker(runner, folder, problem):
    folder.write_problem(problem)
    return wait(runner.submit(folder)).data["files"]


@pytest.fixture(params=["tiny", "ngf-affine", "convex-adam"])
def method(request, tiny_method):
    if request.param not in registry():
        pytest.skip(f"{request.param} is not listed")
    return request.param


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Two heads with their labels and landmarks as files, small but large enough for every method."""
    folder = tmp_path_factory.mktemp("heads")
    grid = Grid((44, 48, 40), (4.5, 4.5, 4.5), (-97.0, -106.0, -88.0))
    case = phantoms.brain(grid, grid, motion_mm=5).problem
    paths = {}
    for name, image in case.images():
        if name in ("fixed", "moving"):
            paths[name] = str(folder / f"{name}.nii.gz")
            io.write_image(image, paths[name])
        elif name.endswith("segmentation"):
            paths[name] = str(folder / f"{name}.seg.nrrd")
            io.write_segmentation(image, paths[name])
    return paths


def test_console_command_line_and_worker_agree(method, heads, tmp_path, runner):
    preset = "fast" if "fast" in {p.id for p in registry()[method].presets} else None
    settings = {"preset": preset, "device": "cpu", "seed": 3, "threads": 1}
    console = dr.register(**heads, method=method, **settings)

    words = ["register", "--method", method, "--out", str(tmp_path / "cli")]
    named = {**heads, **{name: value for name, value in settings.items() if value is not None}}
    words += [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
    done = subprocess.run([*LAUNCH, "-m", "DeepRegistrationLib", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    by_command = ResultFolder(tmp_path / "cli")

    problem = {"method": method, "values": {}, **settings, "inputs": heads}
    by_worker = through_the_worker(runner, JobFolder.create(tmp_path), problem)

    moved = as_stored(console.moved(), console.problem.moving.data.dtype).data
    labels = console.moved_segmentation().data
    for path in (by_command.file("moved"), by_worker["moved"]):
        assert torch.equal(io.read_image(path).data, moved)
    for path in (by_command.file("segmentation"), by_worker["segmentation"]):
        assert torch.equal(io.read_segmentation(path).data.to(labels.dtype), labels)
    field = console.transform.displacement(console.grid)
    for path in (by_command.file("transform"), by_worker["transform"]):
        assert torch.allclose(io.read_transform(path).displacement(console.grid), field, atol=1e-5)
    assert json.loads(Path(by_worker["metrics"]).read_text(encoding="utf-8")) == by_command.metrics


# ---------------------------------------------------------------------- the console inside Slicer


@pytest.fixture
def inside_slicer(monkeypatch, runner):
    """As the Slicer application looks to the library."""
    calls = []
    slicer = types.ModuleType("slicer")
    slicer.app = types.SimpleNamespace(processEvents=lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setattr("DeepRegistrationLib.jobs.blocking.shared_runner", lambda: runner)
    return calls


def test_inside_slicer_paths_go_through_the_worker(inside_slicer, image_files):
    heard = []
    found = dr.register(**image_files, method="tiny", progress=heard.append, seconds=0.3)
    assert isinstance(found, ResultFolder)
    assert found.provenance["method"] == "tiny" and found.file("moved").is_file()
    assert inside_slicer, "the window was not kept alive"
    assert heard[-1].fraction == 1.0 or heard[-1].stage
    assert [r.fraction for r in heard] == sorted(r.fraction for r in heard)


def test_inside_slicer_it_can_be_run_in_process(inside_slicer, image_files, tiny_method):
    assert isinstance(dr.register(**image_files, method="tiny", in_process=True), RegistrationResult)
    assert not inside_slicer


def test_errors_of_the_worker_are_those_of_the_library(inside_slicer, image_files):
    with pytest.raises(InputError, match="out of range"):
        dr.register(**image_files, method="tiny", shift=99)


def test_objects_are_handed_over_as_files_and_come_back(runner, tiny_method):
    fixed, moving = blob((10.0, 20.0, 12.0)), blob((12.0, 23.0, 12.0))
    labels = fixed.with_data((fixed.data > 50).to(torch.int16))
    field = torch.zeros(3, *fixed.grid.shape)
    field[0] = 0.5
    start = compose(Affine.from_translation([0.5, 0.0, 0.0]), DisplacementField(field, fixed.grid))
    points = PointSet(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    inputs = {
        "fixed": fixed,
        "moving": io.to_sitk(moving),
        "moving_mask": fixed.with_data(torch.ones_like(fixed.data)),
        "moving_segmentation": type(labels)(labels.data, labels.grid, ImageKind.LABELS, {1: "ball"}),
        "fixed_landmarks": points,
        "moving_landmarks": [[1.0, 2, 3], [4, 5, 6]],
        "initial_transform": start,
    }
    request = Request(inputs, "tiny", values={"shift": 1.0}, seed=2)
    there = register_in_worker(request, runner=runner)
    here = dr.register(**inputs, method="tiny", shift=1.0, seed=2)
    assert torch.allclose(
        there.transform.displacement(fixed.grid), here.transform.displacement(fixed.grid), atol=1e-4
    )
    assert there.problem.fixed is fixed
    assert there.moved_segmentation().names == {1: "ball"}


def test_ctrl_c_cancels_the_worker(runner, image_files, tmp_path, monkeypatch):
    folder = JobFolder.create(tmp_path)
    folder.write_problem({"method": "tiny", "values": {"seconds": 30}, "inputs": image_files})
    job = runner.submit(folder)
    looks = []

    def idle():
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(Cancelled):
        wait(job, idle=idle)
    assert job.poll()[-1].category == "cancelled"


# ---------------------------------------------------------------------- what is loaded


def loaded_by(code):
    """Names of heavy modules in a fresh interpreter after `code`."""
    program = (
        f"import sys\n{code}\nprint(*[m for m in ('torch','SimpleITK','slicer','qt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "code",
    [
        "import DeepRegistrationLib as dr; dr.methods()",
        "import DeepRegistrationLib as dr; [dr.describe(m.id) for m in dr.methods()]",
        "from DeepRegistrationLib.jobs import Event, JobFolder, ResultFolder, Runner, RunningJob",
        "import DeepRegistrationLib.jobs.blocking, DeepRegistrationLib.jobs.review, DeepRegistrationLib.reports",
        "from DeepRegistrationLib.jobs.worker import main",
        "from DeepRegistrationLib.cli import main; import io; sys.stdout = io.StringIO(); "
        "main(['methods', '--json']); main(['methods', '--markdown']); sys.stdout = sys.__stdout__",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert loaded_by(code) == []


def test_reading_a_result_folder_needs_no_torch(image_files, tiny_method, tmp_path):
    from DeepRegistrationLib.cli import main

    out = str(tmp_path / "out")
    assert main(["register", *_flags(image_files), "--method", "tiny", "--out", out]) == 0
    code = (
        f"from DeepRegistrationLib.jobs import ResultFolder as R; f = R({out!r}); f.metrics, f.file('moved')"
    )
    assert loaded_by(code) == []


def _flags(files):
    return [word for name, path in files.items() for word in (f"--{name}", path)]


def test_the_console_takes_simpleitk_images(image_files, tiny_method):
    read = {name: sitk.ReadImage(path) for name, path in image_files.items()}
    assert torch.equal(
        dr.register(**read, method="tiny").transform.translation,
        dr.register(**image_files, method="tiny").transform.translation,
    )


@pytest.mark.parametrize("value", [5, {"a": 1}, [1, 2]])
def test_what_is_no_image_is_refused(value, image_files, tiny_method):
    with pytest.raises(InputError, match=f"fixed is a {type(value).__name__}"):
        dr.register(value, image_files["moving"], "tiny")
