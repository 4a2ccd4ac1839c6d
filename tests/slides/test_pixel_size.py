"""Pixel sizes: who is believed, and what files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellgennet_qupath.core.errors import CalibrationError
from cellgennet_qupath.slides.pixel_size import Calibration, downsample_for, resolve_mpp
from cellgennet_qupath.slides.reader import open_slide

PIXELS = np.zeros((40, 40, 3), np.uint8)


def mpp_of(path: Path) -> tuple[float, float] | None:
    with open_slide(path) as reader:
        return reader.mpp


def test_the_project_comes_first_then_the_file_then_the_option() -> None:
    assert resolve_mpp((0.5, 0.5), (0.25, 0.25), 1.0) == Calibration(0.5, 0.5, "project")
    assert resolve_mpp(None, None, 1.0) == Calibration(1.0, 1.0, "option")
    assert resolve_mpp((0.5, 0.5), (0.25, 0.25), None) == Calibration(0.5, 0.5, "project")
    assert resolve_mpp(None, (0.25, 0.25), None) == Calibration(0.25, 0.25, "file")
    assert resolve_mpp(None, None, None) == Calibration(None, None, None)
    assert resolve_mpp(None, None, None).mpp is None


def test_nonsense_in_the_project_is_passed_over() -> None:
    assert resolve_mpp((float("nan"), 0.5), (0.25, 0.25), None).source == "file"
    assert resolve_mpp((0.0, 0.0), None, None).source is None


def test_pixels_that_are_not_square_name_the_image() -> None:
    with pytest.raises(CalibrationError, match=r"a\.svs: its pixels are not square \(0\.5 x 0\.6 µm"):
        resolve_mpp((0.5, 0.6), None, None, "a.svs")
    assert resolve_mpp((0.5, 0.503), None, None).mpp == pytest.approx(0.5015, abs=1e-4)


def test_an_option_must_be_positive() -> None:
    with pytest.raises(CalibrationError, match="above 0"):
        resolve_mpp(None, None, 0.0)


def test_an_uncalibrated_image_says_what_to_do() -> None:
    with pytest.raises(CalibrationError, match=r"b\.png: has no pixel size.*--mpp"):
        downsample_for(resolve_mpp(None, None, None, "b.png"), 0.5)


@pytest.mark.parametrize(
    ("mpp", "target", "downsample"),
    [
        (0.25, 0.5, 2.0),
        (0.2525, 0.5, 2.0),
        (0.499, 0.5, 1.0),
        (0.5, 0.25, 0.5),
        (0.294, 0.5, 0.5 / 0.294),
        (1.0, 0.1, 0.1),
    ],
)
def test_downsamples_near_a_whole_number_become_it(mpp: float, target: float, downsample: float) -> None:
    assert downsample_for(Calibration(mpp, mpp, "file"), target) == pytest.approx(downsample)


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [(0.25, "µm", 0.25), (250.0, "nm", 0.25), (2.5e-4, "mm", 0.25), (1.0, "pixel", None), (0.0, "µm", None)],
)
def test_ome_xml_with_units(tmp_path: Path, size: float, unit: str, mpp: float | None) -> None:
    path = tmp_path / "a.ome.tif"
    stated = {f"PhysicalSize{axis}": size for axis in "XY"} | {
        f"PhysicalSize{axis}Unit": unit for axis in "XY"
    }
    tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=stated)
    assert mpp_of(path) == (None if mpp is None else pytest.approx((mpp, mpp)))


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((40000, 40000), "CENTIMETER", 0.25),
        ((50800, 50800), "INCH", 0.5),
        ((300, 300), "INCH", None),
        ((1, 1), "NONE", None),
    ],
)
def test_resolution_tags_count_only_where_plausible(
    tmp_path: Path, resolution: tuple[int, int], unit: str, mpp: float | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", resolution=resolution, resolutionunit=unit, metadata=None
    )
    assert mpp_of(path) == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_imagej_units(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    assert mpp_of(path) == pytest.approx((0.25, 0.25))
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "pixel"})
    assert mpp_of(path) is None
