"""Which tests stay in one process, where several share the work: those of a file, as they share its fixtures; but of
the contract those of a method, because its answers serve several files there and take long to make."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from DeepRegistrationLib.methods import registry


class Together(LoadScopeScheduling):
    """See the module's docstring."""

    def _split_scope(self, nodeid: str) -> str:
        """The name of those a test stays with."""
        file, _, test = nodeid.partition("::")
        if "/contract/" in file:
            values = test.partition("[")[2].removesuffix("]")
            for spec in registry():
                if f"-{spec.id}-" in f"-{values}-":
                    return f"contract of {spec.id}"
        return file
