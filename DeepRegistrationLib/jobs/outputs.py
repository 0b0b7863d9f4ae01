"""What a registration leaves in a folder, written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import OutputError
from .extras import alternatives_dict, write_extras
from .processes import is_alive

if TYPE_CHECKING:
    import torch

    from ..core.image import Image
    from ..core.problem import RegistrationProblem
    from ..core.result import RegistrationResult
    from ..metrics import Evaluation

#: begin of the name of the folder in which outputs are gathered; the number of the process follows
_STAGING = ".unfinished-"
#: a folder that has it holds a whole result
_LAST = "provenance.json"


def write_outputs(
    result: RegistrationResult,
    evaluation: Evaluation | None,
    folder: str | os.PathLike[str],
    *,
    compressed: bool = True,
    inputs: Mapping[str, str] | None = None,
    moved: Image | None = None,
    moved_segmentation: Image | None = None,
    jacobian: Image | None = None,
    keep_inputs: bool = False,
) -> dict[str, str]:
    """Write transform, moved image, labels, Jacobian, maps, what extras.py is about, and numbers; output name ->
    file name in `folder`.

    A linear transform is `transform.tfm`; another is `transform.nrrd`, a displacement field in LPS mm from
    fixed to moving, sampled on the fixed grid. The inverse is sampled on the moving grid. Volumes are
    .nii.gz, or uncompressed .nrrd with `compressed=False`. `inputs` (input name -> path) goes into
    provenance.json; with `keep_inputs` the images themselves are written too. `moved`, `moved_segmentation`
    and `jacobian` are the result's own, where the caller has computed them already.

    Whole or not at all, see `all_or_nothing`. Raises OutputError.
    """
    with all_or_nothing(folder) as (staging, files):
        files |= _write_transforms(result, staging)
        files |= write_extras(result, staging, compressed=compressed)
        volumes = {"jacobian": jacobian or result.jacobian(), **result.maps}
        files |= write_images(
            result,
            volumes,
            staging,
            moved=moved or result.moved(),
            moved_segmentation=moved_segmentation or _moved_segmentation(result),
            compressed=compressed,
        )
        kept = write_inputs(result.problem, staging) if keep_inputs else {}
        place = os.path.expanduser(os.fspath(folder))
        inputs = {**(inputs or {}), **{name: os.path.join(place, file) for name, file in kept.items()}}
        record(result, evaluation, staging, files, inputs=inputs, kept=kept)
    return files


def write_images(
    result: RegistrationResult,
    maps: Mapping[str, Image],
    folder: Path,
    *,
    moved: Image | None,
    moved_segmentation: Image | None,
    compressed: bool,
) -> dict[str, str]:
    """Moved image, moved labels and maps, each under its name; output name -> file name."""
    volumes = dict(maps)
    if moved is not None:
        volumes["moved"] = as_stored(moved, result.problem.moving.data.dtype)
    if moved_segmentation is not None:
        volumes["segmentation"] = moved_segmentation
    return _write_volumes(volumes, folder, ".nii.gz" if compressed else ".nrrd")


def record(
    result: RegistrationResult,
    evaluation: Evaluation | None,
    folder: Path,
    files: dict[str, str],
    *,
    inputs: Mapping[str, str] | None = None,
    kept: Mapping[str, str] | None = None,
    made: Mapping[str, Any] | None = None,
) -> None:
    """metrics.json and provenance.json, which join `files`.

    kept  input name -> file name in the folder, of inputs written beside the outputs
    made  how the result came about, where not as `result.provenance` has it
    """
    if evaluation is not None:
        files["metrics"] = _write_json(folder / "metrics.json", evaluation.to_dict())
    values = provenance_dict(result, files, inputs, made)
    files["provenance"] = _write_json(folder / _LAST, {**values, **({"kept": dict(kept)} if kept else {})})


def write_inputs(problem: RegistrationProblem, folder: Path) -> dict[str, str]:
    """Every input of a problem as a file; input name -> file name."""
    given = {name: value for name, value in vars(problem).items() if value is not None}
    return {name: write_input(name, value, folder) for name, value in given.items()}


def write_input(name: str, value: Any, folder: Path) -> str:
    """An input that is no file yet (see loading.INPUTS and RESULT_INPUTS) as one; its name in `folder`."""
    from .. import io
    from ..core.image import ImageKind
    from . import loading

    if name.endswith("transform") or name == "inverse":
        transform = loading.load_transform(value, name)
        file = name + (".tfm" if transform.is_linear else ".h5")  # .h5 keeps the parts of a composition
        io.write_transform(transform, folder / file)
    elif name.endswith("landmarks"):
        file = f"{name}.mrk.json"
        io.write_points(loading.load_points(value, name), folder / file)
    elif name.endswith("surfaces"):
        file = f"{name}.ply"
        io.write_surfaces(loading.load_surfaces(value, name), folder / file)
    elif name.endswith("segmentation"):
        file = f"{name}.seg.nrrd"
        io.write_segmentation(loading.load_segmentation(value, name), folder / file)
    else:
        file = f"{name}.nrrd"
        kind = ImageKind.MASK if name.endswith("mask") else ImageKind.INTENSITY
        io.write_image(loading.load_image(value, kind, name), folder / file)
    return file


@contextlib.contextmanager
def all_or_nothing(folder: str | os.PathLike[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder to write into, and a dictionary to enter what was written: output name -> file name in it.

    It lies in `folder`; when the block ends well its files are renamed into `folder`, the provenance last,
    and files of an earlier result that this one lacks are removed. Raises OutputError where writing fails;
    nothing half-written is left then.
    """
    with output_folder(folder) as target:
        earlier = _files_of_earlier_result(target)
        staging = None
        files: dict[str, str] = {}
        try:
            _remove_abandoned(target)
            staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{os.getpid()}-", dir=target))
            yield staging, files
            written = {path.name for path in staging.iterdir()}
            for name in [*sorted(written - {_LAST}), *({_LAST} & written)]:
                os.replace(staging / name, target / name)
        except (OSError, OutputError) as error:
            raise writing_failed(target, error, staging) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
    for name in earlier - written:
        with contextlib.suppress(OSError):
            (target / name).unlink()


