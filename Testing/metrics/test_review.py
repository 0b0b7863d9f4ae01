"""`review` as a whole: which maps, what they hold where nothing can be said, and what the user is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegistrationLib.core.errors import Cancelled, InputError
from DeepRegistrationLib.core.grid import Grid
from DeepRegistrationLib.core.image import Image, ImageKind
from DeepRegistrationLib.core.points import PointSet
from DeepRegistrationLib.core.problem import RegistrationProblem
from DeepRegistrationLib.core.progress import Progress
from DeepRegistrationLib.core.result import RegistrationResult
from DeepRegistrationLib.metrics import consistency, deformation, evaluate, maps
from DeepRegistrationLib.metrics.review import review
from DeepRegistrationLib.transforms import Affine, DisplacementField

GRID = Grid((20, 18, 16), (1.0, 1.5, 2.0))


def _image(grid: Grid = GRID) -> Image:
    return Image(torch.rand(1, *grid.shape, generator=torch.Generator().manual_seed(3)), grid)


def _segments(grid: Grid = GRID) -> Image:
    labels = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    labels[..., 3:9, 3:9, 3:9] = 1
    labels[..., 3:9, 3:9, 11:17] = 2
    return Image(labels, grid, ImageKind.LABELS, {1: "Liver", 2: "Kidney"})


@pytest.fixture
def result() -> RegistrationResult:
    field = 0.4 * torch.randn(3, *GRID.shape, generator=torch.Generator().manual_seed(1))
    transform = DisplacementField(field, GRID)
    p = RegistrationProblem(_image(), _image(), fixed_segmentation=_segments(), moving_segmentation=_segments())
    uncertainty = Image(torch.full((1, *GRID.shape), 0.5), GRID)
    return RegistrationResult(p, transform, transform.inverse().transform, {"uncertainty": uncertainty})


def test_all_maps_that_can_be_had_in_order(result: RegistrationResult) -> None:
    found = review(result)
    every = ["jacobian", "log-jacobian", "displacement", "inverse-consistency", "uncertainty"]
    assert list(found.maps) == every and list(found.evaluation.maps) == every
    for image in found.maps.values():
        assert image.grid == GRID and image.data.dtype == torch.float32 and image.channels == 1
        assert bool(torch.isfinite(image.data).all())
    assert found.maps["displacement"].unit == "mm" and found.maps["jacobian"].unit is None
    assert torch.equal(found.moved.data, result.moved().data)  # type: ignore[union-attr]
    assert torch.equal(found.moved_segmentation.data, result.moved_segmentation().data)  # type: ignore[union-attr]


def test_only_the_maps_asked_for_and_those_there_are_inputs_for(result: RegistrationResult) -> None:
    assert list(review(result, ["displacement", "jacobian"]).maps) == ["jacobian", "displacement"]
    assert dict(review(result, ()).maps) == {}
    bare = replace(result, inverse=None, maps={})
    assert list(review(bare).maps) == ["jacobian", "log-jacobian", "displacement"]
    assert dict(review(bare, ["inverse-consistency"]).maps) == {}
    with pytest.raises(InputError, match="no map 'jakobian'"):
        review(result, ["jakobian"])
    own = replace(result, maps={"non-correspondence": _image()})
    assert torch.equal(review(own, ["non-correspondence"]).maps["non-correspondence"].data, _image().data)


def test_maps_do_not_change_the_numbers(result: RegistrationResult) -> None:
    """`evaluate` gives what `review` gives, but for the summaries of maps it did not make."""
    with_maps, without = review(result).evaluation.to_dict(), evaluate(result).to_dict()
    assert list(without["maps"]) == ["uncertainty"]
    summaries = with_maps.pop("maps")
    without.pop("maps")
    assert with_maps == without
    assert summaries["jacobian"]["min"] == with_maps["deformation"]["jacobian_min"]
    assert summaries["displacement"]["p95"] == with_maps["deformation"]["displacement_p95_mm"]
    json.dumps(summaries, allow_nan=False)


def test_every_key_is_there_whatever_was_measured() -> None:
    p = RegistrationProblem(_image(), _image(), fixed_segmentation=_segments())
    numbers = evaluate(RegistrationResult(p, Affine.identity(3))).to_dict()
    segment = numbers["segments"]["Liver"]
    assert segment["uncertainty_mean_mm"] is None and segment["jacobian_p50"] == 1
    p = RegistrationProblem(_image(), _image(), moving_segmentation=_segments())
    segment = evaluate(RegistrationResult(p, Affine.identity(3))).to_dict()["segments"]["Liver"]
    for key in ("jacobian_max", *(f"jacobian_p{n}" for n in (5, 25, 50, 75, 95)), "uncertainty_mean_mm"):
        assert segment[key] is None
    assert numbers["maps"] == {} and numbers["landmarks"] is None


def test_each_quantity_is_computed_once(result: RegistrationResult) -> None:
    """T is sampled on the grid once, and at the points of the images once for image and labels together."""
    calls: list[str] = []

    class Counted(DisplacementField):
        def displacement(self, grid: Grid) -> torch.Tensor:
            calls.append("displacement")
            return super().displacement(grid)

        def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
            calls.append("jacobian")
            return super().jacobian_determinant(grid)

        def apply(self, points: torch.Tensor) -> torch.Tensor:
            calls.append("apply")
            return super().apply(points)

        def to(self, device: torch.device | str) -> Counted:
            return self

    field = result.transform
    assert isinstance(field, DisplacementField)
    counted = replace(result, transform=Counted(field.field, GRID))
    review(counted)
    assert sorted(calls) == ["apply", "apply", "displacement"]  # images; the sample that is measured
    calls.clear()
    review(counted, moved=result.moved(), moved_segmentation=result.moved_segmentation())
    assert sorted(calls) == ["apply", "displacement"]


def test_folding_has_the_lowest_logarithm() -> None:
    jacobian = np.array([-2.0, 0.0, 0.05, 1.0, np.e], dtype=np.float32)
    logs = maps.log_jacobian(jacobian)
    assert logs[2:] == pytest.approx([np.log(0.05), 0, 1], abs=1e-6)
    assert logs[0] == logs[1] == logs[2]  # lower than the -1 at which the colours end
    assert maps.log_jacobian(np.array([-1.0, 2.0], dtype=np.float32))[0] == -1


def test_inverse_error_says_nothing_where_the_moving_image_ends() -> None:
    p = RegistrationProblem(_image(), _image())
    half = Affine.from_translation([10.0, 0.0, 0.0])
    back = Affine.from_translation([-10.0, 0.0, 0.7])
    found = review(RegistrationResult(p, half, back))
    error = found.maps["inverse-consistency"].data[0]
    assert torch.allclose(error[..., :10], torch.tensor(0.7), atol=1e-6) and bool((error[..., 10:] == 0).all())
    summary = found.evaluation.to_dict()["maps"]["inverse-consistency"]
    assert summary["min"] == pytest.approx(0.7) and summary["mean"] == pytest.approx(0.7)
    away = review(RegistrationResult(p, Affine.from_translation([900.0, 0, 0]), Affine.identity(3)))
    assert away.evaluation.to_dict()["maps"]["inverse-consistency"] is None
    assert bool((away.maps["inverse-consistency"].data == 0).all())


def test_pieces_leave_no_seam(result: RegistrationResult, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = review(result)
    for module in (consistency, maps):
        monkeypatch.setattr(module, "BLOCK", 3 * 20 * 18)
    monkeypatch.setattr(deformation, "_BLOCK", 700)
    monkeypatch.setattr("DeepRegistrationLib.metrics.likeness._BLOCK", 700)
    monkeypatch.setattr("DeepRegistrationLib.metrics.overlap._BLOCK", 700)
    pieces = review(result)
    for name, image in whole.maps.items():
        assert torch.equal(image.data, pieces.maps[name].data), name
    a, b = whole.evaluation.to_dict(), pieces.evaluation.to_dict()
    assert a["segments"] == b["segments"] and a["maps"] == b["maps"]
    assert a["similarity"]["ncc_after"] == pytest.approx(b["similarity"]["ncc_after"], abs=1e-12)
    assert a["deformation"].pop("region") == b["deformation"].pop("region")
    assert a["deformation"] == pytest.approx(b["deformation"], rel=1e-12)


def test_even_sample_is_every_so_manieth_voxel_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    region = np.random.default_rng(0).random(GRID.shape) > 0.4
    for most in (10, 100, 1000, 10**6):
        monkeypatch.setattr(consistency, "_POINTS", most)
        found = consistency.sample_points(GRID, region)
        step = -(-int(region.sum()) // most)
        step += (step + 1) % 2
        index = np.argwhere(region)[::step, ::-1]
        assert np.array_equal(found.numpy(), GRID.world_from_index(index))
        whole = consistency.sample_points(GRID)
        assert np.array_equal(whole.numpy(), consistency.sample_points(GRID, np.ones(GRID.shape, dtype=bool)).numpy())


def test_uncertainty_inside_a_segment_is_told(result: RegistrationResult) -> None:
    assert not any("uncertain" in sentence for sentence in evaluate(result).concerns)
    much = torch.full((1, *GRID.shape), 0.5)
    much[..., 11:17] = 6.0
    unsure = replace(result, maps={"uncertainty": Image(much, GRID)})
    e = evaluate(unsure)
    (told,) = [sentence for sentence in e.concerns if "uncertain" in sentence]
    assert "inside Kidney" in told and "6.0 mm" in told and "not a probability" in told
    segments = e.to_dict()["segments"]
    assert segments["Kidney"]["uncertainty_mean_mm"] == pytest.approx(6.0)
    assert segments["Liver"]["uncertainty_mean_mm"] == pytest.approx(0.5)
    assert any("Uncertainty: " in line and "not a probability" in line for line in e.summary_lines())
    bare = replace(unsure.problem, fixed_segmentation=None, moving_segmentation=None)
    everywhere = replace(unsure, problem=bare, maps={"uncertainty": Image(much + 4, GRID)})
    assert any("over the fixed image" in sentence for sentence in evaluate(everywhere).concerns)


def test_a_squeezed_part_of_a_segment_is_told() -> None:
    """One in eight columns of the segment has a Jacobian of 0.2, the others of 1; without folding anywhere."""
    grid = Grid((40, 12, 10))
    labels = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    labels[..., 2:10, 2:10, 4:36] = 1
    seg = Image(labels, grid, ImageKind.LABELS, {1: "Liver"})
    p = RegistrationProblem(_image(grid), _image(grid), fixed_segmentation=seg, moving_segmentation=seg)
    x = torch.arange(40.0)
    squeezed = DisplacementField(torch.zeros(3, *grid.shape), grid)
    squeezed.field[0] = torch.where(x < 10, 0, torch.where(x < 14, -0.8 * (x - 10), -3.2))
    e = evaluate(RegistrationResult(p, squeezed))
    (told,) = [sentence for sentence in e.concerns if "squeezed" in sentence]
    assert "Parts of Liver" in told and "0.20 against 1.00" in told
    halved = Affine.about(grid.centre, np.diag([0.5, 0.5, 0.5]), [0.0, 0.0, 0.0])
    all_smaller = evaluate(RegistrationResult(p, halved)).concerns
    assert not any("squeezed" in sentence for sentence in all_smaller)


def test_holes_in_a_map_are_left_out_of_the_numbers(result: RegistrationResult) -> None:
    holed = torch.full((1, *GRID.shape), 1.5)
    holed[..., 5] = float("nan")
    e = evaluate(replace(result, maps={"uncertainty": Image(holed, GRID)})).to_dict()
    assert e["maps"]["uncertainty"]["mean"] == e["maps"]["uncertainty"]["max"] == 1.5
    assert e["segments"]["Liver"]["uncertainty_mean_mm"] == 1.5
    empty = Image(torch.full((1, *GRID.shape), float("nan")), GRID)
    e = evaluate(replace(result, maps={"uncertainty": empty})).to_dict()
    assert e["maps"]["uncertainty"] is None and e["segments"]["Liver"]["uncertainty_mean_mm"] is None


def test_progress_rises_to_one_and_a_cancel_is_noticed(result: RegistrationResult) -> None:
    heard: list[float] = []
    stages: list[str] = []

    class Recorder(Progress):
        def update(self, fraction: float, stage: str | None = None) -> None:
            heard.append(fraction)
            stages.append(stage or "")
            super().update(fraction, stage)

    review(result, progress=Recorder())
    assert heard == sorted(heard) and heard[0] == 0 and heard[-1] == 1 and len(set(heard)) >= 5
    assert "Measuring the segments" in stages
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        review(result, progress=Progress(cancelled=lambda: next(answers)))


def test_in_two_dimensions() -> None:
    grid = Grid((14, 12), (1.0, 2.0), None, [[0.6, -0.8], [0.8, 0.6]])
    points = PointSet(torch.tensor([[1.0, 2.0]]))
    image = _image(grid)
    p = RegistrationProblem(image, image, fixed_landmarks=points, moving_landmarks=points)
    shift = Affine.from_translation([0.3, 0.4])
    found = review(RegistrationResult(p, shift, shift.inverse().transform))
    assert float(found.maps["displacement"].data.max()) == pytest.approx(0.5)
    assert found.evaluation.to_dict()["landmarks"]["moved_points"] == [pytest.approx([1.3, 2.4])]
    assert found.evaluation.to_dict()["maps"]["inverse-consistency"]["max"] == pytest.approx(0, abs=1e-6)
