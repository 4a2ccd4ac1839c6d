"""The decoding rule: what becomes a nucleus, and that only the neighbourhood decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.segmentation.decode import Decoding, DecodingConfig, decode

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def draw(shape: tuple[int, int], discs: list[tuple[float, float, float]], peak: float = 1.0) -> Maps:
    """Foreground and objectness of discs (x, y, radius), objectness falling linearly to the border."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = [np.clip(1 - np.hypot(x - cx, y - cy) / r, 0, 1) for cx, cy, r in discs]
    height = np.max(inside, axis=0) if inside else np.zeros(shape)
    return (height > 0).astype(np.float32), (peak * height).astype(np.float32)


def test_touching_nuclei_are_separated() -> None:
    labels, probability = decode(*draw((60, 60), [(20, 20, 9), (35, 20, 9), (30, 45, 8)]), Decoding())
    assert labels.max() == 3
    assert len(probability) == 3
    assert labels[20, 20] != labels[20, 35]
    assert (probability > 0.9).all()
    assert labels.dtype == np.int32
    assert probability.dtype == np.float32


def test_close_peaks_are_one_nucleus() -> None:
    discs = [(20.0, 20.0, 9.0), (24.0, 20.0, 9.0)]
    assert decode(*draw((40, 50), discs), Decoding(peak_distance=6))[0].max() == 1


def test_a_component_without_a_peak_is_one_object() -> None:
    foreground, objectness = draw((40, 40), [(20, 20, 9)], peak=0.1)
    labels, probability = decode(foreground, objectness, Decoding())
    assert labels.max() == 1
    assert (labels > 0).sum() == (foreground > 0).sum()
    assert probability[0] == pytest.approx(0.1, abs=0.001)


def test_a_wide_smear_without_a_peak_is_not_an_object() -> None:
    foreground = np.zeros((40, 200), np.float32)
    foreground[15:25, 5:195] = 1
    assert decode(foreground, np.zeros_like(foreground), Decoding(max_extent=60))[0].max() == 0


def test_small_and_faint_objects_are_dropped() -> None:
    maps = draw((40, 60), [(10, 20, 2), (30, 20, 8), (50, 20, 8)])
    maps[0][:, 40:] *= 0.6
    labels, _ = decode(*maps, Decoding(min_area=20))
    assert np.unique(labels).tolist() == [0, 1]
    assert labels[20, 30] == 1
    assert decode(*maps, Decoding(min_area=20, mean_foreground=0.5))[0].max() == 2


def test_small_holes_are_filled_and_a_lumen_is_not() -> None:
    foreground, objectness = draw((80, 80), [(20, 20, 10), (60, 60, 18)])
    foreground[19:22, 19:22] = 0
    foreground[55:66, 55:66] = 0
    labels, _ = decode(foreground, objectness, Decoding(max_hole=20, mean_foreground=0.3))
    assert labels[20, 20] > 0
    assert labels[60, 60] == 0


def test_a_plateau_has_one_peak() -> None:
    foreground = np.zeros((40, 40), np.float32)
    foreground[10:22, 10:22] = 1
    labels, _ = decode(foreground, foreground, Decoding(peak_distance=5))
    assert labels.max() == 1


def test_nothing_gives_nothing() -> None:
    nothing = np.zeros((32, 32), np.float32)
    labels, probability = decode(nothing, nothing, Decoding())
    assert labels.max() == 0
    assert probability.shape == (0,)


def test_an_image_of_foreground_only_has_no_nucleus() -> None:
    everything = np.ones((200, 200), np.float32)
    assert decode(everything, np.zeros_like(everything), Decoding())[0].max() == 0


def ridge(heights: list[float], step: int = 10) -> Maps:
    """Foreground and objectness of a band whose height runs through the given values, ``step`` apart."""
    along = np.interp(np.arange((len(heights) + 1) * step) / step - 1, range(len(heights)), heights)
    objectness = np.zeros((30, len(along)), np.float32)
    objectness[9:22] = along * (1 - np.abs(np.arange(-6, 7)) / 7)[:, None]
    return (objectness > 0.05).astype(np.float32), objectness


