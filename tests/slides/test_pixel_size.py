"""Pixel sizes: who is believed, and what files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellgennet_qupath.core.errors import CalibrationError
from cellgennet_qupath.slides.pixel_size import Calibration, downsample_for, implausible, resolve_mpp
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


@pytest.mark.parametrize(
    ("kind", "value", "unit", "mpp"),
    [
        ("2I", (40000, 1), 3, 0.25),
        ("f", 40000.0, 3, 0.25),
        ("H", 40000, 3, 0.25),
        ("2I", (40000, 0), 3, None),
        ("2I", (0, 0), 2, None),
        ("2I", (40000, 1), 9, None),
    ],
)
def test_resolution_tags_of_any_type(
    tmp_path: Path, kind: str, value: tuple[int, int] | float, unit: int, mpp: float | None
) -> None:
    """Fractions, numbers, per 0, and in units that no standard knows: such a file is not damaged."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, resolution=(1, 1), resolutionunit=3)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages.first.tags
        for name in ("XResolution", "YResolution"):
            tags[name].overwrite(value, dtype=kind)
        tags["ResolutionUnit"].overwrite(unit)
    assert mpp_of(path) == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_imagej_units(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    assert mpp_of(path) == pytest.approx((0.25, 0.25))
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": "pixel"})
    assert mpp_of(path) is None


IMPOSSIBLE = {
    "72 dpi": (25400 / 72, "72 dpi, a resolution for printing"),
    "96 dpi": (25400 / 96, "96 dpi, a resolution for printing"),
    "300 dpi": (25400 / 300, "300 dpi, a resolution for printing"),
    "72 dpi in centimetres, rounded": (1e4 / 28.35, "72 dpi"),
    "millimetres": (0.00025, "probably 0.25 µm, entered in millimetres"),
    "centimetres": (0.00005, "probably 0.5 µm, entered in centimetres"),
    "metres": (5e-7, "probably 0.5 µm, entered in metres"),
    "nanometres": (251.0, "probably 0.251 µm, entered in nanometres"),
    "one pixel per centimetre": (10000.0, "larger than a nucleus"),
    "just too large": (6.1, "larger than a nucleus"),
    "just too small": (0.049, "smaller than light can resolve"),
}


@pytest.mark.parametrize(("size", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_size_is_never_believed_and_the_option_wins(size: float, words: str) -> None:
    both = (size, size)
    assert words in implausible(both)
    with pytest.raises(CalibrationError, match=r"x\.svs: .* in the project\. Correct .*--mpp") as raised:
        resolve_mpp(both, None, None, "x.svs")
    assert words in str(raised.value)
    alone = resolve_mpp(None, both, None, "x.svs")
    assert alone.mpp is None
    with pytest.raises(CalibrationError, match=r"in the file.*--mpp"):
        downsample_for(alone, 0.25)
    for entry, file in ((both, None), (None, both), (both, both), (both, (0.5, 0.5))):
        used = resolve_mpp(entry, file, 0.25, "x.svs")
        assert (used.mpp_x, used.mpp_y, used.source) == (0.25, 0.25, "option")
        assert words in used.warning
        assert "--mpp 0.25 replaces" in used.warning
        assert used.measured_in(both) == (0.25, 0.25)


@pytest.mark.parametrize("size", [0.05, 0.11, 0.2528, 0.5, 1.0, 3.9, 6.0])
def test_sizes_of_slides_are_plausible(size: float) -> None:
    assert implausible((size, size * 0.995 + 0.00025)) == ""
    known = resolve_mpp((size, size), None, 1.5)
    assert known.mpp == pytest.approx(size)
    assert (known.source, known.warning) == ("project", "")
    assert known.measured_in((size, size)) == (size, size)


def test_a_plausible_size_in_the_file_is_named_where_the_projects_is_impossible() -> None:
    with pytest.raises(CalibrationError, match=r"its file states 0\.25\)"):
        resolve_mpp((0.00025, 0.00025), (0.25, 0.25), None)


def test_pixels_that_are_not_square_give_way_to_the_option() -> None:
    assert resolve_mpp((0.25, 0.5), None, 0.25).mpp == 0.25
    assert resolve_mpp(None, (0.25, 25.0), None).mpp is None


@pytest.mark.parametrize("option", [-1.0, 0.0, 0.00025, 7.0, 352.78, float("nan"), float("inf")])
def test_an_impossible_option_is_refused(option: float) -> None:
    with pytest.raises(CalibrationError, match=r"--mpp .*between 0\.05 and 6"):
        resolve_mpp((0.5, 0.5), None, option)


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": (72, 72), "resolutionunit": "INCH", "metadata": None},
        {"resolution": (28.346, 28.346), "resolutionunit": "CENTIMETER", "metadata": None},
        {"resolution": (96, 96), "imagej": True, "metadata": {"unit": "inch"}},
        {"description": "Aperio Image Library v12\r\n40x40|AppMag = 40|MPP = 250", "metadata": None},
        {"metadata": {"PhysicalSizeX": 0.00025, "PhysicalSizeY": 0.00025}, "ome": True},
    ],
    ids=["dpi", "per centimetre", "ImageJ", "Aperio", "OME"],
)
def test_what_a_file_states_is_kept_apart_from_what_is_believed(
    tmp_path: Path, options: dict[str, object]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", **options)
    with open_slide(path) as reader:
        assert reader.mpp is None
        assert reader.stated_mpp is not None
        assert implausible(reader.stated_mpp)
