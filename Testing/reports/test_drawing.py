"""Pixels."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegistrationLib.reports import drawing, palette
from DeepRegistrationLib.reports.picture import Picture
from DeepRegistrationLib.reports.png import encode_png
from reports.reading import pixels


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (33, 20, 3)])
def test_a_png_holds_its_pixels(shape, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    png = encode_png(drawn)
    assert np.array_equal(pixels(png, tmp_path).reshape(shape), drawn)
    assert Picture("p", png).size == (shape[1], shape[0])


def test_the_window_leaves_out_air_and_single_bright_voxels():
    rng = np.random.default_rng(0)
    scan = np.full(100_000, -1024.0)
    scan[:40_000] = rng.uniform(-100, 200, 40_000)
    scan[0] = 3000
    low, high = drawing.window_of(scan.reshape(100, 1000))
    assert -110 < low < -80 and 180 < high < 210


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.full((2, 2), 7)])
def test_a_flat_scan_has_a_window(values):
    low, high = drawing.window_of(values)
    assert high > low
    assert drawing.grey(values.astype(np.float32), (low, high)).shape == values.shape


@pytest.mark.parametrize("background, value, share", [(0, 1, 0.4), (0, 255, 0.001), (-1024, 40, 0.2), (1, 0, 0.7)])
def test_a_mask_is_white_on_black(background, value, share):
    mask = np.full((60, 70), background, np.float32)
    mask.ravel()[: round(share * mask.size)] = value
    drawn = drawing.grey(mask, drawing.window_of(mask))
    assert set(drawn[mask == mask.max()]) == {255} and set(drawn[mask == mask.min()]) == {0}


def test_a_checkerboard_takes_from_both_by_turns():
    first, second = np.full((70, 140), 10, np.uint8), np.full((70, 140), 200, np.uint8)
    board = drawing.checkerboard(first, second)
    middles = board[10::20, 10::20]
    row, column = np.indices(middles.shape)
    assert np.array_equal(middles, np.where((row + column) % 2 == 0, 10, 200))


def test_the_difference_is_middle_grey_where_scans_agree():
    first = np.array([[0, 100, 255, 0]], np.uint8)
    second = np.array([[0, 100, 0, 255]], np.uint8)
    assert drawing.difference(first, second).tolist() == [[128, 128, 0, 255]]


def test_what_folds_is_drawn_in_its_colour_and_nothing_else_is():
    values = np.array([[-0.5, 0.0, 0.01, 1.0, 2.0, np.nan]], np.float32)
    ground = np.full(values.shape, 100, np.uint8)
    drawn = drawing.overlay(ground, values, palette.DIVERGING, (0.0, 2.0), folded_below=0.0)
    folded = (drawn == np.round(255 * np.array(palette.FOLDED))).all(axis=-1)
    assert folded.tolist() == [[True, True, False, False, False, False]]
    assert drawn[0, 3].tolist() == [40, 40, 40]  # 1: nothing but the scan, dimmed
    assert drawn[0, 5].tolist() == [100, 100, 100]  # no value: the scan as it is


def test_letters_stand_around_the_picture_and_never_on_it():
    ground = np.full((100, 150, 3), 200, np.uint8)
    drawn = drawing.with_letters(ground, "RLAP")
    f = drawing.FRAME
    assert np.array_equal(drawn[f:-f, f:-f], ground)
    left, right = drawn[f:-f, :f], drawn[f:-f, -f:]
    top, bottom = drawn[:f, f:-f], drawn[-f:, f:-f]
    assert all((side == 255).sum() > 50 for side in (left, right, top, bottom))
    assert not np.array_equal(left, right) and not np.array_equal(top, bottom)  # R is no L, A is no P
    assert np.array_equal(drawing.with_letters(ground, ""), ground)
