"""Where files are read from and written to, with sentences for what can go wrong there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import DeepRegistrationError, InputError, OutputError

AnyPath = str | os.PathLike[str]

#: below this many free bytes a failed write is put down to a full disk
_NEARLY_NOTHING = 1 << 20


def readable(path: AnyPath, what: str) -> Path:
    """`path` where a file can be read; `what` names it in the sentence ("image", "transform").

    Raises InputError for a missing, empty or unreadable file and for a folder.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise InputError(
            f"{str(file)!r} is a folder, but a {what} file was expected; give the file inside it."
        )
    if not file.exists():
        raise InputError(f"The {what} file {str(file)!r} does not exist; check the path.")
    if not os.access(file, os.R_OK):
        raise InputError(f"The {what} file {str(file)!r} may not be read; ask for permission or copy it.")
    if file.stat().st_size == 0:
        raise InputError(f"The {what} file {str(file)!r} is empty; save or copy it again.")
    return file


def ending(path: AnyPath, known: Sequence[str]) -> str:
    """The longest of `known` endings (".nii.gz", ".nrrd") that `path` has, in lower case; "" where none."""
    name = Path(path).name.lower()
    return max((e for e in known if name.endswith(e)), key=len, default="")


def required_ending(path: AnyPath, known: Sequence[str], what: str) -> str:
    """Like `ending`; raises OutputError where the name has none of them."""
    found = ending(path, known)
    if not found:
        raise OutputError(
            f"The {what} cannot be written as {str(path)!r}; end the name in one of {', '.join(known)}."
        )
    return found


@contextmanager
def replacing(path: AnyPath, suffix: str) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends well and removed when it does not.

    suffix  ending of the temporary name, which tells writers the format

    Raises OutputError for whatever the system or SimpleITK had against writing.
    """
    target = Path(path).expanduser()
    _check_place(target)
    temporary = target.parent / f".{uuid.uuid4().hex}{suffix}"
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # a full network disk may only say so here
        os.replace(temporary, target)
    except DeepRegistrationError:
        raise
    except (OSError, RuntimeError) as error:  # SimpleITK raises RuntimeError
        raise OutputError(_failure(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _check_place(target: Path) -> None:
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(
            f"{str(target)!r} cannot be written: the folder {str(folder)!r} does not exist; create it."
        )
    if target.is_dir():
        raise OutputError(f"{str(target)!r} cannot be written: it is a folder; give a file name inside it.")
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"The folder {str(folder)!r} is not writable; choose another one or ask for permission."
        )


def _failure(target: Path, error: Exception) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or shutil.disk_usage(target.parent).free < _NEARLY_NOTHING:
        return (
            f"{str(target)!r} could not be written because the disk is full; free some space and run again."
        )
    return f"{str(target)!r} could not be written ({reason(error)}); check the folder and the file name."


def reason(error: BaseException) -> str:
    """The telling part of an error's text, on one line; ITK's own ends with it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    for prefix in ("sitk::ERROR:", "itk::ERROR:", "ITK ERROR:", "[nrrd]", "Reason:"):
        last = last.removeprefix(prefix).strip()
    # ITK names the object that complained, with its address
    last = re.sub(r"^\w+\s?\(0x[0-9a-f]+\):\s*", "", last, flags=re.IGNORECASE)
    return last.rstrip(".")[:200]
