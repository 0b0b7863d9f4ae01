"""The list of methods, by id."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

from .errors import InputError
from .spec import MethodSpec


class Registry:
    """Holds each MethodSpec under its id, in order of registration.

    passing  ids of those that are there only as long as something outside is (a model in a folder)
    """

    def __init__(self) -> None:
        self._specs: dict[str, MethodSpec] = {}
        self.passing: set[str] = set()
        self._state: Hashable = ()

    def add(self, spec: MethodSpec) -> None:
        """Raises ValueError where the id is taken: two methods cannot answer to one name."""
        if spec.id in self._specs:
            raise ValueError(f"method id {spec.id!r} is declared twice")
        self._specs[spec.id] = spec

    def keep_up(self, state: Hashable, specs: Callable[[], Iterable[MethodSpec]]) -> None:
        """Replaces the passing methods by `specs()` where `state`, of what they come from, is not that of last time."""
        if state == self._state:
            return
        for method_id in self.passing:
            self._specs.pop(method_id, None)
        self.passing = set()
        for spec in specs():
            self.add(spec)
            self.passing.add(spec.id)
        self._state = state

    def __getitem__(self, method_id: str) -> MethodSpec:
        """Raises InputError for an unknown id."""
        if method_id not in self._specs:
            import difflib

            close = difflib.get_close_matches(method_id, self._specs, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(self._specs)}."
            raise InputError(f"There is no method {method_id!r}; {hint}")
        return self._specs[method_id]

    def __iter__(self) -> Iterator[MethodSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, method_id: object) -> bool:
        return method_id in self._specs