def _write_transforms(result: RegistrationResult, folder: Path) -> dict[str, str]:
    problem = result.problem
    files = {"transform": write_transform_file(result.transform, folder, "transform", problem.fixed.grid)}
    if result.inverse is not None:
        files["inverse"] = write_transform_file(result.inverse, folder, "inverse", problem.moving.grid)
    return files


def _moved_segmentation(result: RegistrationResult) -> Image | None:
    return None if result.problem.moving_segmentation is None else result.moved_segmentation()


def _write_volumes(volumes: Mapping[str, Image], folder: Path, suffix: str) -> dict[str, str]:
    from .. import io

    files = {name: name + suffix for name in volumes}
    for name, image in volumes.items():
        write = io.write_segmentation if name == "segmentation" else io.write_image
        write(image, folder / files[name])
    return files


def write_transform_file(transform: Any, folder: Path, stem: str, grid: Any) -> str:
    """stem.tfm where linear, else stem.nrrd sampled on `grid`; the name of the file in `folder`."""
    from .. import io

    name = stem + (".tfm" if transform.is_linear else ".nrrd")
    io.write_transform(transform, folder / name, grid)
    return name


def as_stored(image: Image, dtype: torch.dtype) -> Image:
    """The moved image in the number type of the moving one (rounded), as `SimpleITK.Resample` gives it."""
    import torch

    if dtype.is_floating_point or image.data.dtype == dtype:
        return image
    limits = torch.iinfo(dtype) if dtype != torch.bool else None
    rounded = image.data.round()
    return image.with_data((rounded.clamp(limits.min, limits.max) if limits else rounded).to(dtype))


def provenance_dict(
    result: RegistrationResult,
    files: Mapping[str, str],
    inputs: Mapping[str, str] | None = None,
    made: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What provenance.json holds; `made` as in `record`."""
    if made is None:
        made = asdict(result.provenance) if result.provenance else {}
    segmentation = result.problem.moving_segmentation
    names = {} if segmentation is None else segmentation.names
    return {
        **made,
        "messages": list(made.get("messages", ())),
        "fixed_grid": grid_dict(result.problem.fixed.grid),
        "moving_grid": grid_dict(result.problem.moving.grid),
        "inputs": {name: os.path.abspath(path) for name, path in (inputs or {}).items()},
        "files": dict(files),
        "segment_names": {str(value): name for value, name in names.items()},
        "tables": dict(result.tables),
        "alternatives": alternatives_dict(result),
        "transform_maps": "fixed to moving, LPS mm",
    }


def grid_dict(grid: Any) -> dict[str, Any]:
    return {
        "size": list(grid.size),
        "spacing": list(grid.spacing),
        "origin": list(grid.origin),
        "direction": [list(row) for row in grid.direction],
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> str:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(plain(values), file, indent=2, allow_nan=False)
        file.write("\n")
    return path.name


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numpy and torch scalars as numbers, those that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextlib.contextmanager
def output_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The folder, made where it was missing, and known to be writable; what was made is removed again where
    the block fails and has left it empty. Raises OutputError."""
    target = Path(os.path.expanduser(os.fspath(folder)))
    made = [place for place in (target, *target.parents) if not place.exists()]
    try:
        _make_writable(target)
        yield target
    except BaseException:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
        raise


def _make_writable(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target):
            pass
    except FileExistsError:
        raise OutputError(
            f"The output folder {str(target)!r} is a file; give the name of a folder."
        ) from None
    except OSError as error:
        raise writing_failed(target, error) from error


def writing_failed(target: Path, error: BaseException, staging: Path | None = None) -> OutputError:
    """One sentence for a file system that refuses; it names `target` and not the `staging` folder."""
    number = getattr(error, "errno", None)
    cause = error
    while number is None and cause.__cause__ is not None:
        cause = cause.__cause__
        number = getattr(cause, "errno", None)
    if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"The disk is full while writing to {str(target)!r}; free some space and run again."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            f"The output folder {str(target)!r} cannot be written; choose a folder you may write to."
        )
    if isinstance(error, OutputError):
        return OutputError(str(error).replace(str(staging), str(target)) if staging else str(error))
    return OutputError(f"Writing to {str(target)!r} failed ({error}); check the folder and run again.")


def _remove_abandoned(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in `folder`."""
    for place in folder.glob(f"{_STAGING}*-*"):
        number = place.name.removeprefix(_STAGING).split("-")[0]
        if number.isdigit() and not is_alive(int(number)):
            shutil.rmtree(place, ignore_errors=True)


def _files_of_earlier_result(folder: Path) -> set[str]:
    """Names of the files that a result written here before has said to be its own."""
    try:
        with open(folder / _LAST, encoding="utf-8") as file:
            found = json.load(file)
        named = [*found["files"].values(), *found.get("kept", {}).values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in named if isinstance(name, str) and name == os.path.basename(name)}
