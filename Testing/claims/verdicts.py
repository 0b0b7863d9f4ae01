"""What claims say at their end, and what they exit with."""

from __future__ import annotations

from collections.abc import Mapping


def told(holds: Mapping[str, bool]) -> int:
    """Prints each sentence and whether it holds; gives the exit status, 0 where all do."""
    for sentence, true in holds.items():
        print(f"{'holds' if true else 'FAILS'}  {sentence}")
    return 0 if all(holds.values()) else 1
