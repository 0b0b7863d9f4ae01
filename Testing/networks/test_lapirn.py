"""LapIRN: parity with the published weights, its parts by hand, and the converter's refusals."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.methods.learned.lapirn import FOOTPRINT
from DeepRegistrationLib.networks.catalogue import build
from DeepRegistrationLib.networks.lapirn import InHalfExtents, InVoxels, LapIRN
from DeepRegistrationLib.networks.lapirn_published import convert_published

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "weights" / "lapirn"

published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not beside the checkout")


def network(seed: int = 0, **settings: object) -> LapIRN:
    torch.manual_seed(seed)
    return LapIRN(**{"dimension": 2, "channels": 4, **settings})  # type: ignore[arg-type]


def scans(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.rand((2, 1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    return values[0], values[1]


# ---------------------------------------------------------------- published weights


@published
@pytest.mark.parametrize("form", ["disp", "diff"])
def test_published_weights_give_the_published_fields(form: str) -> None:
    """The arrays have the axes x, y, z; a field's channel 0 belongs to the last of them, in units of half extents."""
    kept = np.load(PUBLISHED / "parity_96.npz")
    tensors, settings = convert_published(PUBLISHED / f"LapIRN_{form}_fea7.pth")
    lapirn = build("lapirn", settings["network"])
    lapirn.load_state_dict(tensors)
    fixed, moving = (torch.from_numpy(kept[name].T.copy())[None, None] for name in ("fixed", "moving"))
    with torch.no_grad():
        found = lapirn(fixed, moving)
    assert (found.velocity is not None) == (form == "diff")
    # components x, y, z on z, y, x, in voxels
    wanted = kept[f"flow_{form}"][::-1].transpose(0, 3, 2, 1) * (96 - 1) / 2
    assert float(np.abs(wanted).max()) > 1.0
    assert float(np.abs(found.displacement[0].numpy() - wanted).max()) < 1e-4 * (96 - 1) / 2


@published
def test_all_published_weights_find_a_place() -> None:
    tensors, settings = convert_published(PUBLISHED / "LapIRN_disp_fea7.pth")
    state = torch.load(PUBLISHED / "LapIRN_disp_fea7.pth", map_location="cpu", weights_only=True)
    assert sum(t.numel() for t in tensors.values()) == sum(t.numel() for t in state.values())
    assert settings["network"]["channels"] == 28
    assert not settings["network"]["diffeomorphic"]


@published
def test_part_of_the_published_weights_is_refused(tmp_path: Path) -> None:
    state = torch.load(PUBLISHED / "LapIRN_disp_fea7.pth", map_location="cpu", weights_only=True)
    state.pop("up.weight")
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(InputError, match="all weights"):
        convert_published(tmp_path / "part.pth")


class _Program:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a program in a pickle was run",))


def test_programs_in_a_pickle_are_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, save in (("plain", lambda f: f.write_bytes(pickle.dumps(_Program()))),
                       ("zip", lambda f: torch.save({"a": _Program()}, f))):
        file = tmp_path / f"{name}.pth"
        save(file)
        with pytest.raises(InputError, match="never run"):
            convert_published(file)
    assert "program" not in capsys.readouterr().out


@pytest.mark.parametrize("state", [{"conv.weight": torch.zeros(1)}, {}, [torch.zeros(1)]])
def test_other_files_are_refused(state: object, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError):
        convert_published(tmp_path / "other.pth")
    with pytest.raises(InputError, match="no file"):
        convert_published(tmp_path / "missing.pth")


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_each_level_sees_the_moving_scan_as_the_coarser_ones_leave_it(diffeomorphic: bool) -> None:
    """Against SciPy: the input of the last block is the moving scan warped, the fixed one, and the coarser field."""
    lapirn = network(levels=2, diffeomorphic=diffeomorphic)
    with torch.no_grad():
        lapirn.blocks[0].decode[2].weight.mul_(20)  # a displacement of some voxels
    seen: list[torch.Tensor] = []
    lapirn.blocks[1].register_forward_pre_hook(lambda module, values: seen.append(values[0].detach()))
    fixed, moving = scans(32, 24)
    with torch.no_grad():
        found = lapirn(fixed, moving)
    coarse = found.details["displacements"][0][0].numpy()
    assert np.abs(coarse).max() > 0.5
    # the coarse field where the fine voxels are, edges on edges, in fine voxels
    fine = [(np.arange(n) + 0.5) / 2 - 0.5 for n in (32, 24)]
    y, x = np.meshgrid(*fine, indexing="ij")
    u = [2 * map_coordinates(c, [y, x], order=1, mode="nearest") for c in coarse]
    rows, columns = np.mgrid[:32, :24]
    warped = map_coordinates(moving[0, 0].numpy(), [rows + u[1], columns + u[0]], order=1, mode="nearest")
    assert np.abs(seen[0][0, 0].numpy() - warped).max() < 1e-4
    assert torch.equal(seen[0][0, 1], fixed[0, 0])
    before = found.details["fields"][0][0].numpy()
    told = [2 * map_coordinates(c, [y, x], order=1, mode="nearest") / lapirn.reach for c in before]
    assert np.abs(seen[0][0, 2:].numpy() - np.stack(told)).max() < 1e-4


