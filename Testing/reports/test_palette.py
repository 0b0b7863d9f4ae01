"""Colours of maps."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegistrationLib.metrics.map_kinds import MAP_KINDS
from DeepRegistrationLib.reports import palette


def test_every_kind_of_map_has_colours_that_fit_it():
    assert set(palette.STOPS) == set(MAP_KINDS)
    for map_id, kind in MAP_KINDS.items():
        diverging = palette.stops_of(map_id) is palette.DIVERGING
        assert diverging == kind.diverging
    assert palette.stops_of("non-correspondence") is palette.SEQUENTIAL


@pytest.mark.parametrize("stops", [palette.DIVERGING, palette.SEQUENTIAL])
def test_stops_run_from_0_to_1(stops):
    places = [place for place, _ in stops]
    assert places == sorted(set(places)) and (places[0], places[-1]) == (0.0, 1.0)


def test_a_jacobian_of_1_is_black_less_is_blue_and_more_is_orange():
    one, less, more = palette.colours([1.0, 0.6, 1.4], palette.stops_of("jacobian"), 0.0, 2.0)
    assert one.tolist() == [0, 0, 0]
    assert less[2] > 2 * less[0] and more[0] > 2 * more[2]


def test_beyond_the_range_the_ends_count():
    far = palette.colours([-5.0, 9.0], palette.DIVERGING, 0.0, 2.0)
    assert np.allclose(far, [palette.DIVERGING[0][1], palette.DIVERGING[-1][1]])


def test_more_is_lighter_on_the_sequential_scale():
    shades = palette.colours(np.linspace(0, 1, 101), palette.SEQUENTIAL, 0, 1)
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    steps = np.diff(lightness)
    assert steps.min() > 0 and steps.max() < 3 * steps.mean()


@pytest.mark.parametrize("stops", [palette.DIVERGING, palette.SEQUENTIAL])
def test_folding_is_on_no_scale(stops):
    shades = palette.colours(np.linspace(0, 1, 501), stops, 0, 1)
    assert np.abs(shades - palette.FOLDED).max(axis=-1).min() > 0.4


def test_css():
    assert palette.css(palette.FOLDED) == "#ff00ff"