def test_peaks_without_a_valley_between_them_are_one_nucleus() -> None:
    long_nucleus, pair = ridge([0.1, 0.8, 0.77, 0.8, 0.1]), ridge([0.1, 0.8, 0.5, 0.8, 0.1])
    assert decode(*long_nucleus, Decoding())[0].max() == 1
    assert decode(*long_nucleus, Decoding(valley=1))[0].max() == 2
    assert decode(*pair, Decoding())[0].max() == 2
    assert decode(*pair, Decoding(valley=0.5))[0].max() == 1


def test_the_lower_of_two_peaks_decides_how_deep_a_valley_is() -> None:
    assert decode(*ridge([0.1, 0.9, 0.4, 0.55, 0.1]), Decoding())[0].max() == 2
    assert decode(*ridge([0.1, 0.9, 0.53, 0.55, 0.1]), Decoding())[0].max() == 1


def test_a_row_of_peaks_wider_than_a_nucleus_keeps_its_parts() -> None:
    chain = ridge([0.1, *[0.8, 0.77] * 6, 0.8, 0.1])
    assert decode(*chain, Decoding(max_extent=60))[0].max() == 7
    assert decode(*chain, Decoding(max_extent=200))[0].max() == 1


SIDE = 150


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), left=st.integers(0, 30), top=st.integers(0, 30))
def test_only_the_neighbourhood_decides(seed: int, left: int, top: int) -> None:
    """Objects whose middle lies at least ``reach`` inside a window are those of the whole."""
    rule = Decoding(max_extent=20, peak_distance=4, blur=1.5)
    generator = np.random.default_rng(seed)
    discs = [(*generator.uniform(0, 185, 2), generator.uniform(3, 8)) for _ in range(230)]
    foreground, objectness = draw((185, 185), discs)
    # Whole steps of objectness: many equal neighbours, so that ties are put to the test.
    objectness = (np.round(objectness * 6) / 6).astype(np.float32)
    whole = _objects(*decode(foreground, objectness, rule), (0, 0))
    window = np.s_[top : top + SIDE, left : left + SIDE]
    part = _objects(*decode(foreground[window], objectness[window], rule), (left, top))
    inner = (left + rule.reach, top + rule.reach, left + SIDE - rule.reach, top + SIDE - rule.reach)
    assert _within(whole, inner) == _within(part, inner)


Objects = dict[tuple[float, float], tuple[bytes, float]]


def _objects(labels: NDArray[np.int32], probability: NDArray[np.float32], origin: tuple[int, int]) -> Objects:
    found: Objects = {}
    for number in range(1, labels.max() + 1):
        rows, columns = np.nonzero(labels == number)
        rows, columns = rows + origin[1], columns + origin[0]
        middle = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
        found[middle] = (np.c_[rows, columns].tobytes(), float(probability[number - 1]))
    return found


def _within(objects: Objects, inner: tuple[int, int, int, int]) -> Objects:
    return {
        (y, x): found
        for (y, x), found in objects.items()
        if inner[0] <= x < inner[2] and inner[1] <= y < inner[3]
    }


def test_numbers_run_in_reading_order() -> None:
    labels, _ = decode(*draw((60, 60), [(40, 10, 7), (10, 40, 7), (40, 40, 7)]), Decoding())
    seen = labels[labels > 0]
    assert list(dict.fromkeys(seen.tolist())) == [1, 2, 3]


def test_physical_sizes_become_samples() -> None:
    rule = DecodingConfig().at(0.5)
    assert rule == Decoding()
    assert DecodingConfig().at(1.0).min_area == pytest.approx(rule.min_area / 4)
    assert DecodingConfig().at(1.0).blur == pytest.approx(rule.blur / 2)
