"""The tools of the benchmark: how each is started on a case, and how its record is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cases import Case


@dataclass(frozen=True)
class Job:
    """One run of one tool on one case."""

    case: Case
    files: Mapping[str, Path]
    out: Path
    threads: int
    seed: int

    def driver(self, module: str) -> list[str]:
        arguments = {"fixed": self.files["fixed"], "moving": self.files["moving"], "out": self.out}
        flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        return ["-m", module, *flags, "--threads", str(self.threads), "--seed", str(self.seed)]


@dataclass(frozen=True)
class Tool:
    """environment: name of the peer's environment, or None for the project's own interpreter."""

    id: str
    title: str
    arguments: Callable[[Job], list[str]]
    environment: str | None = None
    takes: Callable[[Case], bool] = field(default=lambda case: True)
    read: Callable[[Path], dict[str, Any]] = field(
        default=lambda out: json.loads((out / "record.json").read_text(encoding="utf-8"))
    )

    @property
    def ours(self) -> bool:
        return self.environment is None


def _peer(job: Job, tool: str) -> list[str]:
    return [*job.driver("bench.peers"), "--tool", tool, *(["--rigid"] if job.case.rigid else [])]


def _peer_tool(tool: str, title: str, environment: str, deformable_only: bool = False) -> Tool:
    return Tool(
        tool,
        title,
        lambda job: _peer(job, tool),
        environment,
        takes=lambda case: not (deformable_only and case.rigid),
    )


def _ours(job: Job, more: Mapping[str, object]) -> list[str]:
    parameters = json.dumps({**job.case.parameters, **more})
    words = ["--method", job.case.method, "--preset", job.case.preset, "--parameters", parameters]
    return [*job.driver("bench.ours"), *words]


def _ours_command_line(job: Job) -> list[str]:
    settings = [t for name, value in job.case.parameters.items() for t in ("--set", f"{name}={value}")]
    return [
        *("-m", "DeepRegistrationLib", "register"),
        *("--fixed", str(job.files["fixed"]), "--moving", str(job.files["moving"])),
        *("--method", job.case.method, "--preset", job.case.preset, *settings),
        *("--device", "cpu", "--seed", str(job.seed), "--threads", str(job.threads)),
        *("--out", str(job.out), "--json"),
    ]


def _read_command_line(out: Path) -> dict[str, Any]:
    """Cost as the command line itself states it; it gives no CPU time."""
    provenance = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    name = "transform.nrrd" if (out / "transform.nrrd").exists() else "transform.tfm"
    return {
        "wall_s": provenance["seconds"],
        "peak_bytes": provenance["peak_memory_bytes"],
        "versions": provenance["versions"],
        "transform": name,
    }


TOOLS: dict[str, Tool] = {
    tool.id: tool
    for tool in (
        Tool("ours", "DeepRegistration", lambda job: _ours(job, {})),
        Tool(
            "ours-diffeomorphic",
            "DeepRegistration, diffeomorphic",
            lambda job: _ours(job, {"diffeomorphic": True}),
            takes=lambda case: not case.rigid,
        ),
        Tool("ours-cli", "DeepRegistration, command line", _ours_command_line, read=_read_command_line),
        _peer_tool("convexadam", "convexAdam", "convexadam", deformable_only=True),
        _peer_tool("affine+convexadam", "affine + convexAdam", "convexadam", deformable_only=True),
        _peer_tool("elastix", "elastix", "elastix"),
        _peer_tool("antspyx", "ANTs SyN", "antspyx"),
    )
}

DEFAULT = ("ours", "ours-diffeomorphic", "convexadam", "elastix", "antspyx")
