"""Progress never runs backwards, guesses the time left, and notices a cancel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegistrationLib.core import progress as module
from DeepRegistrationLib.core.context import Context
from DeepRegistrationLib.core.errors import Cancelled, DeepRegistrationError
from DeepRegistrationLib.core.progress import Progress


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-0.5, 1.5)), min_size=1, max_size=30))
def test_fractions_rise_whatever_is_reported(updates):
    heard = []
    whole = Progress(heard.append)
    parts = [whole, whole.part(0.2, 0.6, "a"), whole.part(0.6, 1.0, "b").part(0.5, 1.0, "c")]
    for which, fraction in updates:
        parts[which].update(fraction)
    fractions = [report.fraction for report in heard]
    assert fractions == sorted(fractions)
    assert all(0 <= f <= 1 for f in fractions) and len(heard) == len(updates)


def test_parts_share_the_whole():
    heard = []
    outer = Progress(heard.append).part(0.5, 1.0, "fine")
    outer.update(0.5)
    inner = outer.part(0.5, 1.0, "finest")
    inner.update(0.5)
    inner.update(1.0, "last")
    assert [(r.stage, r.fraction) for r in heard] == [
        ("fine", pytest.approx(0.75)),
        ("finest", pytest.approx(0.875)),
        ("last", pytest.approx(1.0)),
    ]


def test_a_cancel_is_noticed_at_the_next_update_also_in_parts():
    asked = []
    heard = []
    progress = Progress(heard.append, lambda: bool(asked))
    part = progress.part(0, 1, "stage")
    part.update(0.1)
    asked.append(True)
    for place in (part, progress):
        with pytest.raises(Cancelled) as caught:
            place.update(0.2)
    assert len(heard) == 1
    assert isinstance(caught.value, DeepRegistrationError) and "cancelled" in str(caught.value)


def test_time_left_is_in_proportion(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    heard = []
    progress = Progress(heard.append)
    progress.update(0.0, "stage")
    now[0] += 10
    progress.update(0.25)
    now[0] += 10
    progress.update(0.5)
    assert [r.seconds_left for r in heard] == [None, pytest.approx(30.0), pytest.approx(20.0)]


def test_time_left_does_not_count_what_was_done_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    heard = []
    progress = Progress(heard.append)
    progress.update(0.0, "stage")
    now[0] += 5
    progress.part(0.0, 0.8).already(0.5)
    now[0] += 10
    progress.update(0.6)
    assert heard[-1].fraction == 0.6 and heard[-1].seconds_left == pytest.approx(20.0)


def test_a_context_repeats_its_random_numbers_and_shares_messages():
    context = Context(torch.device("cpu"), seed=5)
    first = torch.rand(3, generator=context.generator())
    assert torch.equal(first, torch.rand(3, generator=context.generator()))
    assert not torch.equal(first, torch.rand(3, generator=Context(torch.device("cpu"), seed=6).generator()))
    part = context.part(0.0, 0.5, "stage")
    part.messages.append("a sentence")
    assert context.messages == ["a sentence"] and part.seed == 5


def test_a_tick_reports_nothing_new_and_notices_a_cancel():
    heard, stop = [], []
    part = Progress(heard.append, lambda: bool(stop)).part(0.5, 1.0, "fine")
    part.update(0.5)
    part.tick()
    assert [(r.stage, r.fraction) for r in heard] == [("fine", 0.75)] * 2
    stop.append(True)
    with pytest.raises(Cancelled):
        part.tick()