def test_the_embedding_is_handed_on() -> None:
    """A coarse block without any displacement of its own still changes what the fine one finds."""
    lapirn = network(levels=2)
    fixed, moving = scans(32, 32)
    with torch.no_grad():
        lapirn.blocks[0].decode[2].weight.zero_()
        before = lapirn(fixed, moving)
        lapirn.blocks[0].units[0].first.weight.mul_(3)
        after = lapirn(fixed, moving)
    assert float(after.details["fields"][0].abs().max()) == 0
    assert float((after.displacement - before.displacement).abs().max()) > 1e-4


def test_blocks_are_alike_but_for_what_they_are_told() -> None:
    lapirn = LapIRN(3, levels=3, channels=6)
    shapes = [{n: tuple(p.shape) for n, p in block.named_parameters()} for block in lapirn.blocks]
    assert [s.pop("encode.0.weight")[1] for s in shapes] == [2, 5, 5]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(lapirn.blocks[0].units) == 5


def test_a_level_adds_at_most_its_reach() -> None:
    lapirn = network(levels=3, reach=2.0)
    with torch.no_grad():
        for block in lapirn.blocks:
            block.decode[2].weight.mul_(1e4)
        fields = lapirn(*scans(32, 32)).details["fields"]
    assert [f.shape[-1] for f in fields] == [8, 16, 32]
    assert all(1.5 < float(f.abs().max()) <= 2 * (2**k - 1) for k, f in enumerate(fields, start=1))


def test_fewer_levels_work_on_scans_halved_before() -> None:
    lapirn = network(levels=3)
    fixed, moving = scans(32, 48)
    with torch.no_grad():
        whole = lapirn(fixed, moving).details["displacements"]
        halved = [torch.nn.functional.avg_pool2d(s, 2) for s in (fixed, moving)]
        assert torch.allclose(lapirn(*halved, levels=2).displacement, whole[1], atol=1e-6)


def test_a_part_of_the_scans_gives_the_same_away_from_its_borders() -> None:
    """What makes training on parts possible: fields are voxels, whatever the size. One level looks 26 voxels far."""
    lapirn = network(levels=1, channels=3)
    fixed, moving = scans(96, 128)
    with torch.no_grad():
        whole = lapirn(fixed, moving).displacement[..., 40:56]
        part = lapirn(fixed[..., 8:88], moving[..., 8:88]).displacement[..., 32:48]
    assert torch.allclose(whole, part, atol=1e-5)
    assert float(whole.std()) > 1e-3


def test_the_margin_of_pieces_is_what_an_answer_depends_on() -> None:
    """By the gradient of the answer in the middle: with less a network in pieces would differ from one of all."""
    lapirn = network(levels=3, channels=2)
    fixed, moving = scans(8, 512)
    fixed.requires_grad_()
    lapirn(fixed, moving).displacement[0, 0, 4, 256].backward()
    assert fixed.grad is not None
    reached = torch.nonzero(fixed.grad[0, 0].abs().amax(dim=0))[:, 0] - 256
    furthest = int(reached.abs().max())
    assert FOOTPRINT.margin is not None
    assert furthest <= FOOTPRINT.margin <= furthest + 24


def test_the_diffeomorphic_form_gives_the_flow_of_its_velocity() -> None:
    lapirn = network(levels=2, diffeomorphic=True)
    with torch.no_grad():
        for block in lapirn.blocks:
            block.decode[2].weight.mul_(10)
        found = lapirn(*scans(32, 32))
    assert found.velocity is not None
    assert float((found.velocity - found.displacement).abs().max()) > 1e-3
    # by many small steps of Euler's method
    v, x = found.velocity[0].numpy(), np.stack(np.mgrid[:32, :32]).astype(float)
    for _ in range(1000):
        x += np.stack([map_coordinates(v[c], x, order=1, mode="nearest") for c in (1, 0)]) / 1000
    reached = (x - np.mgrid[:32, :32])[::-1]
    assert np.abs(reached - found.displacement[0].numpy())[:, 4:-4, 4:-4].max() < 0.05


@pytest.mark.parametrize("dimension", [2, 3])
def test_units_agree_where_they_have_to(dimension: int) -> None:
    """A field of 1 half extent moves the first voxel centre to the middle; doubled, it still does."""
    shape = (8, 10, 12)[-dimension:]
    field = torch.ones(1, dimension, *shape)
    half = InHalfExtents(1.0)
    wanted = torch.tensor([(n - 1) / 2 for n in shape[::-1]])
    assert torch.allclose(half.voxels(field)[(0, slice(None), *(0,) * dimension)], wanted)
    finer = half.finer(field, torch.Size([2 * n for n in shape]))
    assert torch.allclose(finer, torch.ones_like(finer))
    assert torch.allclose(InVoxels(1.0).finer(field, torch.Size([2 * n for n in shape])), 2 * torch.ones_like(finer))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="lapirn"):
        build("lapirn", {"units": "furlongs"})
    with pytest.raises(InputError, match="lapirn"):
        build("lapirn", {"depth": 3})
